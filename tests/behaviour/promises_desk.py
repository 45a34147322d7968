"""Workflows for promises that are kept on both engines, and for those that only Temporal can keep."""

import asyncio
import threading
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from mcp_agent import workflow
from mcp_agent.agents.agent import Agent
from mcp_agent.app import MCPApp
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM

app = MCPApp(name="promises")
ONCE = workflow.RetryPolicy(maximum_attempts=1)
SECOND = timedelta(seconds=1)


@app.workflow_task(name="promises.endless")
async def endless() -> None:
    await asyncio.Event().wait()


@app.workflow_task(name="promises.blocks")
async def blocks() -> None:
    """Keeps its worker from doing anything else, heartbeats included."""
    threading.Event().wait(1.5)


@app.workflow_task(name="promises.note")
async def note(text: str) -> str:
    return text


@app.workflow_task(name="promises.put_off")
async def put_off() -> None:
    raise WorkflowApplicationError("come back in an hour", type="Busy", next_retry_delay=timedelta(hours=1))


@app.workflow
class PutOff(Workflow[list[str]]):
    """Is put off for longer than it has."""

    @app.workflow_run
    async def run(self) -> WorkflowResult[list[str]]:
        try:
            await workflow.execute_activity(put_off, schedule_to_close_timeout=timedelta(minutes=30))
        except WorkflowApplicationError as error:
            return WorkflowResult(value=[error.type, error.message])
        return WorkflowResult(error="it was done")


@app.workflow
class RunsOut(Workflow[list[str]]):
    """Runs out of the time that is named."""

    @app.workflow_run
    async def run(self, kind: str) -> WorkflowResult[list[str]]:
        step, options = {
            "start_to_close": (endless, {"start_to_close_timeout": SECOND / 4}),
            "schedule_to_close": (endless, {"schedule_to_close_timeout": SECOND / 4}),
            "schedule_to_start": (note, {"schedule_to_start_timeout": SECOND / 4, "task_queue": "nobody-serves-it"}),
            "heartbeat": (blocks, {"heartbeat_timeout": SECOND}),
        }[kind]
        args = ["x"] if step is note else []
        try:
            await workflow.execute_activity(step, args=args, retry_policy=ONCE, **options)
        except WorkflowApplicationError as error:
            return WorkflowResult(value=[type(error).__name__, error.type, str(error)])
        return WorkflowResult(error="there was time enough")


@app.workflow
class Files(Workflow[str]):
    """Has an agent call a downstream tool that does not answer."""

    @app.workflow_run
    async def run(self, name: str) -> WorkflowResult[str]:
        async with Agent("clerk", "You file things.", server_names=["archive"]) as clerk:
            llm = await clerk.attach_llm(OpenAIAugmentedLLM)
            return WorkflowResult(value=await llm.generate_str(f"File {name}."))


@app.workflow
class Twins(Workflow[Any]):
    """Agents of one name, side by side, each with a conversation of its own."""

    @app.workflow_run
    async def run(self, count: int) -> WorkflowResult[Any]:
        async def talk(number: int) -> list[str]:
            async with Agent("twin", f"You are number {number}.") as twin:
                llm = await twin.attach_llm(OpenAIAugmentedLLM)
                return [await llm.generate_str(f"{word} of {number}") for word in ("first", "second", "third")]

        return WorkflowResult(value=await asyncio.gather(*(talk(number) for number in range(count))))


@app.workflow
class Tells(Workflow[str]):
    """Logs, reports how far it is, and says who it is."""

    @app.workflow_run
    async def run(self, name: str) -> WorkflowResult[str]:
        app.context.logger.info("%s has begun", name)
        for number in range(3):
            await note(name)
            app.context.report_progress(number + 1, 3, f"noted {number + 1}")
            app.context.logger.info("%s has noted %d", name, number + 1)
        await app.context.executor.signal_bus.wait_for_signal(Signal("end"))
        return WorkflowResult(value=f"{app.context.run_id} {app.context.workflow_name}", metadata={"own": self.id})


class Order(BaseModel):
    item: str
    count: int = 1


@app.workflow
class Orders(Workflow[list[str]]):
    """Waits for orders; or passes one on to another run."""

    @app.workflow_run
    async def run(self, how: str, target: str = "") -> WorkflowResult[list[str]]:
        bus = app.context.executor.signal_bus
        if how == "by name and id":
            await bus.send_signal(Signal("order", workflow_id="Orders", run_id=target, payload={"item": "tea", "count": 2}))
        elif how == "by id alone":
            await bus.send_signal(Signal("order", workflow_id=target, payload={"item": "tea", "count": 2}))
        else:
            if how == "late":
                await workflow.sleep(0.5)
            try:
                order = await bus.wait_for_signal(Signal("order", payload_type=Order), timeout=0.2 if how == "briefly" else None)
            except TimeoutError:
                return WorkflowResult(value=["no order"])
            assert isinstance(order, Order)
            return WorkflowResult(value=[order.item] * order.count)
        return WorkflowResult(value=["passed on"])


@app.workflow
class Names(Workflow[dict[str, Any]]):
    """Takes for itself the names that other frameworks take away."""

    def __init__(self) -> None:
        self.state = "state"
        self.status = "status"
        self.name = "name"
        self.context = "context"
        self.app = "app"
        self.executor = "executor"
        self.logger = "logger"
        self.result = "result"
        self.queue = self.config = self.metadata = 1

    @workflow.query
    def get_status(self) -> str:
        return self.status

    @workflow.signal
    def signal(self, text: str) -> None:
        self.state = text

    @workflow.update
    async def update(self, text: str) -> str:
        self.status = text
        return self.name

    @workflow.query
    def query(self) -> str:
        return self.state

    async def cancel(self, text: str) -> str:
        return f"{text} by {self.app}"

    async def start(self, text: str) -> str:
        return text.upper()

    @app.workflow_run
    async def run(self) -> WorkflowResult[dict[str, Any]]:
        await workflow.wait_condition(lambda: self.state != "state" and self.status != "status")
        step = await workflow.execute_activity(self.start, "step", start_to_close_timeout=9 * SECOND)
        made = [await self.cancel("called"), step]
        own = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return WorkflowResult(value={**own, "made": made, "run": self.run_id == self.id})
