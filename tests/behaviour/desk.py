"""The workflows whose behaviour is the same on both engines."""

import asyncio
import dataclasses
import enum
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.step_context import current_step
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal

app = MCPApp(name="behaviour")
FAST = workflow.RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=3)


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Parcel(BaseModel):
    at: datetime
    colour: Colour
    point: Point
    tags: set[str]


def bus() -> Any:
    return app.context.executor.signal_bus


# Steps


@app.workflow_task(name="double")
async def double(number: int) -> int:
    return number * 2


@app.workflow_task(name="plain")
def plain(text: str) -> str:
    return text.upper()


@app.workflow_task(name="parcel")
async def turn(parcel: Parcel, factor: int = 2) -> Parcel:
    assert isinstance(parcel.point, Point)
    return parcel.model_copy(update={"point": Point(parcel.point.x * factor, parcel.point.y)})


@app.workflow_task(name="flaky", retry_policy=FAST)
async def flaky(until: int) -> int:
    step = current_step()
    assert step is not None
    if step.attempt < until:
        raise ConnectionError("not yet")
    return step.attempt


@app.workflow_task(name="refused", retry_policy=FAST)
async def refused(non_retryable: bool) -> None:
    raise WorkflowApplicationError("no", {"seen": True}, type="Refused", non_retryable=non_retryable)


@app.workflow_task(name="configured.once")
async def configured() -> None:
    raise ConnectionError("always")


@app.workflow_task(name="endless", heartbeat_timeout=timedelta(seconds=2))
async def endless() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        ENDED.set()
        raise


ENDED = asyncio.Event()


@app.workflow_task(name="unserializable")
async def unserializable() -> Any:
    return object()


@app.workflow_task(name="huge")
async def huge(size: int) -> str:
    return "x" * size


@app.workflow_task(name="reports-attempt", retry_policy=workflow.RetryPolicy(initial_interval=timedelta(hours=1)))
async def fails_slowly() -> None:
    raise ConnectionError("come back later")


# Workflows


@app.workflow
class Echo(Workflow[Any]):
    """Returns what it got."""

    @app.workflow_run
    async def run(self, value: Any, more: int = 7) -> WorkflowResult[Any]:
        return WorkflowResult(value=[value, more], metadata={"own": self.id == self.run_id})


@app.workflow
class Bare(Workflow[str]):
    @app.workflow_run
    async def run(self) -> str:
        return "bare"


@app.workflow
class Typed(Workflow[Parcel]):
    @app.workflow_run
    async def run(self, parcel: Parcel) -> WorkflowResult[Parcel]:
        assert isinstance(parcel.colour, Colour)
        turned = await turn(parcel)
        assert isinstance(turned.point, Point)
        return WorkflowResult(value=turned)


@app.workflow
class Ends(Workflow[Any]):
    """Ends in the way it is told."""

    @app.workflow_run
    async def run(self, how: str) -> WorkflowResult[Any]:
        match how:
            case "error":
                return WorkflowResult(error="it did not work")
            case "exception":
                raise LookupError("nothing there")
            case "application":
                raise WorkflowApplicationError("as told", type="Told")
            case "circle":
                first, second = LookupError("the first"), LookupError("the second")
                second.__cause__ = first
                raise first from second
            case "unserializable":
                return WorkflowResult(value=object())
            case "large":
                return WorkflowResult(value="x" * 2_500_000)
            case _:
                return WorkflowResult(value=how)


@app.workflow
class Steps(Workflow[Any]):
    """Calls steps in the way it is told; a failure is told by its type."""

    @app.workflow_run
    async def run(self, what: str) -> WorkflowResult[Any]:
        try:
            return WorkflowResult(value=await getattr(self, what)())
        except WorkflowApplicationError as error:
            return WorkflowResult(value=[type(error).__name__, error.type, list(error.details)])

    async def many(self) -> Any:
        return await asyncio.gather(*(double(n) for n in range(20)))

    async def thread(self) -> Any:
        return await plain("loud")

    async def third_time(self) -> Any:
        return await flaky(3)

    async def too_often(self) -> Any:
        return await flaky(9)

    async def not_again(self) -> Any:
        return await refused(True)

    async def by_configuration(self) -> Any:
        return await configured()

    async def unserializable(self) -> Any:
        return await unserializable()

    async def large_result(self) -> Any:
        return await huge(2_500_000)

    async def large_argument(self) -> Any:
        return await plain("x" * 2_500_000)

    async def unknown(self) -> Any:
        options = {"retry_policy": workflow.RetryPolicy(maximum_attempts=1)}
        return await workflow.execute_activity("nobody", start_to_close_timeout=timedelta(seconds=5), **options)

    async def by_name(self) -> Any:
        return await workflow.execute_activity("double", 21, start_to_close_timeout=timedelta(seconds=5))

    async def out_of_time(self) -> Any:
        once = workflow.RetryPolicy(maximum_attempts=1)
        return await workflow.execute_activity(endless, start_to_close_timeout=timedelta(seconds=0.3), retry_policy=once)

    async def out_of_all_time(self) -> Any:
        return await workflow.execute_activity(endless, schedule_to_close_timeout=timedelta(seconds=0.3))


@app.workflow
class Letters(Workflow[Any]):
    """Takes signals, answers queries, waits for letters."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.closed = False

    @workflow.signal
    async def letter(self, text: str, times: int = 1) -> None:
        """A letter."""
        self.seen += [text] * times

    @workflow.signal(name="close")
    def close_it(self) -> None:
        self.closed = True

    @workflow.signal
    def explode(self) -> None:
        raise RuntimeError("bang")

    @workflow.query
    def letters(self) -> list[str]:
        return self.seen

    @app.workflow_run
    async def run(self) -> WorkflowResult[Any]:
        await workflow.wait_condition(lambda: self.closed)
        return WorkflowResult(value=self.seen)


class Verdict(BaseModel):
    ok: bool
    reason: str = ""


@app.workflow
class Asks(Workflow[Any]):
    """Asks what it is told to ask."""

    @app.workflow_run
    async def run(self, what: str) -> WorkflowResult[Any]:
        match what:
            case "one":
                return WorkflowResult(value=await bus().wait_for_signal(Signal("go", message="May I?")))
            case "late":
                await workflow.sleep(0.5)
                return WorkflowResult(value=await bus().wait_for_signal(Signal("go")))
            case "two in a row":
                return WorkflowResult(value=[await bus().wait_for_signal(Signal("go")) for _ in range(2)])
            case "two at once":
                both = (bus().wait_for_signal(Signal(name)) for name in ("left", "right"))
                return WorkflowResult(value=await asyncio.gather(*both))
            case "typed":
                verdict = await bus().wait_for_signal(Signal("go", payload_type=Verdict))
                assert isinstance(verdict, Verdict)
                return WorkflowResult(value=verdict.reason)
            case _:
                try:
                    return WorkflowResult(value=await bus().wait_for_signal(Signal("go"), timeout=0.2))
                except TimeoutError:
                    return WorkflowResult(value="nobody came")


@app.workflow
class Waits(Workflow[Any]):
    """Waits in the way it is told."""

    @app.workflow_run
    async def run(self, how: str) -> WorkflowResult[Any]:
        match how:
            case "sibling":
                state = {"done": False}

                async def sibling() -> None:
                    await workflow.sleep(0.05)
                    state["done"] = True

                task = asyncio.create_task(sibling())
                await workflow.wait_condition(lambda: state["done"])
                await task
                return WorkflowResult(value="woken")
            case "condition":
                try:
                    await workflow.wait_condition(lambda: False, timeout=0.2)
                except workflow.TimeoutError:
                    return WorkflowResult(value="timed out")
            case "scope":
                try:
                    async with workflow.timeout(timedelta(seconds=0.3)):
                        await endless()
                except workflow.TimeoutError:
                    return WorkflowResult(value="timed out")
            case "cleanup":
                try:
                    await endless()
                except workflow.CancelledError:
                    return WorkflowResult(value=["cleaned", await double(4)])
            case _:
                await endless()
        return WorkflowResult(error="not reached")


@app.workflow
class Clock(Workflow[Any]):
    @app.workflow_run
    async def run(self) -> WorkflowResult[Any]:
        begin = workflow.now()
        assert begin.tzinfo == UTC
        await asyncio.sleep(0.2)
        slept = (workflow.now() - begin).total_seconds()
        same = [workflow.uuid4().version, 0 <= workflow.random().random() < 1, workflow.time() >= begin.timestamp()]
        return WorkflowResult(value=[round(slept, 1) >= 0.2, *same, workflow.info().workflow, workflow.in_workflow()])


@app.workflow
class Outer(Workflow[Any]):
    """Composes another workflow inline: same run, same id."""

    @app.workflow_run
    async def run(self) -> WorkflowResult[Any]:
        inner = await Inner().run(self.id)
        return WorkflowResult(value=inner.value)


@app.workflow
class Inner(Workflow[bool]):
    @app.workflow_run
    async def run(self, outer: str) -> WorkflowResult[bool]:
        return WorkflowResult(value=self.id == outer)


@app.workflow
class Reports(Workflow[Any]):
    """Says how far it is, and then tries something that will take long."""

    @app.workflow_run
    async def run(self) -> WorkflowResult[Any]:
        app.context.report_progress(2, 5, "halfway")
        await fails_slowly()
        return WorkflowResult(value=None)


@app.async_tool
async def shout(text: str) -> str:
    """Shouts, durably."""
    return f"{await plain(text)}!"
