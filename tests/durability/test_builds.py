"""Two servers with two versions of the code on one queue: the one that was started last runs all workflows."""

import itertools
import signal

import pytest
from mcp import Client

from tests.support import Desk, call, until

pytestmark = pytest.mark.anyio

WAITING = [f"before-{number}" for number in range(100)]
CODE = """
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow
from mcp_agent.executor.workflow_signal import Signal

app = MCPApp(name="desk")


@app.workflow
class Waits(Workflow[str]):
    @app.workflow_run
    async def run(self, ask: bool) -> str:
        if ask:
            await app.context.executor.signal_bus.wait_for_signal(Signal("more"))
        return "old code"
"""


async def code_of(client: Client, key: str) -> str:
    """Which code a new run meets."""
    run = await call(client, "workflows-Waits-run", run_parameters={"ask": False}, workflow_id=key)

    async def completed() -> dict | None:
        run = await call(client, "workflows-Waits-get_status", run_id=f"Waits.{key}", wait_seconds=5)
        return run if run["status"] == "completed" else None

    return (run if run["status"] == "completed" else await until(completed))["result"]


@pytest.mark.promise("issue: two workers of two versions on one queue")
async def test_the_newest_code_runs_all_workflows_and_the_other_takes_over_when_it_leaves(desk: Desk):
    program = desk.folder / "desk_app.py"
    program.write_text(CODE)
    old = await desk.serve()
    async with Client(old.url) as client:
        for key in WAITING:
            run = await call(client, "workflows-Waits-run", run_parameters={"ask": True}, workflow_id=key)
            assert run["status"] == "waiting_for_input"
        program.write_text(CODE.replace("old code", "new code"))
        new = await desk.serve()

        left = iter(WAITING)

        async def upgraded() -> bool:  # a run from before, as soon as the server has told all of Temporal
            run_id = f"Waits.{next(left)}"
            await call(client, "workflows-Waits-resume", run_id=run_id, payload="go")
            run = await call(client, "workflows-Waits-get_status", run_id=run_id, wait_seconds=20)
            return run["result"] == "new code"

        assert await until(upgraded)
        keys = (f"new-{number}" for number in itertools.count())

        async def all_new() -> bool:
            return {await code_of(client, key) for key in itertools.islice(keys, 5)} == {"new code"}

        assert await until(all_new)
        new.process.send_signal(signal.SIGTERM)
        new.process.wait()
        assert await code_of(client, "after") == "old code"
