"""MCP's sampling (specification, "Client Features", "Sampling") in terms of this package's messages, and back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mcp_types import CreateMessageRequestParams, CreateMessageResult, SamplingMessage, StopReason, TextContent
from pydantic import ValidationError

from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.problems import describe_problems
from mcp_agent.workflows.llm.messages import Block, LLMResponse, Message, RequestParams

Sampler = Callable[[CreateMessageRequestParams], Awaitable[CreateMessageResult]]
"""Has a model answer for a downstream server."""

_STOP_REASONS: dict[str, StopReason] = {"end_turn": "endTurn", "max_tokens": "maxTokens", "stop_sequence": "stopSequence"}


def sampled_messages(asked: CreateMessageRequestParams) -> list[Message]:
    """What the server has the model read."""
    return [_message(message) for message in asked.messages]


def sampling_params(asked: CreateMessageRequestParams) -> RequestParams:
    """How the server wants the model to be asked.

    Raises:
        WorkflowApplicationError: Type `UnsupportedSampling`: no model can be asked so.
    """
    try:
        return RequestParams(
            max_tokens=asked.max_tokens,
            temperature=asked.temperature,
            stop_sequences=asked.stop_sequences or [],
            model_preferences=asked.model_preferences,
        )
    except ValidationError as error:
        problem = describe_problems(error)
    raise WorkflowApplicationError(f"No model can be asked so: {problem}.", type="UnsupportedSampling", non_retryable=True)


def sampling_result(reply: LLMResponse) -> CreateMessageResult:
    """The model's answer, as the server gets it."""
    return CreateMessageResult(
        role="assistant",
        content=TextContent(text=reply.message.text),
        model=reply.model,
        stop_reason=_STOP_REASONS.get(reply.stop_reason, reply.stop_reason),
    )


def _message(message: SamplingMessage) -> Message:
    content: Block | list[Block] = message.content  # pyright: ignore[reportAssignmentType] - a subset of the blocks there are
    return Message(role=message.role, content=content if isinstance(content, list) else [content])
