"""kill -9 of the worker at each await of a run, one after the other: the result is the same, what was done is not done again."""

import pytest
from mcp import Client

from tests.support import Desk, call, until

pytestmark = pytest.mark.anyio
STEPS = 12

APP = """
import asyncio, os
from datetime import timedelta
from pathlib import Path

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow

app = MCPApp(name="desk")
FOLDER = Path(os.environ["DESK_FOLDER"])


def note(text: str) -> None:
    with (FOLDER / "log.txt").open("a") as log:
        log.write(text + "\\n")


@app.workflow_task(name="desk.numbered", heartbeat_timeout=timedelta(seconds=1))
async def numbered(number: int, before: int) -> int:
    note(f"begin {number}")
    while not (FOLDER / f"gate-{number}").exists():
        await asyncio.sleep(0.05)
    note(f"end {number}")
    return before + number


@app.workflow
class Long(Workflow[int]):
    @app.workflow_run
    async def run(self, steps: int) -> int:
        total = 0
        for number in range(1, steps + 1):
            total = await numbered(number, total)
        return total
"""


@pytest.mark.promise("issue: kill -9 of the worker at every await of a 12-step workflow")
async def test_a_worker_is_killed_at_every_await(desk: Desk):
    (desk.folder / "desk_app.py").write_text(APP)
    server = await desk.serve()
    async with Client(server.url) as client:
        await call(client, "workflows-Long-run", run_parameters={"steps": STEPS}, workflow_id="a", wait_seconds=0)
    for number in range(1, STEPS + 1):

        async def begun(number: int = number) -> bool:
            return f"begin {number}" in desk.noted()

        await until(begun)
        server.kill()
        desk.open_gate(str(number))
        server = await desk.serve()
    async with Client(server.url) as client:

        async def completed() -> int | None:
            run = await call(client, "workflows-Long-get_status", run_id="Long.a", wait_seconds=5)
            return run["result"] if run["status"] == "completed" else None

        assert await until(completed) == sum(range(1, STEPS + 1))
    for number in range(1, STEPS + 1):
        assert desk.noted().count(f"end {number}") == 1
