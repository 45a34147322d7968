"""kill -9 of the server at every kind of point of a run: the next server finishes it, and nothing that was done is done again."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from mcp import Client

from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.executor.executor import Executor
from tests.support import Desk, call, refusal, until, until_file

pytestmark = pytest.mark.anyio

RUN = {"run_parameters": {"name": "report"}, "workflow_id": "one", "wait_seconds": 0}
RUN_ID = "Passage.one"

POINTS = {
    "before the first step": lambda run: run["status"] in ("queued", "running"),
    "in a model call": lambda run: any(step["name"] == "mcp_agent.llm.generate" for step in run.get("steps", [])),
    "in a downstream call": lambda run: any(step["name"] == "mcp_agent.mcp.call_tool" for step in run.get("steps", [])),
    "waiting for a person": lambda run: run["status"] == "waiting_for_input",
    "after the answer": lambda run: run["status"] == "waiting_for_input",
}


@pytest.mark.promise("fault: kill -9 of the server process at five different points of a run")
@pytest.mark.parametrize("point", POINTS)
async def test_a_run_survives_the_kill_of_its_server(desk: Desk, point: str):
    if point not in ("before the first step", "in a model call", "in a downstream call"):
        desk.open_gate("archive")
    victim = await desk.serve()
    async with observing(desk) as observer:
        await _kill_at(desk, point, victim, observer)
        desk.open_gate("archive")
        run = await _finish(desk, observer, answered=point == "after the answer")
    assert run["result"] == ["report begun", "the archive says: filed under 7", "yes", "report done"]
    noted = desk.noted()
    assert noted.count("first report") == 1
    assert noted.count("last report") == 1
    assert noted.count("end file") == 1


@asynccontextmanager
async def observing(desk: Desk) -> AsyncGenerator[Executor, None]:
    """A second process's view: it shares Temporal with the servers, and runs nothing."""
    temporal = {"data_dir": desk.data, "binary": desk.binary}
    app = MCPApp(name="observer", settings=Settings(execution_engine="temporal", temporal=temporal))
    async with app.open_executor(worker=False) as executor:
        yield executor


async def _kill_at(desk: Desk, point: str, victim, observer: Executor) -> None:
    async with Client(victim.url) as client:
        await call(client, "workflows-Passage-run", **RUN)

        async def reached() -> bool:
            return POINTS[point](await call(client, "workflows-Passage-get_status", run_id=RUN_ID))

        await until(reached)
        if point == "in a downstream call":
            await until_file(desk.log, "begin file")
        if point == "after the answer":
            resumed = await call(client, "workflows-Passage-resume", run_id=RUN_ID, payload="yes")
            assert resumed["accepted"]
        victim.kill()
    state = await observer.describe_run(RUN_ID)
    assert not state.closed or point == "after the answer"


async def _finish(desk: Desk, observer: Executor, *, answered: bool) -> dict:
    """Sees the run to its end through another server; its status can be read all the time."""
    async with Client((await desk.serve()).url) as client:
        while True:
            run = await call(client, "workflows-Passage-get_status", run_id=RUN_ID, wait_seconds=20)
            assert (await observer.describe_run(RUN_ID)).workflow == "Passage"
            if run["status"] == "waiting_for_input" and not answered:
                await call(client, "workflows-Passage-resume", run_id=RUN_ID, payload="yes")
                answered = True
            elif run["status"] not in ("running", "queued", "waiting_for_input"):
                assert run["status"] == "completed", run
                return run


@pytest.mark.promise("fault: the same answer after a crash is a duplicate, another one is refused")
async def test_an_answer_is_remembered_by_the_run_not_by_the_server(desk: Desk):
    desk.open_gate("archive")
    first = await desk.serve()
    async with Client(first.url) as client:
        await call(client, "workflows-Passage-run", **RUN)
        await until_status(client, "waiting_for_input")
        await call(client, "workflows-Passage-resume", run_id=RUN_ID, request_id="seal#1", payload="yes")
        await until_status(client, "completed")
        first.kill()
    async with Client((await desk.serve()).url) as client:
        again = await call(client, "workflows-Passage-resume", run_id=RUN_ID, request_id="seal#1", payload="yes")
        assert again["duplicate"]
        assert not again["accepted"]
        other = await refusal(client, "workflows-Passage-resume", run_id=RUN_ID, request_id="seal#1", payload="no")
        assert other["code"] == "already_closed"
    assert desk.noted().count("last report") == 1


async def until_status(client: Client, status: str) -> None:
    async def reached() -> bool:
        run = await call(client, "workflows-Passage-get_status", run_id=RUN_ID, wait_seconds=5)
        return run["status"] == status

    await until(reached)
