"""What is asked of one downstream server, over its one connection."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from mcp import MCPError
from mcp.client import Client
from mcp_types import (
    HEADER_MISMATCH,
    CallToolResult,
    InputRequiredResult,
    InputResponses,
    ListRootsRequest,
    Prompt,
    Resource,
    ResourceTemplate,
    Tool,
)
from pydantic import BaseModel, TypeAdapter
from pydantic_core import to_json

from mcp_agent.config import MCPServerSettings
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.problems import did_you_mean
from mcp_agent.mcp.callbacks import Callbacks
from mcp_agent.mcp.catalogue import version_of
from mcp_agent.mcp.connection import Connection, Link
from mcp_agent.mcp.connections import CallListener
from mcp_agent.mcp.definitions import (
    AnswerDownstreamRequest,
    CallDownstreamTool,
    DownstreamContents,
    DownstreamPrompt,
    DownstreamPromptArgument,
    DownstreamPromptResult,
    DownstreamRequest,
    DownstreamResource,
    DownstreamResult,
    DownstreamTool,
    GetDownstreamPrompt,
    ReadDownstreamResource,
)
from mcp_agent.mcp.masking import masking_of
from mcp_agent.mcp.open_calls import Answer, OpenCall

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

logger = logging.getLogger(__name__)

IDEMPOTENCY_KEY = "mcp-agent/idempotencyKey"
HELD_LONGER = 60.0
"""Seconds for which a call is held open after its question is withdrawn from the person: the refusal has to arrive."""

_RELIST_WITHIN = 5.0
_STATE_PAUSE, _LONGEST_STATE_PAUSE = 0.05, 1.0
_RESPONSES: TypeAdapter[InputResponses] = TypeAdapter(InputResponses)
_PAGES = 1_000


@dataclass(slots=True)
class _Held:
    """A call that waits for an answer, and what ends its waiting."""

    open_call: OpenCall
    lapse: asyncio.TimerHandle


class DownstreamServer:
    """Args:
    name: In the configuration.
    settings: Its section.
    callers: Gives the token of whoever it is for, where that is passed on.
    """

    def __init__(self, name: str, settings: MCPServerSettings, callers: Callable[[], str] | None = None) -> None:
        self._name = name
        self._settings = settings
        self._masking = masking_of(settings)
        self._callbacks = Callbacks(name, settings)
        self._connection = Connection(name, settings, self._masking, self._callbacks, callers)
        self._held: dict[str, _Held] = {}
        self._process = uuid.uuid4().hex[:16]

    @property
    def resting(self) -> bool:
        """Whether nothing would be lost with it."""
        return self._connection.resting and not self._held

    async def list_tools(self) -> list[DownstreamTool]:
        return await self._use("tools/list", self._list_tools)

    async def _list_tools(self, link: Link, client: Client) -> list[DownstreamTool]:
        link.changed = False
        served = await _all_tools(client)
        self._warn_of_missing({tool.name for tool in served})
        tools = [self._tool(tool) for tool in served if self._allows(tool.name)]
        link.catalogue = version_of(tools)
        return [self._masked(tool.model_copy(update={"catalogue": link.catalogue})) for tool in tools]

    def _tool(self, tool: Tool) -> DownstreamTool:
        hints = tool.annotations
        destructive = hints is not None and hints.destructive_hint is True
        harmless = hints is not None and (hints.read_only_hint or hints.idempotent_hint)
        return DownstreamTool(
            server=self._name,
            name=tool.name,
            description=tool.description or "",
            input_schema=tool.input_schema,
            repeatable=bool(harmless) or not destructive,
        )

    def _warn_of_missing(self, served: set[str]) -> None:
        for name in sorted(set(self._settings.allowed_tools or ()) - served):
            hint = did_you_mean(name, served)
            logger.warning("`mcp.servers.%s.allowed_tools` names `%s`, which the server has not. %s", self._name, name, hint)

    def _allows(self, tool: str) -> bool:
        allowed = self._settings.allowed_tools
        return allowed is None or tool in allowed

    async def call_tool(self, call: CallDownstreamTool, run_id: str, listener: CallListener | None) -> DownstreamResult:
        if not self._allows(call.tool):
            raise WorkflowApplicationError(
                f"`mcp.servers.{self._name}.allowed_tools` does not name `{call.tool}`.",
                type="DownstreamNotAllowed",
                non_retryable=True,
            )
        open_call = OpenCall(run_id, lambda opened: self._make(call, opened))
        self._callbacks.calls.append(open_call)
        open_call.task.add_done_callback(lambda _: self._callbacks.calls.remove(open_call))
        return await self._turn(call, open_call, listener, f"{self._process}.{uuid.uuid4().hex[:16]}")

    async def answer_request(self, answer: AnswerDownstreamRequest, listener: CallListener | None) -> DownstreamResult:
        held = self._held.pop(answer.ticket, None)
        if held is None:
            raise self._lost(answer)
        held.lapse.cancel()
        open_call = held.open_call
        if answer.give_up:
            await open_call.end()
            return DownstreamResult(is_error=True)
        open_call.answer(answer.responses)
        try:
            return await self._turn(answer.call, open_call, listener, answer.ticket)
        except WorkflowApplicationError as error:
            error.non_retryable = True  # only the call can be made again, not its second half
            raise

    def _lost(self, answer: AnswerDownstreamRequest) -> WorkflowApplicationError:
        what = f"The call of `{answer.call.tool}` that MCP server `{self._name}` has asked something about"
        if answer.ticket.partition(".")[0] == self._process:
            return WorkflowApplicationError(
                f"{what} is not open any more: call it again.", type="DownstreamAskLost", non_retryable=True
            )
        return WorkflowApplicationError(f"{what} was made by another process.", type="DownstreamAskElsewhere")

    async def _turn(
        self, call: CallDownstreamTool, open_call: OpenCall, listener: CallListener | None, ticket: str
    ) -> DownstreamResult:
        limit = self._settings.call_timeout_seconds
        open_call.listener = listener
        try:
            answer = await open_call.turn(limit)
        except TimeoutError:
            text = f"tool `{call.tool}` of MCP server `{self._name}` took longer than {limit:g} s. It was told to stop."
            raise WorkflowApplicationError(text, type="DownstreamTimeout", non_retryable=True) from None
        finally:
            open_call.listener = None
        if answer is None:
            self._hold(ticket, open_call)
            wait = self._settings.ask_timeout_seconds
            return self._masked(DownstreamResult(asks=open_call.questions(), ticket=ticket, wait_seconds=wait))
        if isinstance(answer, InputRequiredResult):
            return self._masked(self._asking(answer))
        result = DownstreamResult(
            content=list(answer.content),
            # Servers send structured content as text too; it is kept only where there is nothing else.
            structured_content=None if answer.content else answer.structured_content,
            is_error=bool(answer.is_error),
            tools_changed=await self._tools_changed(call.catalogue),
        )
        return self._masked(result)

    def _hold(self, ticket: str, open_call: OpenCall) -> None:
        """Keeps a call open until it is answered or its time is over; one that ends by itself keeps its result."""

        def lapse() -> None:
            del self._held[ticket]
            open_call.task.cancel()

        time = self._settings.ask_timeout_seconds + HELD_LONGER
        self._held[ticket] = _Held(open_call, asyncio.get_running_loop().call_later(time, lapse))
        open_call.task.add_done_callback(self._heard)

    def _heard(self, task: asyncio.Task[Answer]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.info("a call of MCP server `%s` that was held open broke off: %s", self._name, error)

    def _asking(self, answer: InputRequiredResult) -> DownstreamResult:
        requests = answer.input_requests or {}
        asks = [
            DownstreamRequest(
                key=key,
                kind="elicitation" if request.method == "elicitation/create" else "sampling",
                params=request.params.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"meta"}),
            )
            for key, request in requests.items()
            if not isinstance(request, ListRootsRequest)
        ]
        return DownstreamResult(asks=asks, answered=self._roots_for(answer), state=answer.request_state)

    def _roots_for(self, answer: InputRequiredResult) -> dict[str, Any]:
        roots = self._callbacks.roots().model_dump(mode="json", by_alias=True, exclude_none=True)
        return {key: roots for key, request in (answer.input_requests or {}).items() if isinstance(request, ListRootsRequest)}

    async def _make(self, call: CallDownstreamTool, opened: OpenCall) -> Answer:
        async def progressed(done: float, total: float | None, message: str | None) -> None:
            if opened.listener is not None:
                opened.listener.progress(done, total, None if message is None else self._masking.text(message))

        async def operation(_: Link, client: Client) -> Answer:
            opened.begin()
            return await self._rounds(client, call, progressed)

        return await self._connection.use(f"tool `{call.tool}`", operation, repeatable=call.repeatable)

    async def _rounds(self, client: Client, call: CallDownstreamTool, progressed: Any) -> Answer:
        """Calls until there is a result, or something that only the run can answer."""
        responses, state, pause = call.responses, call.state, _STATE_PAUSE
        while True:
            answer = await self._send(client, call, responses, state, progressed)
            if isinstance(answer, CallToolResult):
                return answer
            responses, state = self._roots_for(answer), answer.request_state
            if len(responses) < len(answer.input_requests or {}):
                return answer
            if not responses:  # it is to be asked again, no more
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_STATE_PAUSE)

    async def _send(
        self, client: Client, call: CallDownstreamTool, responses: dict[str, Any] | None, state: str | None, progressed: Any
    ) -> Answer:
        async def send() -> Answer:
            return await client.session.call_tool(
                call.tool,
                call.arguments,
                progress_callback=progressed,
                input_responses=_RESPONSES.validate_python(responses) if responses else None,
                request_state=state,
                meta={IDEMPOTENCY_KEY: call.key} if call.key else None,  # pyright: ignore[reportArgumentType]
                allow_input_required=True,
            )

        try:
            return await send()
        except MCPError as error:
            if error.code != HEADER_MISMATCH:
                raise
            await _all_tools(client)  # the SDK learns from the list which arguments go into headers
            return await send()

    async def _tools_changed(self, catalogue: str) -> bool:
        """Whether the tools are others than those of `catalogue`; asks the server only if it said so, or is a new one."""
        if not catalogue:
            return False
        try:
            async with asyncio.timeout(_RELIST_WITHIN):
                return await self._connection.use("tools/list", lambda link, client: self._compare(link, client, catalogue))
        except (WorkflowApplicationError, TimeoutError) as error:  # the call has succeeded all the same
            logger.warning("MCP server `%s` cannot be asked whether its tools have changed: %s", self._name, error)
            return False

    async def _compare(self, link: Link, client: Client, catalogue: str) -> bool:
        if link.changed or link.catalogue is None:
            before, link.catalogue = link.catalogue, catalogue  # asked once, whatever comes of it
            await self._list_tools(link, client)
            logger.debug("tools of MCP server `%s`: %s, now %s", self._name, before, link.catalogue)
        return link.catalogue != catalogue

    async def list_prompts(self) -> list[DownstreamPrompt]:
        async def listed(_: Link, client: Client) -> list[DownstreamPrompt]:
            if client.server_capabilities.prompts is None:
                return []
            return [self._masked(self._prompt(prompt)) for prompt in await _all_prompts(client)]

        return await self._use("prompts/list", listed)

    def _prompt(self, prompt: Prompt) -> DownstreamPrompt:
        arguments = [
            DownstreamPromptArgument(name=each.name, description=each.description or "", required=bool(each.required))
            for each in prompt.arguments or []
        ]
        return DownstreamPrompt(
            server=self._name,
            name=prompt.name,
            title=prompt.title,
            description=prompt.description or "",
            arguments=arguments,
        )

    async def get_prompt(self, request: GetDownstreamPrompt) -> DownstreamPromptResult:
        async def got(_: Link, client: Client) -> DownstreamPromptResult:
            answer = await client.get_prompt(request.prompt, request.arguments)
            return DownstreamPromptResult(description=answer.description or "", messages=list(answer.messages))

        return self._masked(await self._use(f"prompt `{request.prompt}`", got))

    async def list_resources(self) -> list[DownstreamResource]:
        async def listed(_: Link, client: Client) -> list[DownstreamResource]:
            if client.server_capabilities.resources is None:
                return []
            resources = [self._resource(each) for each in await _all_resources(client)]
            templates = [self._template(each) for each in await _all_templates(client)]
            return [self._masked(each) for each in resources + templates]

        return await self._use("resources/list", listed)

    def _resource(self, resource: Resource) -> DownstreamResource:
        return DownstreamResource(
            server=self._name,
            uri=str(resource.uri),
            name=resource.name,
            title=resource.title,
            description=resource.description or "",
            mime_type=resource.mime_type,
            size=resource.size,
        )

    def _template(self, template: ResourceTemplate) -> DownstreamResource:
        return DownstreamResource(
            server=self._name,
            uri=template.uri_template,
            name=template.name,
            title=template.title,
            description=template.description or "",
            mime_type=template.mime_type,
            template=True,
        )

    async def read_resource(self, request: ReadDownstreamResource) -> DownstreamContents:
        async def read(_: Link, client: Client) -> DownstreamContents:
            return DownstreamContents(contents=list((await client.read_resource(request.uri, cache_mode="bypass")).contents))

        return self._masked(await self._use(f"resource `{request.uri}`", read))

    async def _use(self, what: str, operation: Callable[[Link, Client], Awaitable[T]]) -> T:
        """One operation that may be repeated, within its deadline."""
        limit = self._settings.call_timeout_seconds

        async def within(link: Link, client: Client) -> T:
            clock = asyncio.timeout(limit)
            try:
                async with clock:
                    return await operation(link, client)
            except TimeoutError:
                if not clock.expired():
                    raise
            text = f"{what} of MCP server `{self._name}` took longer than {limit:g} s."
            raise WorkflowApplicationError(text, type="DownstreamTimeout")

        return await self._connection.use(what, within)

    def _masked(self, result: M) -> M:
        """The result without the server's own secrets."""
        if not self._masking.hides(to_json(result)):
            return result
        return type(result).model_validate(self._masking.data(result.model_dump(mode="json")))

    async def aclose(self) -> None:
        """Ends the calls that are held open, and the connection."""
        held, self._held = self._held, {}
        for each in held.values():
            each.lapse.cancel()
        await asyncio.gather(*(each.open_call.end() for each in held.values()))
        await self._connection.close()


async def _all_tools(client: Client) -> list[Tool]:
    return await _all_pages(lambda cursor: client.list_tools(cursor=cursor), lambda page: page.tools)


async def _all_prompts(client: Client) -> list[Prompt]:
    return await _all_pages(lambda cursor: client.list_prompts(cursor=cursor), lambda page: page.prompts)


async def _all_resources(client: Client) -> list[Resource]:
    return await _all_pages(lambda cursor: client.list_resources(cursor=cursor), lambda page: page.resources)


async def _all_templates(client: Client) -> list[ResourceTemplate]:
    return await _all_pages(lambda cursor: client.list_resource_templates(cursor=cursor), lambda page: page.resource_templates)


async def _all_pages(page_at: Callable[[str | None], Awaitable[Any]], items: Callable[[Any], list[T]]) -> list[T]:
    """The items of all pages. Raises RuntimeError for a list that does not end."""
    found: list[T] = []
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await page_at(cursor)
        found += items(page)
        cursor = page.next_cursor
        if cursor is None:
            return found
    raise RuntimeError(f"its list has more than {_PAGES} pages")
