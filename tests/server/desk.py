"""The app whose server the tests talk to."""

import asyncio
from typing import Any

import anyio
from mcp.shared.exceptions import MCPError
from mcp_types import TextContent
from pydantic import BaseModel

from mcp_agent import workflow
from mcp_agent.agents.agent import Agent
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM

marks = MCPApp(name="marks")  # only to mark `run`: each test registers the classes with an app of its own


class Verdict(BaseModel):
    ok: bool
    reason: str = ""


class Sum(BaseModel):
    total: int


def make() -> MCPApp:
    """A new app each time, so that no test sees another's."""
    app = MCPApp(name="desk", description="A desk for tests.")
    for cls in (Greet, Review, Permission, Letters, Fails, Large, Forever, Clash, Writes, Double, Counts):
        app.workflow(cls)
    for function in (add, shout, model, content, nothing, broken, unserializable, slow, refuses):
        app.tool(function)
    app.async_tool(later)
    return app


class Greet(Workflow[str]):
    """Greets somebody."""

    @marks.workflow_run
    async def run(self, name: str, times: int = 1) -> WorkflowResult[str]:
        return WorkflowResult(value=" ".join([f"hello {name}"] * times))


class Writes(Workflow[str]):
    """Has a model write."""

    @marks.workflow_run
    async def run(self) -> WorkflowResult[str]:
        llm = await Agent("writer").attach_llm(OpenAIAugmentedLLM)
        return WorkflowResult(value=await llm.generate_str("write"))


class Review(Workflow[str]):
    """Asks a person for a verdict."""

    @marks.workflow_run
    async def run(self, text: str) -> WorkflowResult[str]:
        signal = Signal("verdict", payload_type=Verdict, message=f"Is '{text}' good?")
        verdict = await marks.context.executor.signal_bus.wait_for_signal(signal)
        return WorkflowResult(value=f"{verdict.ok} {verdict.reason}".strip())


class Double(Workflow[list[str]]):
    """Asks two things at once."""

    @marks.workflow_run
    async def run(self) -> WorkflowResult[list[str]]:
        bus = marks.context.executor.signal_bus
        first, second = (Signal(name, payload_type=str, message=f"Which {name}?") for name in ("first", "second"))
        answers = await asyncio.gather(bus.wait_for_signal(first), bus.wait_for_signal(second))
        return WorkflowResult(value=answers)


class Counts(Workflow[int]):
    """Counts the ticks that it is sent, and says how far it is."""

    def __init__(self) -> None:
        self.ticks = 0

    @workflow.signal
    def tick(self, times: int = 1) -> None:
        """So many ticks, one after the other."""
        for _ in range(times):
            self.ticks += 1
            marks.context.report_progress(self.ticks, message=f"tick {self.ticks}")

    @marks.workflow_run
    async def run(self, until: int) -> WorkflowResult[int]:
        await workflow.wait_condition(lambda: self.ticks >= until)
        return WorkflowResult(value=self.ticks)


class Permission(Workflow[str]):
    """Asks a person whether it may."""

    @marks.workflow_run
    async def run(self) -> str:
        return (await marks.context.elicit("May I?", Verdict)).action


class Letters(Workflow[list[str]]):
    """Collects letters until it is told to stop."""

    def __init__(self) -> None:
        self.letters: list[str] = []
        self.stopped = False

    @workflow.signal
    async def letter(self, text: str, copies: int = 1) -> None:
        """A letter."""
        self.letters += [text] * copies

    @workflow.signal
    def resume(self) -> None:
        """Stops it."""
        self.stopped = True

    @workflow.query
    def so_far(self) -> list[str]:
        return self.letters

    @marks.workflow_run
    async def run(self) -> WorkflowResult[list[str]]:
        await workflow.wait_condition(lambda: self.stopped)
        return WorkflowResult(value=self.letters)


class Fails(Workflow[Any]):
    """Fails in the way it is told."""

    @marks.workflow_run
    async def run(self, how: str) -> WorkflowResult[Any]:
        if how == "error":
            return WorkflowResult(error="it did not work")
        if how == "unserializable":
            return WorkflowResult(value=object())
        raise LookupError("nothing there")


class Large(Workflow[str]):
    """Returns as much as it is told."""

    @marks.workflow_run
    async def run(self, size: int) -> WorkflowResult[str]:
        return WorkflowResult(value="x" * size)


class Forever(Workflow[None]):
    """Never ends by itself."""

    @marks.workflow_run
    async def run(self) -> WorkflowResult[None]:
        await workflow.wait_condition(lambda: False)
        return WorkflowResult()


class Clash(Workflow[list[str]]):
    """Has parameters that are named like the tool's own."""

    @marks.workflow_run
    async def run(self, workflow_id: str, wait_seconds: str) -> WorkflowResult[list[str]]:
        return WorkflowResult(value=[workflow_id, wait_seconds])


async def add(a: int, b: int = 1) -> dict[str, int]:
    """Adds."""
    return {"sum": a + b}


def shout(text: str) -> str:
    """Shouts."""
    return text.upper()


def model(numbers: list[int]) -> Sum:
    """Sums up."""
    return Sum(total=sum(numbers))


def content() -> list[TextContent]:
    """Gives content as it is."""
    return [TextContent(text="one"), TextContent(text="two")]


def nothing() -> None:
    """Gives nothing."""


async def broken() -> None:
    """Fails."""
    raise ValueError("no good")


async def unserializable() -> Any:
    """Gives what has no JSON form."""
    return object()


GATES: list[anyio.Event] = []


async def slow() -> str:
    """Waits for the newest gate."""
    await GATES[-1].wait()
    return "done"


async def refuses() -> str:
    """Ends in an error of the protocol, once the newest gate is open."""
    await GATES[-1].wait()
    raise MCPError(-32001, "no such thing", {"why": "a test"})


async def later(text: str) -> str:
    """Shouts, durably."""
    return f"{text.upper()}!"
