"""Whose runs are done first, and whose share is larger."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from mcp_agent.config import CallerPrioritySettings
from mcp_agent.executor.priority import CallerPriority
from mcp_agent.executor.temporal.executor import TemporalExecutor
from tests.executor.temporal.queues_app import app
from tests.server.guarded import guarded
from tests.support import call

pytestmark = pytest.mark.anyio
SCOPES = {"ann": ["workflows:run", "workflows:cancel", "tier:gold"], "reports": ["workflows:run"], "ben": ["workflows:run"]}
PRIORITIES = [{"scope": "tier:gold", "priority": 1, "weight": 5}, {"subject": "reports", "priority": 5}]
GETS = {"ann": CallerPriority(1, 5), "reports": CallerPriority(5, None), "ben": CallerPriority(2, None)}


@pytest.mark.promise("issue 7: priorities per caller")
async def test_a_run_has_the_priority_of_its_caller_else_of_its_workflow(temporal: Path):
    settings = {
        "execution_engine": "temporal",
        "temporal": {"data_dir": temporal, "task_queue": "callers", "priorities": {"Notes": 2}},
    }
    tokens = [{"subject": name, "token": f"token-of-the-caller-{name}", "scopes": scopes} for name, scopes in SCOPES.items()]
    auth = {"tokens": tokens, "priorities": PRIORITIES}
    async with guarded(app=app, settings=settings, worker=False, auth=auth) as server, app.open_executor() as executor:
        assert isinstance(executor, TemporalExecutor)
        got: dict[str, CallerPriority] = {}
        for name in SCOPES:
            async with server.client("http-auto", f"token-of-the-caller-{name}") as client:
                run = await call(client, "workflows-Notes-run", run_parameters={"text": "x"}, wait_seconds=0)
            handle = executor.client.get_workflow_handle(run["run_id"])
            info = (await handle.describe()).raw_description.workflow_execution_info
            assert run["run_id"].startswith(f"{info.priority.fairness_key}.")
            got[name] = CallerPriority(info.priority.priority_key, info.priority.fairness_weight or None)
            await handle.terminate()
        assert got == GETS


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"priority": 1}, "by `subject`, or by `scope`"),
        ({"subject": "ann", "scope": "tier:gold", "priority": 1}, "by `subject`, or by `scope`"),
        ({"subject": "ann"}, "a `priority`, a `weight`, or both"),
        ({"subject": "ann", "priority": 6}, "less than or equal to 5"),
        ({"subject": "ann", "weight": 0}, "greater than or equal to 0.001"),
    ],
)
def test_priorities_of_nobody_or_of_nothing_are_refused(given: dict[str, object], says: str):
    with pytest.raises(ValidationError, match=says):
        CallerPrioritySettings.model_validate(given)
