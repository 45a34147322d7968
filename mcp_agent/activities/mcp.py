"""The steps that talk to downstream MCP servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from mcp_types import TextContent
from pydantic import BaseModel
from pydantic_core import to_json

from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.runs import Progress, progress_details
from mcp_agent.executor.step_context import current_step
from mcp_agent.mcp.connections import ConnectionManager
from mcp_agent.mcp.definitions import (
    MCP_ANSWER_REQUEST,
    MCP_CALL_TOOL,
    MCP_GET_PROMPT,
    MCP_LIST_PROMPTS,
    MCP_LIST_RESOURCES,
    MCP_LIST_TOOLS,
    MCP_READ_RESOURCE,
    RESULT_LIMIT,
    AnswerDownstreamRequest,
    CallDownstreamTool,
    DownstreamContents,
    DownstreamPrompt,
    DownstreamPromptResult,
    DownstreamResource,
    DownstreamResult,
    DownstreamTool,
    GetDownstreamPrompt,
    ReadDownstreamResource,
)
from mcp_agent.observability.telemetry import COMPLETED, Telemetry

M = TypeVar("M", bound=BaseModel)

_BEGUN = "mcp_agent.call_begun"


class MCPActivities:
    """Args:
    connections: The worker's connections.
    largest: The most bytes that one result may have.
    telemetry: What requests are measured with.
    """

    def __init__(self, connections: ConnectionManager, largest: int = RESULT_LIMIT, telemetry: Telemetry | None = None) -> None:
        self._connections = connections
        self._largest = largest
        self._telemetry = telemetry or Telemetry()

    def steps(self) -> dict[str, Callable[..., Any]]:
        """All of them, by the names that are stored with runs."""
        return {
            MCP_LIST_TOOLS: self.list_tools,
            MCP_CALL_TOOL: self.call_tool,
            MCP_ANSWER_REQUEST: self.answer_request,
            MCP_LIST_PROMPTS: self.list_prompts,
            MCP_GET_PROMPT: self.get_prompt,
            MCP_LIST_RESOURCES: self.list_resources,
            MCP_READ_RESOURCE: self.read_resource,
        }

    async def list_tools(self, server: str) -> list[DownstreamTool]:
        """The tools of a server that models may use. Raises as `ConnectionManager`."""
        with self._telemetry.downstream(server, "tools/list"):
            return await self._connections.list_tools(server)

    async def call_tool(self, call: CallDownstreamTool) -> DownstreamResult:
        """One call of a tool. Raises as `ConnectionManager.call_tool`; a tool's own error is a result.

        A result above 256 KB becomes an error result that says so: it would fill the run's history.
        """
        step = current_step()
        _check_not_begun(call)
        call = _with_whole_key(call)
        told = _Told(call)
        with self._telemetry.downstream(call.server, "tools/call", call.tool) as measured:
            try:
                result = await self._connections.call_tool(call, step.run_id if step is not None else "", told)
            except WorkflowApplicationError:
                told.ended()
                raise
            measured.outcome = _outcome(result)
        return _bounded(call, result, self._largest)

    async def answer_request(self, answer: AnswerDownstreamRequest) -> DownstreamResult:
        """Goes on with a call that is held open. Raises as `ConnectionManager.answer_request`; results as of `call_tool`."""
        call = answer.call
        with self._telemetry.downstream(call.server, "tools/call", call.tool) as measured:
            result = await self._connections.answer_request(answer, _Told(call))
            measured.outcome = _outcome(result)
        return _bounded(call, result, self._largest)

    async def list_prompts(self, server: str) -> list[DownstreamPrompt]:
        """The prompts of a server. Raises as `ConnectionManager`."""
        with self._telemetry.downstream(server, "prompts/list"):
            return await self._connections.list_prompts(server)

    async def get_prompt(self, request: GetDownstreamPrompt) -> DownstreamPromptResult:
        """A prompt, filled in. Raises as `ConnectionManager`, and `DownstreamTooLarge` above 256 KB."""
        with self._telemetry.downstream(request.server, "prompts/get"):
            got = await self._connections.get_prompt(request)
        return _small_enough(f"prompt `{request.prompt}`", got, self._largest)

    async def list_resources(self, server: str) -> list[DownstreamResource]:
        """The resources of a server. Raises as `ConnectionManager`."""
        with self._telemetry.downstream(server, "resources/list"):
            return await self._connections.list_resources(server)

    async def read_resource(self, request: ReadDownstreamResource) -> DownstreamContents:
        """What a resource holds. Raises as `ConnectionManager`, and `DownstreamTooLarge` above 256 KB."""
        with self._telemetry.downstream(request.server, "resources/read"):
            read = await self._connections.read_resource(request)
        return _small_enough(f"resource `{request.uri}`", read, self._largest)


def _outcome(result: DownstreamResult) -> str:
    if result.asks:
        return "input_required"
    return "tool_error" if result.is_error else COMPLETED


def _with_whole_key(call: CallDownstreamTool) -> CallDownstreamTool:
    """With a key that no call of another run has: what is stored names it within its run."""
    step = current_step()
    if step is None or not call.key:
        return call
    return call.model_copy(update={"key": f"{step.run_id}/{step.engine_run_id}/{call.key}"})


class _Told:
    """What the engine is told with the heartbeats of a call: that it has begun, and how far it is."""

    def __init__(self, call: CallDownstreamTool) -> None:
        self._call = call
        self._step = current_step()
        self._begun: dict[str, Any] = {}

    def begun(self) -> None:
        if self._step is not None and not self._call.repeatable:
            self._begun = {_BEGUN: True}
            self._step.heartbeat(self._begun)

    def progress(self, done: float, total: float | None, message: str | None) -> None:
        if self._step is not None:
            (details,) = progress_details(Progress(done=done, total=total, message=message))
            self._step.heartbeat(self._begun | details)

    def ended(self) -> None:
        """The call has failed by name: another attempt may begin."""
        if self._step is not None and self._begun:
            self._step.heartbeat()


def _check_not_begun(call: CallDownstreamTool) -> None:
    """Refuses to repeat a call that must not be made twice, where an attempt has begun it and was lost with its worker."""
    step = current_step()
    before: Any = step.heartbeat_details[0] if step is not None and step.heartbeat_details else None
    if not call.repeatable and isinstance(before, dict) and _BEGUN in before:
        raise WorkflowApplicationError(
            f"The worker was lost while it called `{call.tool}` of MCP server `{call.server}`. Whether it was carried out is not "
            "known, and it says that it must not be done twice: check first.",
            type="DownstreamOutcomeUnknown",
            non_retryable=True,
        )


def _bounded(call: CallDownstreamTool, result: DownstreamResult, largest: int) -> DownstreamResult:
    size = len(to_json(result))
    return result if size <= largest else _too_large(call, size, largest)


def _too_large(call: CallDownstreamTool, size: int, largest: int) -> DownstreamResult:
    text = (
        f"The result of `{call.tool}` has {size:,} bytes; at most {largest:,} can be used. "
        "Ask for less: a part, a page, a summary."
    )
    return DownstreamResult(content=[TextContent(text=text)], is_error=True)


def _small_enough(what: str, result: M, largest: int) -> M:
    size = len(to_json(result))
    if size > largest:
        text = f"The {what} has {size:,} bytes; at most {largest:,} can be used: ask for another, or for a part."
        raise WorkflowApplicationError(text, type="DownstreamTooLarge", non_retryable=True)
    return result
