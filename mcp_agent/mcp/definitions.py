"""What travels between a run and the steps that talk to downstream MCP servers. Stored in histories: add, never rename."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mcp_types import BlobResourceContents, ContentBlock, PromptMessage, TextResourceContents
from pydantic import (
    BaseModel,
    ConfigDict,
    PlainSerializer,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    field_serializer,
    model_serializer,
)

from mcp_agent.workflows.llm.messages import wire_form, without_defaults

MCP_LIST_TOOLS = "mcp_agent.mcp.list_tools"
MCP_CALL_TOOL = "mcp_agent.mcp.call_tool"
MCP_ANSWER_REQUEST = "mcp_agent.mcp.answer_request"
MCP_LIST_PROMPTS = "mcp_agent.mcp.list_prompts"
MCP_GET_PROMPT = "mcp_agent.mcp.get_prompt"
MCP_LIST_RESOURCES = "mcp_agent.mcp.list_resources"
MCP_READ_RESOURCE = "mcp_agent.mcp.read_resource"

RESULT_LIMIT = 256 * 1024
"""The largest result, in bytes of JSON, that is given to a model and stored with a run."""


class _Stored(BaseModel):
    """Fields that hold their default are left out when stored."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_defaults(self, handler(self))


class DownstreamTool(_Stored):
    """A tool of a downstream server, under the server's own name for it.

    Attributes:
        catalogue: Stands for the list of tools that this one is from; another list has another.
        repeatable: Whether a call that broke off may be made again: no for a tool that says it is destructive.
    """

    server: str
    name: str
    description: str = ""
    input_schema: dict[str, Any] = {"type": "object", "properties": {}}
    catalogue: str = ""
    repeatable: bool = True


class CallDownstreamTool(_Stored):
    """The argument of `mcp_agent.mcp.call_tool`.

    Attributes:
        key: The same for all attempts at this call. Servers see it, with the ids of the run before it, as
            `_meta["mcp-agent/idempotencyKey"]`.
        catalogue: Of the tool, as it was listed.
        repeatable: Of the tool.
        responses: To what the server asked for, by key, when the call is continued.
        state: What the server gave with its questions, unread.
    """

    server: str
    tool: str
    arguments: dict[str, Any] = {}
    key: str = ""
    catalogue: str = ""
    repeatable: bool = True
    responses: dict[str, Any] | None = None
    state: str | None = None


class DownstreamRequest(_Stored):
    """What a server asks for before it goes on with a call.

    Attributes:
        key: The server's own name for it, or one of this package.
        params: Of `elicitation/create` or `sampling/createMessage`, as they were sent.
    """

    key: str
    kind: Literal["elicitation", "sampling"]
    params: dict[str, Any] = {}


class DownstreamResult(_Stored):
    """What the tool answered, as it was answered; or, with `asks`, what its server wants to know first.

    Attributes:
        asks: Questions. The call goes on with their answers.
        answered: Responses that needed nobody; they are given back with the others.
        state: Of a server that keeps nothing between the two halves of a call: given back with the responses.
        ticket: Of a call that is held open meanwhile: to be answered with `mcp_agent.mcp.answer_request`.
        wait_seconds: How long it is held open.
        tools_changed: The server has other tools now than those that this one was listed with.
    """

    content: list[SerializeAsAny[ContentBlock]] = []
    structured_content: Any = None
    is_error: bool = False
    asks: list[DownstreamRequest] = []
    answered: dict[str, Any] = {}
    state: str | None = None
    ticket: str | None = None
    wait_seconds: float | None = None
    tools_changed: bool = False

    @field_serializer("content")
    def _wire_form(self, content: list[ContentBlock]) -> list[dict[str, Any]]:
        return [wire_form(block) for block in content]


class AnswerDownstreamRequest(_Stored):
    """The argument of `mcp_agent.mcp.answer_request`.

    Attributes:
        call: The call that is held open.
        responses: By the keys of its questions; `None` for one that is refused.
        give_up: Ends the call instead.
    """

    call: CallDownstreamTool
    ticket: str
    responses: dict[str, Any] = {}
    give_up: bool = False


class DownstreamPromptArgument(_Stored):
    """What a prompt may be filled in with."""

    name: str
    description: str = ""
    required: bool = False


class DownstreamPrompt(_Stored):
    """A prompt of a downstream server."""

    server: str
    name: str
    title: str | None = None
    description: str = ""
    arguments: list[DownstreamPromptArgument] = []


class GetDownstreamPrompt(_Stored):
    """The argument of `mcp_agent.mcp.get_prompt`."""

    server: str
    prompt: str
    arguments: dict[str, str] = {}


class DownstreamPromptResult(_Stored):
    """A prompt that is filled in."""

    description: str = ""
    messages: list[Annotated[PromptMessage, PlainSerializer(wire_form)]] = []


class DownstreamResource(_Stored):
    """A resource of a downstream server, or with `template` a family of them.

    Attributes:
        uri: Of a family a URI template (RFC 6570).
        size: In bytes, where the server says it.
    """

    server: str
    uri: str
    name: str
    title: str | None = None
    description: str = ""
    mime_type: str | None = None
    size: int | None = None
    template: bool = False


class ReadDownstreamResource(_Stored):
    """The argument of `mcp_agent.mcp.read_resource`."""

    server: str
    uri: str


Contents = Annotated[TextResourceContents | BlobResourceContents, PlainSerializer(wire_form)]


class DownstreamContents(_Stored):
    """What a resource holds: texts, and bytes in base64."""

    contents: list[Contents] = []
