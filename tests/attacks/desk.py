"""The app that is attacked: parameters of many types, a person, a run that never ends, functions."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, Field

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal

marks = MCPApp(name="marks")


class Line(BaseModel):
    article: str = Field(min_length=1, max_length=40)
    count: int = Field(ge=1, le=99)
    price: Decimal | None = None


class Order(Workflow[int]):
    """Counts what is ordered."""

    @marks.workflow_run
    async def run(
        self,
        lines: list[Line],
        kind: Literal["gift", "own"] = "own",
        due: date | None = None,
        notes: dict[str, str] | None = None,
    ) -> WorkflowResult[int]:
        return WorkflowResult(value=sum(line.count for line in lines))


class Ask(Workflow[str]):
    """Asks a person for a word."""

    @marks.workflow_run
    async def run(self, about: str = "it") -> WorkflowResult[str]:
        signal = Signal("word", payload_type=str, message=f"Which word for {about}?")
        return WorkflowResult(value=await marks.context.executor.signal_bus.wait_for_signal(signal))


class Forever(Workflow[None]):
    """Never ends by itself."""

    @marks.workflow_run
    async def run(self) -> WorkflowResult[None]:
        await workflow.wait_condition(lambda: False)
        return WorkflowResult()


def add(a: int, b: float = 1) -> float:
    """Adds."""
    return a + b


async def later(text: str) -> str:
    """Shouts, durably."""
    return text.upper()


def make() -> MCPApp:
    """A new app each time."""
    app = MCPApp(name="desk", description="A desk for attacks.")
    for cls in (Order, Ask, Forever):
        app.workflow(cls)
    app.tool(add)
    app.async_tool(later)
    return app


app = make()
"""For Temporal, which makes a module's classes anew for each run: their registration has to be the module's own."""
