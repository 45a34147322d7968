"""The agent's loop: ask the model, call the tools it asks for, ask again. Workflow code; every call outside is a step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from mcp_types import ToolResultContent, ToolUseContent

from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.retry import RetryPolicy
from mcp_agent.executor.runs import RunUsage
from mcp_agent.executor.runtime import host
from mcp_agent.executor.steps import StepCall, StepOptions
from mcp_agent.workflows.llm.messages import (
    LLM_GENERATE,
    LLMRequest,
    LLMResponse,
    LLMSetup,
    Message,
    RequestParams,
    StopReason,
    Usage,
    invalid_input,
)

if TYPE_CHECKING:
    from mcp_agent.agents.agent import Agent

DEFAULT_MAX_TURNS = 25
COMPLETE: frozenset[StopReason] = frozenset({"end_turn", "stop_sequence"})

MODEL_CALL = StepOptions(
    start_to_close_timeout=timedelta(minutes=10),
    schedule_to_close_timeout=timedelta(minutes=30),
    heartbeat_timeout=timedelta(seconds=10),
    retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=60), maximum_attempts=10),
)


class IncompleteAnswerError(WorkflowApplicationError):
    """The model's answer is cut off, refused, filtered or empty. `details` holds the stop reason and the text so far."""

    def __init__(self, agent: str, stop_reason: StopReason, text: str) -> None:
        super().__init__(
            f"The answer to agent `{agent}` ended with `{stop_reason}`: use `generate` to handle such answers.",
            stop_reason,
            text,
            non_retryable=True,
        )
        self.stop_reason = stop_reason
        self.text = text


class Generation(list[Message]):
    """The model's messages of one `generate`, in order.

    Attributes:
        stop_reason: Why the last one ended; anything but `end_turn` and `stop_sequence` is no full answer.
        usage: Tokens of all of them.
    """

    def __init__(self, messages: Sequence[Message], stop_reason: StopReason, usage: Usage) -> None:
        super().__init__(messages)
        self.stop_reason: StopReason = stop_reason
        self.usage = usage

    @property
    def text(self) -> str:
        """The text of the last message."""
        return self[-1].text


class AugmentedLLM:
    """A model with an agent's instruction and tools, and the conversation so far.

    Made by `Agent.attach_llm`. A conversation belongs to the run; it can be used after the agent's block has ended.

    Args:
        agent: Whose instruction and tools.
        default_request_params: Used where a call says nothing.
    """

    provider: ClassVar[str]

    def __init__(self, agent: Agent, default_request_params: RequestParams | None = None) -> None:
        self.agent = agent
        self.default_request_params = default_request_params or RequestParams()
        self._conversation = host().unique(agent.name)
        self._head: str | None = None

    async def generate(
        self, message: str | Message | Sequence[Message], request_params: RequestParams | None = None
    ) -> Generation:
        """Has the model answer, with as many tool calls as it wants, up to `max_turns`.

        Raises:
            WorkflowApplicationError: The provider failed for good, by the class name of its error; or type
                `MaxTurnsExceeded`.
        """
        params = (request_params or RequestParams()).over(self.default_request_params)
        setup = await self._setup(params)
        new = _messages(message)
        apart = params.use_history is False
        head = None if apart else self._head
        replies: list[LLMResponse] = []
        for _ in range(params.max_turns or DEFAULT_MAX_TURNS):
            reply = await self._ask(new, setup, params, head)
            replies.append(reply)
            head = reply.head
            self._head = self._head if apart else head
            calls = reply.message.tool_uses
            if not calls or reply.stop_reason not in ("tool_use", "end_turn", "stop_sequence"):
                usage = sum((r.usage for r in replies), Usage())
                return Generation([r.message for r in replies], reply.stop_reason, usage)
            results = await asyncio.gather(*(self._call(call) for call in calls))
            new = [Message.user(results)]
        raise WorkflowApplicationError(
            f"Agent `{self.agent.name}` still asks for tools after {len(replies)} turns: raise `max_turns`.",
            type="MaxTurnsExceeded",
            non_retryable=True,
        )

    async def generate_str(self, message: str | Message | Sequence[Message], request_params: RequestParams | None = None) -> str:
        """The text of the model's answer.

        Raises:
            IncompleteAnswerError: The answer is cut off, refused, filtered or empty.
            WorkflowApplicationError: As `generate`.
        """
        generation = await self.generate(message, request_params)
        if generation.stop_reason not in COMPLETE:
            raise IncompleteAnswerError(self.agent.name, generation.stop_reason, generation.text)
        return generation.text

    async def _setup(self, params: RequestParams) -> LLMSetup:
        instruction = params.system_prompt if params.system_prompt is not None else self.agent.instruction
        return LLMSetup(instruction=instruction or None, tools=await self.agent.tool_specs())

    async def _ask(self, new: list[Message], setup: LLMSetup, params: RequestParams, head: str | None) -> LLMResponse:
        on = host()
        setup_hash = setup.hash()
        request = LLMRequest(
            conversation=self._conversation,
            agent=self.agent.name,
            provider=self.provider,
            parent=head,
            new=new,
            setup_hash=setup_hash,
            setup=None if setup_hash in on.known_setups else setup,
            params=params.for_call(),
        )
        on.known_setups.add(setup_hash)
        response: LLMResponse = await on.run_step(StepCall(LLM_GENERATE, (request,), MODEL_CALL, LLMResponse))
        before = on.usage or RunUsage()
        on.usage = RunUsage(
            input_tokens=before.input_tokens + response.usage.input_tokens,
            output_tokens=before.output_tokens + response.usage.output_tokens,
        )
        on.publish()
        return response

    async def _call(self, call: ToolUseContent) -> ToolResultContent:
        problem = invalid_input(call)
        if problem is not None:
            return tool_error(call, f"The arguments of `{call.name}` are no JSON object: {problem.error}. Call it again.")
        return await self.agent.call_tool(call)


def tool_error(call: ToolUseContent, text: str) -> ToolResultContent:
    """A failed call as the model reads it: it can try something else, and the run goes on."""
    return ToolResultContent.model_validate(
        {"type": "tool_result", "toolUseId": call.id, "content": [{"type": "text", "text": text}], "isError": True}
    )


def _messages(message: str | Message | Sequence[Message]) -> list[Message]:
    if isinstance(message, str):
        return [Message.user(message)]
    return [message] if isinstance(message, Message) else list(message)


__all__ = ["AugmentedLLM", "Generation", "IncompleteAnswerError", "RequestParams"]
