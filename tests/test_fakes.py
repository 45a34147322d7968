"""The second fake of the providers is got once, and says what is missing where it cannot be got."""

from pathlib import Path

import pytest

from mcp_agent.executor.temporal.making import CACHE_VARIABLE, CannotMake, is_program
from tests import skips
from tests.fakes import AIMock, Refuses, Says, aimock, aimock_program
from tests.support import alive

pytestmark = pytest.mark.anyio


async def test_what_is_in_the_cache_needs_no_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    try:
        program = await aimock_program(print)
    except CannotMake as error:
        pytest.skip(f"{skips.NO_SECOND_FAKE}: {error}")
    (tmp_path / "node").touch(mode=0o755)
    assert is_program(tmp_path / "node")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await aimock_program(print) == program
