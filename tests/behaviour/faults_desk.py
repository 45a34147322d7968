"""A workflow that does what users do by mistake, or at the edge."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from mcp_agent import workflow
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from tests.behaviour.desk import app
from tests.behaviour.model_desk import Point

NOTES: list[str] = []


@app.workflow_task(name="faults.note")
async def note(text: str) -> None:
    NOTES.append(text)


@app.workflow_task(name="faults.cancels", retry_policy=workflow.RetryPolicy(maximum_attempts=1))
async def cancels_itself() -> None:
    raise asyncio.CancelledError


@app.workflow_task(name="faults.busy", schedule_to_close_timeout=timedelta(seconds=30))
async def busy() -> None:
    raise WorkflowApplicationError("not now", type="Busy", next_retry_delay=timedelta(minutes=1))


@app.workflow
class AsksTheBusy(Workflow[None]):
    @app.workflow_run
    async def run(self) -> None:
        await busy()


@app.workflow
class CleansUp(Workflow[None]):
    @app.workflow_run
    async def run(self, key: str) -> None:
        try:
            await workflow.sleep(60)
        finally:
            await workflow.sleep(0.3)
            await note(f"{key} cleaned")


@app.workflow
class Unmade(Workflow[str]):
    def __init__(self) -> None:
        self.number = int("no number")

    @app.workflow_run
    async def run(self) -> str:
        return "not reached"


@app.workflow
class Faulty(Workflow[Any]):
    def __init__(self) -> None:
        self.seen: list[str] = []

    @workflow.signal
    def moved(self, point: Point, by: int = 3) -> None:
        self.seen.append(f"{type(point).__name__} {point.x + by}")

    @workflow.update
    async def again(self) -> None:
        workflow.continue_as_new(args=["quiet"])

    @app.workflow_run
    async def run(self, how: str, key: str = "") -> WorkflowResult[Any]:
        return WorkflowResult(value=await getattr(self, how)(key))

    async def quiet(self, key: str) -> str:
        return "continued"

    async def condition(self, key: str) -> None:
        await workflow.wait_condition(lambda: 1 / 0 > 0)

    async def policy(self, key: str) -> None:
        wrong = workflow.RetryPolicy(maximum_attempts=1.5)  # type: ignore[arg-type]
        await workflow.execute_activity(note, key, retry_policy=wrong)

    async def child_argument(self, key: str) -> None:
        await workflow.execute_child_workflow("CleansUp", 5)

    async def child_name(self, key: str) -> None:
        await workflow.execute_child_workflow("CleansUq", "x")

    async def left_behind(self, key: str) -> str:
        async def noting() -> None:
            while True:
                await note(key)
                await workflow.sleep(0.05)

        self.task = asyncio.create_task(noting())
        await workflow.sleep(0.1)
        return "done"

    async def gathered(self, key: str) -> None:
        await asyncio.gather(workflow.execute_child_workflow(CleansUp, key), workflow.sleep(60))

    async def grouped(self, key: str) -> None:
        async def leave() -> None:
            workflow.continue_as_new(args=["quiet"])

        async with workflow.TaskGroup() as group:
            group.create_task(leave())

    async def waits(self, key: str) -> list[str]:
        await workflow.wait_condition(lambda: bool(self.seen))
        return self.seen

    async def zone(self, key: str) -> str:
        moment = datetime(2026, 1, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))
        await workflow.sleep_until(moment)
        return moment.astimezone(UTC).isoformat()

    async def step_cancels(self, key: str) -> str:
        try:
            await cancels_itself()
        except WorkflowApplicationError as error:
            return error.type
        return "nothing"

    async def clock(self, key: str) -> str:
        return datetime.now(UTC).isoformat()

    async def thread(self, key: str) -> None:
        await asyncio.get_running_loop().run_in_executor(None, timedelta)
