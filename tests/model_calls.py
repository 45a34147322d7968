"""Model calls as a worker makes them: through the step, with the configuration's sections."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mcp_agent.activities.llm import LLMActivities
from mcp_agent.config import Settings
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.step_context import StepContext, entered
from mcp_agent.workflows.llm.messages import LLM_GENERATE, LLMRequest, LLMResponse, LLMSetup, Message, ToolSpec

KEY = "sk-proj-Zx81aQ55mmNvTTy0"
SETUP = LLMSetup(instruction="Be brief.", tools=[ToolSpec(name="add", description="Adds.")])


def request(
    *new: Message, provider: str = "openai", parent: str | None = None, setup: LLMSetup = SETUP, **more: Any
) -> LLMRequest:
    """A call that says `new` (`hi` by default) after `parent`."""
    said = list(new) or [Message.user("hi")]
    return LLMRequest(
        conversation="c",
        agent="writer",
        provider=provider,
        new=said,
        parent=parent,
        setup_hash=setup.hash(),
        setup=setup,
        **more,
    )


def in_step(attempt: int = 1, heartbeat: Callable[..., None] = lambda *_: None) -> Any:
    return entered(StepContext(LLM_GENERATE, "run", "Workflow", attempt=attempt, heartbeat=heartbeat))


@asynccontextmanager
async def activities(settings: Settings) -> AsyncGenerator[LLMActivities]:
    made = LLMActivities(settings)
    try:
        yield made
    finally:
        await made.aclose()


async def ask(settings: Settings, asked: LLMRequest) -> LLMResponse:
    async with activities(settings) as models:
        with in_step():
            return await models.generate(asked)


async def failure(settings: Settings, asked: LLMRequest) -> WorkflowApplicationError:
    """The error that a call fails with; it must hold nothing beside its text."""
    with pytest.raises(WorkflowApplicationError) as failed:
        await ask(settings, asked)
    error = failed.value
    assert error.__cause__ is None, "a cause would be recorded with its text"
    assert not getattr(error, "__notes__", None)
    return error
