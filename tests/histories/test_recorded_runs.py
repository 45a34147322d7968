"""Runs that were recorded with every version from this one on replay with the code of today."""

from pathlib import Path

import pytest

from mcp_agent.config import Settings
from tests.histories import agent_flows, people_flows

pytestmark = pytest.mark.anyio
app = agent_flows.app
assert people_flows.app is app
FILES = sorted(Path(__file__).parent.glob("*/*.json"))


@pytest.mark.promise("issue: stored histories of this version replay in tests from now on")
@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
async def test_a_recorded_run_replays(file: Path):
    app.use(Settings())
    replayed = await app.replayer().replay_workflow(file)
    assert replayed.workflow == file.stem.partition("-")[0]
    assert replayed.events > 4


def test_there_is_a_record_of_every_flow():
    assert {file.stem.partition("-")[0] for file in FILES} == set(app.workflows)
