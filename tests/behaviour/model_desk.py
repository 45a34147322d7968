"""Workflows for what the programming model adds to the first desk: methods as steps, children, versions, continuing."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
from pydantic import BaseModel

from mcp_agent import workflow
from mcp_agent.agents.agent import Agent
from mcp_agent.errors import RunFailedError, WorkflowApplicationError
from mcp_agent.executor.step_context import current_step
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM
from tests.behaviour.desk import app, endless

FAST = workflow.RetryPolicy(initial_interval=timedelta(milliseconds=20), maximum_attempts=5)
MINUTE = timedelta(minutes=1)


@app.workflow_task(name="model.plain", heartbeat_timeout=timedelta(seconds=3), retry_policy=FAST)
def plain(how: str) -> str:
    """A plain function: it runs in a thread, and blocks nothing but that."""
    if how == "heartbeat":
        workflow.heartbeat("once")
        return f"beat {workflow.heartbeat_details()}"
    threading.Event().wait(1.5)
    return "slept"


@app.workflow_task(name="model.odd", retry_policy=FAST)
async def odd(how: str) -> Any:
    return be_odd(how)


@app.workflow_task(name="model.plain-odd", retry_policy=FAST)
def plain_odd(how: str) -> Any:
    return be_odd(how)


class Weird(BaseException):
    pass


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def be_odd(how: str) -> Any:
    """What user code may do to whoever runs it."""
    nested: list[Any] = []
    nested.append(nested)
    errors: dict[str, BaseException] = {
        "exit": SystemExit(3),
        "interrupt": KeyboardInterrupt(),
        "weird": Weird("odd"),
        "unprintable": Unprintable(),
        "stop": StopIteration("x"),
        "large": ValueError("x" * 3_000_000),
        "surrogate": ValueError("bad \ud800 text"),
    }
    values: dict[str, Any] = {"cycle": nested, "bad text": "bad \ud800", "class": Weird}
    if how in errors:
        raise errors[how]
    return values[how]


@app.workflow
class Plain(Workflow[Any]):
    @app.workflow_run
    async def run(self, how: str) -> WorkflowResult[Any]:
        return WorkflowResult(value=await plain(how))


@app.workflow
class Odd(Workflow[Any]):
    """Has something odd done in the run, in a step, in a thread or in a handler."""

    @workflow.signal
    async def signalled(self, how: str) -> None:
        be_odd(how)

    @workflow.update
    async def updated(self, how: str) -> Any:
        return be_odd(how)

    @workflow.query
    def asked(self, how: str) -> Any:
        return be_odd(how)

    @app.workflow_run
    async def run(self, where: str, how: str) -> WorkflowResult[Any]:
        match where:
            case "step":
                return WorkflowResult(value=await odd(how))
            case "thread":
                return WorkflowResult(value=await plain_odd(how))
            case "run":
                return WorkflowResult(value=be_odd(how))
            case _:
                await workflow.wait_condition(lambda: False)
                raise AssertionError


class Point(BaseModel):
    x: int
    y: int = 0


class Mixin:
    async def shared(self, text: str) -> str:
        return f"{text} by {type(self).__name__}"


@app.workflow
class Methods(Mixin, Workflow[Any]):
    """Runs methods of its own as steps, in the way it is told."""

    limit = 3

    def __init__(self) -> None:
        self.state = "of the workflow"

    @app.workflow_run
    async def run(self, how: str) -> WorkflowResult[Any]:
        match how:
            case "typed":
                moved = await workflow.execute_activity(self.move, args=[Point(x=1), 2], start_to_close_timeout=MINUTE)
                assert isinstance(moved, Point)
                return WorkflowResult(value=moved)
            case "direct":
                return WorkflowResult(value=await self.reads_state())
            case "shared":
                return WorkflowResult(value=await workflow.execute_activity(self.shared, "done", start_to_close_timeout=MINUTE))
            case "reads" | "writes" | "helped" | "identified" | "agent" | "flaky":
                method = getattr(self, how if how not in ("reads", "writes") else f"{how}_state")
                return WorkflowResult(
                    value=await workflow.execute_activity(method, start_to_close_timeout=MINUTE, retry_policy=FAST)
                )
            case _:
                raise AssertionError(how)

    async def move(self, point: Point, by: int) -> Point:
        return Point(x=point.x + by, y=point.y)

    async def reads_state(self) -> str:
        return self.state

    async def writes_state(self) -> None:
        self.state = "changed"

    async def helped(self) -> str:
        return f"{self._help()} {self.limit}"

    def _help(self) -> str:
        return "helped"

    async def identified(self) -> str:
        return self.id

    async def flaky(self) -> list[int]:
        done = list(workflow.heartbeat_details())
        workflow.heartbeat(*done, len(done))
        if len(done) < 2:
            raise ConnectionError("not yet")
        return done

    async def agent(self) -> list[str]:
        helper = Agent("helper", "You help.")
        async with helper:
            llm = await helper.attach_llm(OpenAIAugmentedLLM)
            return [await llm.generate_str("first"), await llm.generate_str("second")]


@app.workflow
class Child(Workflow[Any]):
    """Ends in the way it is told."""

    @app.workflow_run
    async def run(self, how: str) -> WorkflowResult[Any]:
        if how == "wait":
            try:
                said = await app.context.executor.signal_bus.wait_for_signal(Signal("word", payload_type=str))
                return WorkflowResult(value=said)
            except workflow.CancelledError:
                CANCELLED.append(self.id)
                raise
        if how == "fail":
            raise LookupError("child has lost it")
        if how == "error":
            return WorkflowResult(error="child gives up")
        return WorkflowResult(value=Point(x=1), metadata={"id": self.id})


CANCELLED: list[str] = []


async def _cancelled_at_once(doing: Any) -> str:
    """Cancels something while Temporal does not know of it yet."""
    task = asyncio.create_task(doing)
    await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return "cancelled"
    return "went on"


@app.workflow
class Parent(Workflow[Any]):
    """Has children in the way it is told."""

    @app.workflow_run
    async def run(self, how: str, other: str = "") -> WorkflowResult[Any]:
        match how:
            case "value":
                result = await workflow.execute_child_workflow(Child, "value")
                return WorkflowResult(value=[result["x"], result.metadata["id"].startswith("Child."), self.id])
            case "named":
                child = await workflow.start_child_workflow("Child", "wait", id=other)
                await child.signal("word", "heard")
                return WorkflowResult(value=[child.id, (await child.result()).value])
            case "fail":
                try:
                    await workflow.execute_child_workflow(Child, "fail")
                except RunFailedError as error:
                    return WorkflowResult(value=[error.type, "child has lost it" in str(error)])
            case "error":
                return WorkflowResult(value=(await workflow.execute_child_workflow(Child, "error")).error)
            case "times out":
                try:
                    await workflow.execute_child_workflow(Child, "wait", execution_timeout=timedelta(seconds=1))
                except RunFailedError as error:
                    return WorkflowResult(value=type(error).__name__)
            case "gives up":
                try:
                    async with workflow.timeout(0.5):
                        await workflow.execute_child_workflow(Child, "wait", id=other)
                except workflow.TimeoutError:
                    return WorkflowResult(value="gave up")
            case "taken":
                first = await workflow.start_child_workflow(Child, "wait", id=other)
                try:
                    await workflow.start_child_workflow(Child, "wait", id=other)
                except Exception as error:
                    return WorkflowResult(value=[type(error).__name__, first.id])
            case "terminate" | "abandon" | "request_cancel":
                await workflow.start_child_workflow(Child, "wait", id=other, parent_close_policy=how)
                return WorkflowResult(value="left")
            case "many":
                results = await asyncio.gather(*(workflow.execute_child_workflow(Child, "value") for _ in range(5)))
                return WorkflowResult(value=len({result.metadata["id"] for result in results}))
            case "at once":
                texts = [await _cancelled_at_once(workflow.execute_child_workflow(Child, "wait", id=other))]
                bus = app.context.executor.signal_bus
                texts.append(await _cancelled_at_once(bus.send_signal(Signal("word", run_id=self.id))))
                return WorkflowResult(value=[*texts, await _cancelled_at_once(endless())])
            case "inline":
                return WorkflowResult(value=(await Child().run("value")).metadata["id"] == self.id)
            case "tells":
                await app.context.executor.signal_bus.send_signal(Signal("word", run_id=other, payload="from a run"))
                return WorkflowResult(value="told")
            case _:
                pass
        raise AssertionError(how)


@app.workflow
class Again(Workflow[Any]):
    """Continues as new until it has counted far enough; what was signalled before is not lost."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    @workflow.signal
    async def slow(self, text: str) -> None:
        await workflow.sleep(0.3)
        self.heard.append(text)

    @workflow.query
    def count(self) -> list[str]:
        return self.heard

    @app.workflow_run
    async def run(self, count: int, so_far: list[str] | None = None) -> WorkflowResult[Any]:
        heard = list(so_far or [])
        if count == 0:
            early = await app.context.executor.signal_bus.wait_for_signal(Signal("early", payload_type=str))
            return WorkflowResult(value=[self.id, early, heard])
        if count == 3:
            await workflow.wait_condition(lambda: not workflow.all_handlers_finished(), timeout=5)
        assert not workflow.should_continue_as_new()
        await workflow.sleep(0.01)
        return workflow.continue_as_new(args=[count - 1, heard])


@app.workflow
class Continues(Workflow[Any]):
    @app.workflow_run
    async def run(self) -> WorkflowResult[Any]:
        workflow.continue_as_new()


@app.workflow
class Nests(Workflow[Any]):
    @app.workflow_run
    async def run(self, how: str) -> WorkflowResult[Any]:
        if how == "wrong arguments":
            workflow.continue_as_new(args=["a", "b", "c"])
        return await Continues().run()


@app.workflow
class Updates(Workflow[Any]):
    """Takes updates until it is told to stop; has handlers for every name."""

    def __init__(self) -> None:
        self.total = 0
        self.seen: list[Any] = []

    @workflow.update
    async def add(self, number: int, times: int = 1) -> Point:
        await workflow.sleep(0.01)
        if number == 13:
            raise WorkflowApplicationError("bad luck", {"number": 13}, type="BadLuck", non_retryable=True)
        self.total += number * times
        return Point(x=self.total)

    @add.validator
    def check(self, number: int, times: int = 1) -> None:
        if number < 0:
            raise ValueError("only upwards")

    @workflow.signal(dynamic=True)
    async def any_signal(self, name: str, args: list[Any]) -> None:
        self.seen.append([name, args])

    @workflow.query(dynamic=True)
    def any_query(self, name: str, args: list[Any]) -> list[Any]:
        return [name, args, self.seen]

    @workflow.signal(name="stop-it")
    def stop(self) -> None:
        self.seen.append("stop")

    @app.workflow_run
    async def run(self) -> WorkflowResult[Any]:
        await workflow.wait_condition(lambda: "stop" in self.seen and workflow.all_handlers_finished())
        return WorkflowResult(value=[self.total, self.seen])


@app.workflow
class Times(Workflow[Any]):
    """Tries what has to do with time and cancellation."""

    @app.workflow_run
    async def run(self, how: str) -> WorkflowResult[Any]:
        match how:
            case "until":
                begin = workflow.now()
                await workflow.sleep_until(begin + timedelta(seconds=0.2))
                await workflow.sleep_until(begin)
                return WorkflowResult(value=workflow.now() - begin >= timedelta(seconds=0.2))
            case "naive":
                try:
                    await workflow.sleep_until(datetime(2030, 1, 1))
                except ValueError as error:
                    return WorkflowResult(value=str(error))
            case "zoned":
                await workflow.sleep_until(datetime(2020, 1, 1, tzinfo=UTC))
                return WorkflowResult(value="past")
            case "version":
                versions = [workflow.get_version("change", 1, 3) for _ in range(2)]
                return WorkflowResult(value=[*versions, workflow.get_version("other", 2, 2)])
            case "metric":
                app.context.metrics.record("duration", 1.5, {"workflow": "Times"})
                return WorkflowResult(value="recorded")
            case "group":
                return WorkflowResult(value=await self._group())
            case "anyio":
                return WorkflowResult(value=await self._anyio())
            case _:
                pass
        raise AssertionError(how)

    async def _group(self) -> list[str]:
        done: list[str] = []

        async def part(name: str, seconds: float) -> None:
            try:
                await workflow.sleep(seconds)
            except asyncio.CancelledError:
                done.append(f"{name} cancelled")
                raise
            if name == "fails":
                raise LookupError(name)
            done.append(name)

        try:
            async with workflow.TaskGroup() as group:
                for name, seconds in [("a", 5), ("fails", 0.05), ("b", 5), ("quick", 0.01)]:
                    group.create_task(part(name, seconds))
        except* LookupError as errors:
            done.append(str(errors.exceptions[0]))
        return done

    async def _anyio(self) -> list[Any]:
        done: list[Any] = []

        async def part(name: str) -> None:
            await workflow.sleep(0.01)
            done.append(name)

        async with anyio.create_task_group() as group:
            group.start_soon(part, "a")
            group.start_soon(part, "b")
        with anyio.move_on_after(0.05) as scope:
            await workflow.sleep(10)
        return [sorted(done), scope.cancelled_caught]


@app.workflow
class Refused(Workflow[Any]):
    """Makes calls with options that are wrong, and says what it is told."""

    @app.workflow_run
    async def run(self) -> WorkflowResult[Any]:
        texts: list[str] = []
        calls: list[Any] = [
            lambda: workflow.execute_activity(self.nothing, start_to_close_timeout=5),
            lambda: workflow.execute_activity(self.nothing, heartbeat_timeout=timedelta(seconds=-1)),
            lambda: workflow.execute_activity(self.nothing, retry_policy=workflow.RetryPolicy(backoff_coefficient=0.5)),
            lambda: workflow.execute_activity(len, "x"),
            lambda: workflow.start_child_workflow(Child, "value", parent_close_policy="stay"),
            lambda: workflow.start_child_workflow(Child, "value", id=""),
            lambda: workflow.start_child_workflow(Child, 5),
            lambda: workflow.start_child_workflow(int),
            lambda: self._version("x", 3, 2),
            self._heartbeat,
        ]
        for call in calls:
            try:
                await call()
            except Exception as error:
                texts.append(f"{type(error).__name__}: {error}")
        return WorkflowResult(value=texts)

    async def nothing(self) -> None: ...

    async def _version(self, name: str, minimum: int, maximum: int) -> None:
        workflow.get_version(name, minimum, maximum)

    async def _heartbeat(self) -> None:
        workflow.heartbeat("not in a step")


@app.workflow_task(
    name="model.google", retry_policy=workflow.RetryPolicy(timedelta(milliseconds=10), non_retryable_error_types=["ClientError"])
)
async def ask_google(code: int, status: str) -> str:
    """Ends as the SDK does when the provider refuses, or is overloaded for the first time."""
    step = current_step()
    assert step is not None
    GOOGLE.append(status)
    if code >= 500 and step.attempt > 1:
        return f"attempt {step.attempt}"
    raise google_error(code, {"error": {"code": code, "status": status, "message": "no"}})


GOOGLE: list[str] = []


def google_error(code: int, body: dict[str, Any]) -> Exception:
    from google.genai import errors

    return errors.ClientError(code, body) if code < 500 else errors.ServerError(code, body)


@app.workflow
class Google(Workflow[str]):
    @app.workflow_run
    async def run(self, code: int, status: str) -> str:
        try:
            return await ask_google(code, status)
        except WorkflowApplicationError as error:
            return error.type


@app.workflow_task(name="model.count")
async def count_one() -> int:
    return 1


@app.workflow
class Many(Workflow[int]):
    """Has many steps at once."""

    @app.workflow_run
    async def run(self, number: int) -> int:
        return sum(await asyncio.gather(*(count_one() for _ in range(number))))
