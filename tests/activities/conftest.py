from collections.abc import Iterator

import pytest

from tests import providers_http


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that nothing listens on."""
    with providers_http.unused_port() as port:
        yield port
