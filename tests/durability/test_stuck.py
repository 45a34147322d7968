"""Runs that cannot go on: nobody serves them, or their code has changed. Status says so, and they go on when they can."""

import pytest
from mcp import Client

from tests.support import Desk, call, refusal, until

pytestmark = pytest.mark.anyio

BEFORE = """
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow
from mcp_agent.executor.workflow_signal import Signal

app = MCPApp(name="desk")


@app.workflow_task(name="first")
async def first() -> str:
    return "one"


@app.workflow_task(name="other")
async def other() -> str:
    return "two"


@app.workflow
class Waits(Workflow[str]):
    @app.workflow_run
    async def run(self) -> str:
        done = await first()
        return done + await app.context.executor.signal_bus.wait_for_signal(Signal("more", payload_type=str))
"""


async def ended(client: Client) -> str:
    """Answers what `Waits.a` asks, as soon as the answer is taken, and gives the run's result."""

    async def taken() -> bool:
        result = await client.call_tool("workflows-Waits-resume", {"run_id": "Waits.a", "payload": "!"})
        return not result.is_error or (result.structured_content or {})["code"] == "already_closed"

    assert await until(taken)
    return (await call(client, "workflows-Waits-get_status", run_id="Waits.a", wait_seconds=20))["result"]


@pytest.mark.promise("contract: a run that nobody serves is queued, then blocked, and says what to do")
async def test_a_run_without_a_worker_says_so_and_goes_on_with_one(desk: Desk):
    config = desk.folder / "mcp_agent.config.yaml"
    served = config.read_text()
    config.write_text(served.replace("server: {", "server: {worker: false, "))
    alone = await desk.serve()
    async with Client(alone.url) as client:
        run = await call(client, "workflows-Quick-run", run_parameters={"name": "a"}, workflow_id="a", wait_seconds=0)
        assert run["status"] == "queued"
        run = await call(client, "workflows-Quick-get_status", run_id="Quick.a", wait_seconds=20)
        while run["status"] != "blocked":
            assert run["status"] == "queued"
            run = await call(client, "workflows-Quick-get_status", run_id="Quick.a", wait_seconds=1)
        result = await client.call_tool("workflows-Quick-get_status", {"run_id": "Quick.a"})
        assert "No worker serves task queue `desk" in result.content[0].text  # type: ignore[union-attr]
        config.write_text(served)
        desk.open_gate("a")
        await desk.serve()

        async def completed() -> bool:
            run = await call(client, "workflows-Quick-get_status", run_id="Quick.a", wait_seconds=5)
            return run["status"] == "completed"

        assert await until(completed)


@pytest.mark.promise("contract: no_worker when an answer cannot be taken, and nothing is changed")
async def test_an_answer_that_no_worker_can_take_is_refused_and_can_be_given_again(desk: Desk):
    config = desk.folder / "mcp_agent.config.yaml"
    (desk.folder / "desk_app.py").write_text(BEFORE)
    first = await desk.serve()
    async with Client(first.url) as client:
        run = await call(client, "workflows-Waits-run", workflow_id="a")
        assert run["status"] == "waiting_for_input"
    first.kill()
    served = config.read_text()
    config.write_text(served.replace("server: {", "server: {worker: false, "))
    alone = await desk.serve()
    async with Client(alone.url) as client:

        async def blocked() -> bool:  # Temporal believes in the killed worker for a minute
            told = await refusal(client, "workflows-Waits-resume", run_id="Waits.a", payload="!")
            assert told["retryable"]
            return told["code"] in ("no_worker", "engine_unavailable")

        assert await until(blocked)
        config.write_text(served)
        await desk.serve()
        assert await ended(client) == "one!"


@pytest.mark.promise("contract: blocked, with the cause and the fix, when code no longer fits a run")
async def test_changed_code_blocks_a_run_until_it_is_put_back(desk: Desk):
    program = desk.folder / "desk_app.py"
    program.write_text(BEFORE)
    first = await desk.serve()
    async with Client(first.url) as client:
        await call(client, "workflows-Waits-run", workflow_id="a")
    first.kill()
    program.write_text(BEFORE.replace("await first()", "await other()"))
    changed = await desk.serve()
    async with Client(changed.url) as client:
        told = await refusal(client, "workflows-Waits-resume", run_id="Waits.a", payload="!")  # makes the run be looked at
        assert told["code"] == "no_worker"
        assert "no longer fits" in told["message"]

        async def blocked() -> str | None:
            result = await client.call_tool("workflows-Waits-get_status", {"run_id": "Waits.a", "wait_seconds": 5})
            run = result.structured_content or {}
            return result.content[0].text if run["status"] == "blocked" else None  # type: ignore[union-attr]

        text = await until(blocked)
        assert "no longer fits" in text
        assert "TMPRL1100" in text
        assert "get_version" in text
    changed.kill()
    program.write_text(BEFORE)
    mended = await desk.serve()
    async with Client(mended.url) as client:
        assert await ended(client) == "one!"
