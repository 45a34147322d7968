"""The code of the recorded runs beside this module, as users have it running: never change what is here, add to it."""

import asyncio
from datetime import timedelta
from typing import Any

import anyio

from mcp_agent import workflow
from mcp_agent.agents.agent import Agent
from mcp_agent.app import MCPApp
from mcp_agent.errors import RunFailedError, WorkflowApplicationError
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM

app = MCPApp("histories")
SOON = timedelta(milliseconds=20)
ONCE = workflow.RetryPolicy(initial_interval=SOON, maximum_attempts=1)


@app.workflow_task(name="histories.double", retry_policy=workflow.RetryPolicy(initial_interval=SOON))
async def double(number: int) -> int:
    if number == 13:
        raise WorkflowApplicationError("bad luck", {"number": number}, type="BadLuck", non_retryable=True)
    return number * 2


@app.workflow_task(name="histories.local", local=True)
async def local(number: int) -> int:
    return number + 1


@app.workflow_task(name="histories.endless")
async def endless() -> None:
    await asyncio.Event().wait()


@app.workflow
class Small(Workflow[str]):
    @app.workflow_run
    async def run(self, text: str) -> WorkflowResult[str]:
        if text == "fail":
            raise LookupError("lost")
        return WorkflowResult(value=text, metadata={"size": len(text)})


@app.workflow
class Steps(Workflow[list[Any]]):
    """Every kind of step, in turn and at once."""

    @app.workflow_run
    async def run(self, numbers: list[int]) -> list[Any]:
        done: list[Any] = [await double(number) for number in numbers]
        done += await asyncio.gather(*(double(number) for number in numbers), local(1), self.own("plainly"))
        done.append(await workflow.execute_activity(self.own, "as a step", start_to_close_timeout=timedelta(minutes=1)))
        done.append(await workflow.execute_activity("histories.double", 4, retry_policy=ONCE, summary="by name"))
        try:
            await double(13)
        except WorkflowApplicationError as error:
            done.append([error.type, list(error.details)])
        return done

    async def own(self, how: str) -> str:
        return f"called {how}"


@app.workflow
class Waits(Workflow[list[Any]]):
    """Timers, time-outs, groups, clocks, randomness, versions."""

    @app.workflow_run
    async def run(self) -> list[Any]:
        begin = workflow.now()
        await asyncio.sleep(0.02)
        await workflow.sleep(SOON)
        await workflow.sleep_until(begin + timedelta(milliseconds=80))
        done: list[Any] = [workflow.now() > begin, workflow.uuid4().version, workflow.random().random() < 1]
        try:
            async with workflow.timeout(SOON):
                await endless()
        except workflow.TimeoutError:
            done.append("timed out")
        with anyio.move_on_after(0.02) as scope:
            await endless()
        done.append(scope.cancelled_caught)
        async with workflow.TaskGroup() as group:
            tasks = [group.create_task(double(number)) for number in range(3)]
        done += [task.result() for task in tasks]
        done += [workflow.get_version("logic", 1, 2), workflow.get_version("logic", 1, 2)]
        app.context.metrics.record("waited", 1.0, {"flow": "Waits"})
        return done


@app.workflow
class Talks(Workflow[list[Any]]):
    """Asks, hears signals, takes updates, reports progress, continues as new."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    @workflow.signal
    async def tell(self, text: str) -> None:
        await double(1)
        self.heard.append(text)

    @workflow.query
    def heard_so_far(self) -> list[str]:
        return self.heard

    @workflow.update
    async def add(self, text: str) -> int:
        self.heard.append(text)
        return await double(len(self.heard))

    @add.validator
    def check(self, text: str) -> None:
        if not text:
            raise ValueError("say something")

    @app.workflow_run
    async def run(self, rounds: int) -> list[Any]:
        app.context.report_progress(rounds, 2, "to go")
        answer = await app.context.executor.signal_bus.wait_for_signal(Signal("answer", payload_type=str, message="Well?"))
        await workflow.wait_condition(lambda: len(self.heard) >= 2 or rounds == 0)
        if rounds:
            workflow.continue_as_new(rounds - 1)
        try:
            await app.context.executor.signal_bus.wait_for_signal(Signal("never"), timeout=0.02)
        except workflow.TimeoutError:
            return [self.id, answer]
        raise AssertionError


@app.workflow
class Family(Workflow[list[Any]]):
    """Children: awaited, failing, cancelled; and another workflow inline."""

    @app.workflow_run
    async def run(self) -> list[Any]:
        done: list[Any] = [(await workflow.execute_child_workflow(Small, "child")).value]
        try:
            await workflow.execute_child_workflow("Small", "fail")
        except RunFailedError as error:
            done.append(error.type)
        try:
            async with workflow.timeout(SOON):
                await workflow.execute_child_workflow(Idle)
        except workflow.TimeoutError:
            done.append("gave up")
        return [*done, (await Small().run("inline")).value]


@app.workflow
class Idle(Workflow[None]):
    """Waits until it is cancelled, and cleans up."""

    @app.workflow_run
    async def run(self) -> None:
        try:
            await endless()
        except workflow.CancelledError:
            await double(7)
            raise


@app.workflow
class Agents(Workflow[list[str]]):
    """Two agents of one name at once, with tools, and a second turn."""

    @app.workflow_run
    async def run(self, question: str) -> list[str]:
        return list(await asyncio.gather(self.one(question), self.one(f"{question} again")))

    async def one(self, question: str) -> str:
        async with Agent("reader", "You read.", server_names=["documents"]) as reader:
            llm = await reader.attach_llm(OpenAIAugmentedLLM)
            first = await llm.generate_str(question)
            return f"{first} / {await llm.generate_str('and then?')}"
