"""`make cluster-test`: a real cluster with mutual TLS and JWTs. Not a part of `make test`."""

from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import pytest

from tests import skips
from tests.cluster.cluster import Cluster, prepared
from tests.cluster.cluster_app import NOTES
from tests.cluster.notes import Notes
from tests.cluster.programs import CannotHave, Programs, programs


@pytest.fixture(scope="session")
def cluster_programs() -> Programs:
    try:
        return programs()
    except CannotHave as error:
        pytest.skip(f"{skips.NO_CLUSTER}: {error}")


@pytest.fixture(scope="module")
def prepared_cluster(cluster_programs: Programs, request: pytest.FixtureRequest) -> Generator[Cluster, None, None]:
    # Not in pytest's folders, where nobody else may look: PostgreSQL does not run as root.
    with TemporaryDirectory(prefix="mcp-agent-cluster-", ignore_cleanup_errors=True) as folder:
        nodes = cast("int", getattr(cast("object", request.module), "NODES", 1))
        with prepared(Path(folder), cluster_programs, nodes) as made:
            yield made


@pytest.fixture(scope="module")
async def cluster(prepared_cluster: Cluster) -> Cluster:
    """With as many nodes as the module's `NODES`; all tests of a module share it."""
    await prepared_cluster.start()
    return prepared_cluster


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Notes:
    made = Notes(tmp_path / "notes")
    monkeypatch.setenv(NOTES, str(made.file))
    return made
