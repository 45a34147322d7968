"""Workflows that ask people, in every way that there is."""

import asyncio
from enum import Enum
from typing import Any

from pydantic import BaseModel, Field

from mcp_agent import workflow
from mcp_agent.errors import MCPAgentError
from mcp_agent.executor.elicitation import Elicited
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal
from tests.behaviour.desk import app, bus


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Cup(BaseModel):
    """What somebody wants to drink."""

    drink: str = Field(min_length=2)
    size: Size = Size.SMALL
    sugar: int | None = Field(default=None, ge=0)


ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "drink": {"type": "string", "enum": ["tea", "milk"]},
        "cups": {"type": "integer", "minimum": 1, "default": 1},
    },
    "required": ["drink"],
}


def told(answer: Elicited[Any]) -> Any:
    data = answer.data
    assert data is None or isinstance(data, (Cup, dict, str, bool)), data
    return [answer.action, data.model_dump(mode="json") if isinstance(data, Cup) else data, answer.expired]


@app.workflow
class Elicits(Workflow[Any]):
    """Asks what it is told to ask, and tells what was answered."""

    @app.workflow_run
    async def run(self, what: str) -> WorkflowResult[Any]:
        return WorkflowResult(value=await getattr(self, what)())

    async def model(self) -> Any:
        return told(await app.context.elicit("What may I bring?", Cup, name="cup"))

    async def form(self) -> Any:
        return told(await app.context.elicit("What may I bring?", ORDER))

    async def text(self) -> Any:
        return told(await app.context.elicit("Your name?"))

    async def truth(self) -> Any:
        return told(await app.context.elicit("Is it cold?", bool))

    async def address(self) -> Any:
        return told(await app.context.elicit_url("Please pay.", "https://pay.example/7"))

    async def in_turn(self) -> Any:
        return [await self.model(), await self.text()]

    async def default(self) -> Any:
        return told(await app.context.elicit("What may I bring?", Cup, timeout=0.1, default=Cup(drink="tea")))

    async def expiry(self) -> Any:
        try:
            first = told(await app.context.elicit("Quick?", bool, timeout=0.1))
        except TimeoutError as error:
            first = str(error)
        return [first, told(await app.context.elicit("And now?", bool))]

    async def scope(self) -> Any:
        try:
            async with workflow.timeout(0.1):
                await app.context.elicit("Quick?", bool)
        except TimeoutError:
            return told(await app.context.elicit("And now?", bool))

    async def several(self) -> Any:
        asked = [app.context.elicit(f"Number {number}?", name="n") for number in range(3)]
        other = bus().wait_for_signal(Signal("n", message="A signal of that name?"))
        *answers, signalled = await asyncio.gather(*asked, other)
        return [*(told(answer)[1] for answer in answers), signalled]

    async def inline(self) -> Any:
        return (await Elicits().run("text")).value

    async def signal_in_time(self) -> Any:
        return await bus().wait_for_signal(Signal("go"), timeout=600)


@app.workflow
class AsksInHandler(Workflow[Any]):
    """Asks in a signal handler and in an update, while `run` waits for both."""

    def __init__(self) -> None:
        self.heard: dict[str, Any] = {}

    @workflow.signal
    async def begin(self) -> None:
        self.heard["signal"] = told(await app.context.elicit("From the signal?", name="in signal"))

    @workflow.update
    async def ask(self) -> Any:
        self.heard["update"] = told(await app.context.elicit("From the update?", name="in update"))
        return self.heard["update"]

    @app.workflow_run
    async def run(self) -> WorkflowResult[Any]:
        await workflow.wait_condition(lambda: len(self.heard) == 2)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return WorkflowResult(value=self.heard)


@app.workflow
class AsksAgain(Workflow[Any]):
    """Continues as new while a question is open, and asks again."""

    @app.workflow_run
    async def run(self, rounds: int) -> WorkflowResult[Any]:
        asking = asyncio.create_task(self.ask())
        if rounds:
            await bus().wait_for_signal(Signal("go on"))
            workflow.continue_as_new(rounds - 1)
        return WorkflowResult(value=await asking)

    async def ask(self) -> Any:
        return told(await app.context.elicit("Still there?", bool))


@app.workflow
class Misuses(Workflow[Any]):
    """Asks in ways that are refused."""

    @app.workflow_run
    async def run(self) -> list[str]:
        refused: list[str] = []
        nested = {"type": "object", "properties": {"a": {"type": "object"}}}
        given: list[tuple[Any, dict[str, Any]]] = [
            (Cup, {"default": Cup(drink="tea")}),
            (Cup, {"default": {"drink": 1}, "timeout": 1}),
            (ORDER, {"default": {"drink": "wine"}, "timeout": 1}),
            (nested, {}),
            (None, {"url": "javascript:alert(1)"}),
            (None, {"url": "https://a.example", "default": "x", "timeout": 1}),
            (Cup, {"url": "https://a.example"}),
            (Cup, {"name": ""}),
        ]
        for schema, options in given:
            try:
                await app.context.elicit("Well?", schema, **options)
            except MCPAgentError as error:
                refused.append(f"{type(error).__name__}: {error}")
        return refused
