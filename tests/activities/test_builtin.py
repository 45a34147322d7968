"""What the steps of a worker share."""

from pathlib import Path

import pytest

from mcp_agent.activities.builtin import BuiltinTasks
from mcp_agent.config import Settings
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.caller_tokens import CallerTokens
from mcp_agent.workflows.llm.messages import LLM_GENERATE, LLMRequest, LLMResponse, LLMSetup, Message

pytestmark = pytest.mark.anyio


async def second_turn(tmp_path: Path, cache: int) -> str:
    """What the model says to a second message, of which nothing but a worker's memory knows the first."""
    script = tmp_path / "script.yaml"
    script.write_text("agents: {clerk: [{text: one}, {text: 'two, after {turn}'}]}")
    builtin = BuiltinTasks(Settings(conversation_cache_bytes=cache, scripted={"file": script}), CallerTokens())
    generate = builtin.models[LLM_GENERATE].function
    setup = LLMSetup(instruction="Be brief.")
    asked = LLMRequest(
        conversation="c", agent="clerk", provider="openai", new=[Message.user("hi")], setup_hash=setup.hash(), setup=setup
    )
    first: LLMResponse = await generate(asked)
    second: LLMResponse = await generate(asked.model_copy(update={"parent": first.head, "new": [Message.user("and?")]}))
    await builtin.aclose()
    return second.message.text


async def test_a_worker_keeps_as_much_of_conversations_as_is_configured(tmp_path: Path):
    assert await second_turn(tmp_path, 1_000_000) == "two, after 1"
    with pytest.raises(WorkflowApplicationError, match="neither in memory") as lost:
        await second_turn(tmp_path, 0)
    assert lost.value.type == "ConversationLost"
