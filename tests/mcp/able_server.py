"""A downstream MCP server that can do all there is, in both eras: over stdio as a program, over HTTP inside of a test."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from mcp.server import NotificationOptions, Server, ServerRequestContext
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    BlobResourceContents,
    CallToolRequestParams,
    CallToolResult,
    ContentBlock,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitRequestURLParams,
    EmbeddedResource,
    GetPromptRequestParams,
    GetPromptResult,
    ImageContent,
    InputRequiredResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListRootsRequest,
    ListToolsResult,
    PaginatedRequestParams,
    Prompt,
    PromptArgument,
    PromptMessage,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceLink,
    ResourceTemplate,
    SamplingMessage,
    TextContent,
    TextResourceContents,
    Tool,
    ToolAnnotations,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from mcp_agent.sockets import KEEP_ALIVE_SECONDS

MODERN = "2026-07-28"
FORM = {
    "type": "object",
    "properties": {"size": {"type": "string", "enum": ["small", "large"]}, "count": {"type": "integer", "minimum": 1}},
    "required": ["size"],
}
PIXEL = "iVBORw0KGgo="
Context = ServerRequestContext[Any]
Answer = CallToolResult | InputRequiredResult


def said(text: str, *more: ContentBlock) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text), *more])


class Able(Server[Any]):
    """Tools may be added while it runs; `begun` and `ended` hold the names of calls."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.keys: list[str] = []
        self.gate = asyncio.Event()
        self.tools = {
            "ask": self.ask,
            "ask_twice": self.ask_twice,
            "sign_in": self.sign_in,
            "think": self.think,
            "roots": self.roots,
            "counts": self.counts,
            "grow": self.grow,
            "shows": self.shows,
            "structured": self.structured,
            "leaks": self.leaks,
            "waits": self.waits,
            "again": self.again,
            "burns": self.burns,
            "huge": self.huge,
            "wonders": self.wonders,
        }
        super().__init__(
            "able",
            version="1",
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_list_prompts=self.list_prompts,
            on_get_prompt=self.get_prompt,
            on_list_resources=self.list_resources,
            on_list_resource_templates=self.list_templates,
            on_read_resource=self.read_resource,
            on_subscriptions_listen=ListenHandler(self.bus),
        )

    def create_initialization_options(self, notification_options: Any = None, *args: Any, **options: Any) -> Any:
        """Over streamable HTTP, too, old clients are to be told of changes."""
        return super().create_initialization_options(
            notification_options or NotificationOptions(True, True, True), *args, **options
        )

    async def list_tools(self, _: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[self.tool(name) for name in self.tools])

    def tool(self, name: str) -> Tool:
        schema = {"type": "object", "properties": {"total": {"type": "integer"}}} if name == "structured" else None
        hints = ToolAnnotations(destructive_hint=True) if name == "burns" else None
        return Tool(name=name, input_schema={"type": "object"}, output_schema=schema, annotations=hints)

    async def call_tool(self, context: Context, params: CallToolRequestParams) -> Answer:
        tool = self.tools.get(params.name)
        if tool is None:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name}")
        self.begun.append(params.name)
        self.keys.append((context.meta or {}).get("mcp-agent/idempotencyKey", ""))
        try:
            return await tool(context, params)
        finally:
            self.ended.append(params.name)

    async def ask(self, context: Context, params: CallToolRequestParams) -> Answer:
        if context.protocol_version != MODERN:
            answer = await context.session.elicit_form("Which size?", FORM, related_request_id=context.request_id)
        elif not params.input_responses:
            form = ElicitRequestFormParams(message="Which size?", requested_schema=FORM)
            return InputRequiredResult(input_requests={"size": ElicitRequest(params=form)}, request_state="half-way")
        else:
            assert params.request_state == "half-way"
            answer = params.input_responses["size"]
        return said(f"{answer.action} {answer.content}")

    async def ask_twice(self, context: Context, params: CallToolRequestParams) -> Answer:
        if context.protocol_version != MODERN:
            first = await context.session.elicit_form("First?", FORM, related_request_id=context.request_id)
            second = await context.session.elicit_form("Second?", FORM, related_request_id=context.request_id)
            return said(f"{first.content} {second.content}")
        if params.request_state == "2":
            return said(str(params.input_responses["second"].content))
        key, state = ("second", "2") if params.input_responses else ("first", "1")
        form = ElicitRequestFormParams(message=f"{key.title()}?", requested_schema=FORM)
        return InputRequiredResult(input_requests={key: ElicitRequest(params=form)}, request_state=state)

    async def sign_in(self, context: Context, params: CallToolRequestParams) -> Answer:
        url = "https://login.example/form"
        if context.protocol_version != MODERN:
            answer = await context.session.elicit_url("Sign in.", url, "el-1", related_request_id=context.request_id)
        elif not params.input_responses:
            asked = ElicitRequest(params=ElicitRequestURLParams(message="Sign in.", url=url))
            return InputRequiredResult(input_requests={"url": asked})
        else:
            answer = params.input_responses["url"]
        return said(answer.action)

    async def think(self, context: Context, params: CallToolRequestParams) -> Answer:
        messages = [SamplingMessage(role="user", content=TextContent(text="A word?"))]
        if context.protocol_version != MODERN:
            answer = await context.session.create_message(messages, max_tokens=10, related_request_id=context.request_id)
        elif not params.input_responses:
            asked = CreateMessageRequest(params=CreateMessageRequestParams(messages=messages, max_tokens=10))
            return InputRequiredResult(input_requests={"word": asked, "roots": ListRootsRequest()})
        else:
            assert params.input_responses["roots"].roots is not None
            answer = params.input_responses["word"]
        return said(answer.content.text)

    async def roots(self, context: Context, params: CallToolRequestParams) -> Answer:
        if context.protocol_version != MODERN:
            answer = await context.session.list_roots()
        elif not params.input_responses:
            return InputRequiredResult(input_requests={"roots": ListRootsRequest()})
        else:
            answer = params.input_responses["roots"]
        return said(" ".join(str(root.uri) for root in answer.roots))

    async def counts(self, context: Context, _: CallToolRequestParams) -> Answer:
        await context.session.report_progress(1, 3, "one of three")
        await self.gate.wait()
        return said("counted")

    async def grow(self, context: Context, _: CallToolRequestParams) -> Answer:
        self.tools["grown"] = self.again
        await self.bus.publish(ToolsListChanged())
        await context.session.send_tool_list_changed()
        return said("grown")

    async def shows(self, _: Context, __: CallToolRequestParams) -> Answer:
        text = TextResourceContents(uri="able://text", mime_type="text/plain", text="inside")
        return said(
            "here",
            ImageContent(data=PIXEL, mime_type="image/png"),
            ResourceLink(uri="able://big", name="big", description="A large thing."),
            EmbeddedResource(resource=text),
        )

    async def structured(self, _: Context, params: CallToolRequestParams) -> Answer:
        return CallToolResult(content=[], structured_content=params.arguments)

    async def leaks(self, _: Context, params: CallToolRequestParams) -> Answer:
        text = f"my key is {os.environ['ABLE_TOKEN']}"
        if (params.arguments or {}).get("refuse"):
            raise MCPError(INVALID_PARAMS, text)
        return said(text)

    async def waits(self, _: Context, __: CallToolRequestParams) -> Answer:
        await self.gate.wait()
        return said("waited")

    async def again(self, _: Context, params: CallToolRequestParams) -> Answer:
        if params.request_state is None:
            return InputRequiredResult(request_state="once more")
        return said(params.request_state)

    async def huge(self, _: Context, __: CallToolRequestParams) -> Answer:
        return said("x" * 10_000_000)

    async def wonders(self, _: Context, __: CallToolRequestParams) -> Answer:
        messages = [SamplingMessage(role="user", content=TextContent(text="Why?"))]
        asked = CreateMessageRequest(params=CreateMessageRequestParams(messages=messages, max_tokens=10))
        return InputRequiredResult(input_requests={"why": asked}, request_state="and why")

    async def burns(self, _: Context, __: CallToolRequestParams) -> Answer:
        os._exit(1)

    async def list_prompts(self, _: Context, __: PaginatedRequestParams | None) -> ListPromptsResult:
        argument = PromptArgument(name="topic", description="About what.", required=True)
        return ListPromptsResult(prompts=[Prompt(name="brief", title="Brief", description="Briefs.", arguments=[argument])])

    async def get_prompt(self, _: Context, params: GetPromptRequestParams) -> GetPromptResult:
        text = TextContent(text=f"Brief me on {(params.arguments or {})['topic']}.")
        return GetPromptResult(description="A brief.", messages=[PromptMessage(role="user", content=text)])

    async def list_resources(self, _: Context, __: PaginatedRequestParams | None) -> ListResourcesResult:
        text = Resource(uri="able://text", name="text", mime_type="text/plain", size=6)
        return ListResourcesResult(resources=[text])

    async def list_templates(self, _: Context, __: PaginatedRequestParams | None) -> ListResourceTemplatesResult:
        return ListResourceTemplatesResult(resource_templates=[ResourceTemplate(uri_template="able://{name}", name="any")])

    async def read_resource(self, _: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        uri = str(params.uri)
        match uri:
            case "able://text":
                return ReadResourceResult(contents=[TextResourceContents(uri=uri, text="inside")])
            case "able://bytes":
                return ReadResourceResult(contents=[BlobResourceContents(uri=uri, blob=PIXEL, mime_type="image/png")])
            case "able://big":
                return ReadResourceResult(contents=[TextResourceContents(uri=uri, text="x" * 300_000)])
            case _:
                raise MCPError(INVALID_PARAMS, f"Unknown resource: {uri}")

    def sse_app(self) -> Starlette:
        transport = SseServerTransport("/messages/")

        async def connect(request: Request) -> Response:
            async with transport.connect_sse(request.scope, request.receive, request._send) as (read, write):
                await self.run(read, write, self.create_initialization_options())
            return Response()

        routes = [Route("/sse", connect, methods=["GET"]), Mount("/messages/", app=transport.handle_post_message)]
        return Starlette(routes=routes)


@asynccontextmanager
async def serving(app: Any) -> AsyncGenerator[str, None]:
    """The address of an ASGI app that is served on a free port, in this process."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1, timeout_keep_alive=KEEP_ALIVE_SECONDS
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    started = asyncio.Event()
    startup = server.startup

    async def noticed(*args: Any, **options: Any) -> None:
        await startup(*args, **options)
        started.set()

    server.startup = noticed  # type: ignore[method-assign]
    task = asyncio.create_task(server._serve())
    await started.wait()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


async def main() -> None:
    server = Able()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(main())
