"""What workflow code asks of downstream MCP servers, and how it answers what they ask of a person or of a model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from mcp_types import CreateMessageRequestParams, TextContent

from mcp_agent.agents.elicited import answer_for, declined, question_of
from mcp_agent.errors import InvalidArguments, WorkflowApplicationError
from mcp_agent.executor.retry import RetryPolicy
from mcp_agent.executor.runtime import current_or_none, host
from mcp_agent.executor.steps import StepCall, StepOptions
from mcp_agent.mcp.definitions import (
    MCP_ANSWER_REQUEST,
    MCP_CALL_TOOL,
    MCP_GET_PROMPT,
    MCP_LIST_PROMPTS,
    MCP_LIST_RESOURCES,
    MCP_LIST_TOOLS,
    MCP_READ_RESOURCE,
    AnswerDownstreamRequest,
    CallDownstreamTool,
    DownstreamContents,
    DownstreamPrompt,
    DownstreamPromptResult,
    DownstreamRequest,
    DownstreamResource,
    DownstreamResult,
    DownstreamTool,
    GetDownstreamPrompt,
    ReadDownstreamResource,
)
from mcp_agent.workflows.llm.messages import wire_form
from mcp_agent.workflows.llm.sampling import Sampler

logger = logging.getLogger(__name__)

MOST_ROUNDS = 20
"""How often one call may come back with questions."""

# How long an operation may take is the server's own setting; a worker that is lost is noticed by its heartbeats.
DOWNSTREAM_CALL = StepOptions(
    start_to_close_timeout=timedelta(days=1),
    heartbeat_timeout=timedelta(seconds=10),
    retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=20), maximum_attempts=5),
)
# The call is held open by one worker: the others say so, until the step meets that one.
_ANSWER = StepOptions(
    start_to_close_timeout=timedelta(days=1),
    heartbeat_timeout=timedelta(seconds=10),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=0.2),
        backoff_coefficient=1.2,
        maximum_interval=timedelta(seconds=1),
        maximum_attempts=20,
    ),
)
_GIVE_UP = StepOptions(
    start_to_close_timeout=timedelta(seconds=10),
    schedule_to_close_timeout=timedelta(seconds=10),
    retry_policy=_ANSWER.retry_policy,
)


async def call_downstream(tool: DownstreamTool, arguments: Mapping[str, Any], sample: Sampler | None = None) -> DownstreamResult:
    """Calls a tool, and answers what its server asks meanwhile: a person of the run, and `sample` for a model.

    Outside of a run there is no person, and questions are declined.

    Raises:
        WorkflowApplicationError: As of `ConnectionManager.call_tool`; `DownstreamAskLost` if a call that was held open for an
            answer is open no more.
    """
    call = CallDownstreamTool(
        server=tool.server,
        tool=tool.name,
        arguments=dict(arguments),
        key=_key(),
        catalogue=tool.catalogue,
        repeatable=tool.repeatable,
    )
    result: DownstreamResult = await host().run_step(StepCall(MCP_CALL_TOOL, (call,), DOWNSTREAM_CALL, DownstreamResult))
    for _ in range(MOST_ROUNDS):
        if not result.asks:
            return result
        result = await _go_on(call, result, await _responses(call, result, sample))
    await _give_up(call, result)
    return _failed(f"`{tool.name}` of MCP server `{tool.server}` asked more than {MOST_ROUNDS} times: it was given up.")


async def list_tools(server: str) -> list[DownstreamTool]:
    """The tools of a server that models may use. Raises as `ConnectionManager`, as do all below."""
    return await host().run_step(StepCall(MCP_LIST_TOOLS, (server,), DOWNSTREAM_CALL, list[DownstreamTool]))


async def list_prompts(server: str) -> list[DownstreamPrompt]:
    """The prompts of a server."""
    return await host().run_step(StepCall(MCP_LIST_PROMPTS, (server,), DOWNSTREAM_CALL, list[DownstreamPrompt]))


async def get_prompt(server: str, prompt: str, arguments: Mapping[str, str] | None = None) -> DownstreamPromptResult:
    """A prompt, filled in."""
    request = GetDownstreamPrompt(server=server, prompt=prompt, arguments=dict(arguments or {}))
    return await host().run_step(StepCall(MCP_GET_PROMPT, (request,), DOWNSTREAM_CALL, DownstreamPromptResult))


async def list_resources(server: str) -> list[DownstreamResource]:
    """The resources of a server, and its templates of them."""
    return await host().run_step(StepCall(MCP_LIST_RESOURCES, (server,), DOWNSTREAM_CALL, list[DownstreamResource]))


async def read_resource(server: str, uri: str) -> DownstreamContents:
    """What a resource holds."""
    request = ReadDownstreamResource(server=server, uri=uri)
    return await host().run_step(StepCall(MCP_READ_RESOURCE, (request,), DOWNSTREAM_CALL, DownstreamContents))


def _key() -> str:
    """The call's own name in its run, the same on replay. Outside of runs nothing is repeated."""
    run = current_or_none()
    return "" if run is None else run.unique("call")


async def _responses(call: CallDownstreamTool, result: DownstreamResult, sample: Sampler | None) -> dict[str, Any]:
    """The answers by key; `None` for one that is refused. A call that is held open ends with its run."""
    timeout = None if result.wait_seconds is None else timedelta(seconds=result.wait_seconds)
    try:
        answers = await asyncio.gather(*(_response(call, ask, sample, timeout) for ask in result.asks))
    except BaseException:
        await _give_up(call, result)
        raise
    return dict(zip((ask.key for ask in result.asks), answers, strict=True))


async def _response(
    call: CallDownstreamTool, ask: DownstreamRequest, sample: Sampler | None, timeout: timedelta | None
) -> dict[str, Any] | None:
    if ask.kind == "elicitation":
        return await _asked(call, ask, timeout)
    if sample is None:
        return None
    try:
        answer = await sample(CreateMessageRequestParams.model_validate(ask.params))
    except WorkflowApplicationError as error:
        _warn("no model answers MCP server `%s`: %s", call.server, error)
        return None
    return wire_form(answer)


async def _asked(call: CallDownstreamTool, ask: DownstreamRequest, timeout: timedelta | None) -> dict[str, Any]:
    run = current_or_none()
    if run is None:
        return declined("decline")
    try:
        payload = await run.ask(question_of(call.server, call.tool, ask.params), timeout)
    except InvalidArguments as error:
        _warn("a question of MCP server `%s` is declined: %s", call.server, error)
        return declined("decline")
    except TimeoutError:
        return declined("cancel")
    return answer_for(payload, ask.params)


async def _go_on(call: CallDownstreamTool, result: DownstreamResult, responses: dict[str, Any]) -> DownstreamResult:
    if result.ticket is not None:
        return await _answer(AnswerDownstreamRequest(call=call, ticket=result.ticket, responses=responses))
    if None in responses.values():
        return _failed(f"`{call.tool}` of MCP server `{call.server}` asked for a model's answer, which was refused.")
    again = call.model_copy(update={"responses": {**result.answered, **responses}, "state": result.state})
    return await host().run_step(StepCall(MCP_CALL_TOOL, (again,), DOWNSTREAM_CALL, DownstreamResult))


async def _answer(answer: AnswerDownstreamRequest) -> DownstreamResult:
    try:
        return await host().run_step(StepCall(MCP_ANSWER_REQUEST, (answer,), _ANSWER, DownstreamResult))
    except WorkflowApplicationError as error:
        if error.type != "DownstreamAskElsewhere":
            raise
        text = f"{error.message} That process is gone, and the call with it: call the tool again."
        raise WorkflowApplicationError(text, type="DownstreamAskLost", non_retryable=True) from None


async def _give_up(call: CallDownstreamTool, result: DownstreamResult) -> None:
    """Ends a call that is held open; where that fails, it ends when its time is over."""
    if result.ticket is None:
        return
    answer = AnswerDownstreamRequest(call=call, ticket=result.ticket, give_up=True)
    try:
        await host().run_step(StepCall(MCP_ANSWER_REQUEST, (answer,), _GIVE_UP, DownstreamResult))
    except WorkflowApplicationError as error:
        _warn("a call of `%s` stays open for a while: %s", call.tool, error)


def _warn(text: str, *args: Any) -> None:
    """In a run not again on replay."""
    run = current_or_none()
    (logger if run is None else run.logger).warning(text, *args)


def _failed(text: str) -> DownstreamResult:
    return DownstreamResult(content=[TextContent(text=text)], is_error=True)
