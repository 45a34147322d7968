"""The one message model: what a conversation is, and what travels between a run and the model call.

Everything here is pure data and is stored in histories: fields may be added (with a default), never renamed, and the
hashes must stay what they are. Fields that hold their default are left out when stored.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal, TypeAlias

from mcp_types import (
    AudioContent,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ModelPreferences,
    ResourceLink,
    TextContent,
    ToolResultContent,
    ToolUseContent,
)
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    SerializerFunctionWrapHandler,
    field_serializer,
    model_serializer,
)
from pydantic.fields import FieldInfo

LLM_GENERATE = "mcp_agent.llm.generate"
"""The name of the step that asks a model. Persisted: never change it."""

INVALID_INPUT = "mcp-agent/invalid-input"
"""The `_meta` key of a tool call whose arguments the model wrote wrongly; see `invalid_input`."""

RECORDED = "mcp-agent/recorded"
"""The `_meta` key of a tool result that the run's history holds already; see `recorded`."""
LONGEST_TOOL_NAME = 64
RECORDED_FROM = 1_000
"""A result with fewer bytes of JSON is told twice rather than looked up."""

Block: TypeAlias = Annotated[
    TextContent | ImageContent | AudioContent | ResourceLink | EmbeddedResource | ToolUseContent | ToolResultContent,
    Field(discriminator="type"),
]
"""A part of a message: MCP's content blocks."""

StopReason = Literal["end_turn", "tool_use", "max_tokens", "stop_sequence", "refusal", "content_filter", "empty", "unknown"]
"""Why the model stopped.

`max_tokens`, `refusal` and `content_filter`: the answer is not what was asked for; its tool calls may be cut off.
`empty`: it ended its turn without a word and without a tool call. `unknown`: for a reason this version does not know.
"""


def without_defaults(model: BaseModel, dumped: dict[str, Any]) -> dict[str, Any]:
    """A model's fields as they were dumped, but for those that hold their default."""
    fields = type(model).model_fields
    return {name: value for name, value in dumped.items() if getattr(model, name) != _default(fields[name])}


def _default(field: FieldInfo) -> Any:
    """To compare with, and not to keep: `get_default` alone would copy it."""
    return field.default if field.default_factory is None else field.get_default(call_default_factory=True)


def wire_form(model: BaseModel) -> dict[str, Any]:
    """One of MCP's types as it travels: JSON data, under the protocol's names, without what is not said."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


class _Compact(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True)

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_defaults(self, handler(self))


class Message(_Compact):
    """One turn of a conversation. Tool results are blocks of a user message.

    Attributes:
        role: Who speaks.
        content: What is said, in order.
        provider_data: What a provider needs back unchanged (reasoning, signatures), under the name of its API.
    """

    role: Literal["user", "assistant"]
    content: list[Block] = []
    provider_data: dict[str, Any] | None = None

    @field_serializer("content")
    def _wire_form(self, content: list[Block]) -> list[dict[str, Any]]:
        return [wire_form(block) for block in content]

    @classmethod
    def user(cls, content: str | Sequence[Block]) -> Message:
        return cls(role="user", content=_blocks(content))

    @classmethod
    def assistant(cls, content: str | Sequence[Block], provider_data: dict[str, Any] | None = None) -> Message:
        return cls(role="assistant", content=_blocks(content), provider_data=provider_data)

    @property
    def text(self) -> str:
        """Its text blocks, joined."""
        return text_of(self.content)

    @property
    def tool_uses(self) -> list[ToolUseContent]:
        """The tool calls it asks for, in order."""
        return [block for block in self.content if isinstance(block, ToolUseContent)]


def _blocks(content: str | Sequence[Block]) -> list[Block]:
    return [TextContent(text=content)] if isinstance(content, str) else list(content)


def text_of(blocks: Iterable[object]) -> str:
    """The text blocks among `blocks`, joined by line breaks."""
    return "\n".join(block.text for block in blocks if isinstance(block, TextContent))


class InvalidInput(_Compact):
    """Arguments of a tool call that are not a JSON object.

    Attributes:
        raw: What the model wrote.
        error: What is wrong with it, with its beginning: a phrase, without a full stop.
    """

    raw: str
    error: str


def tool_name(name: str) -> str:
    """The name in a call, such that every provider takes it back: models make up names that no tool can have."""
    return re.sub(r"[^A-Za-z0-9_.:-]", "_", name)[:LONGEST_TOOL_NAME] or "unnamed"


def tool_use(call_id: str, name: str, arguments: dict[str, Any] | InvalidInput) -> ToolUseContent:
    """A tool call. With an `InvalidInput` it has an empty input and must not be carried out (see `invalid_input`)."""
    name = tool_name(name)
    if isinstance(arguments, InvalidInput):
        return ToolUseContent(id=call_id, name=name, input={}, _meta={INVALID_INPUT: arguments.model_dump()})
    return ToolUseContent(id=call_id, name=name, input=arguments)


def tool_error(call: ToolUseContent, text: str) -> ToolResultContent:
    """A failed call as the model reads it: it can try something else, and the run goes on."""
    return ToolResultContent(tool_use_id=call.id, content=[TextContent(text=text)], is_error=True)


def invalid_input(call: ToolUseContent) -> InvalidInput | None:
    """What is wrong with the call's arguments, or `None`.

    Such a call is not carried out: its `error` is given to the model as the result of the call.
    """
    found = (call.meta or {}).get(INVALID_INPUT)
    return None if found is None else InvalidInput.model_validate(found)


def result_digest(content: Sequence[Block | ContentBlock]) -> str | None:
    """The name of a step's result in the record of its run; `None` for one that is too small to need one."""
    wire = [wire_form(block) for block in content]
    text = _canonical(wire)
    return _name_of(text) if len(text) >= RECORDED_FROM else None


def recorded(call: ToolUseContent, content: list[ContentBlock], *, is_error: bool) -> ToolResultContent:
    """The result of a tool call that was a step, as the step gave it: a model call need not carry it again."""
    digest = result_digest(content)
    meta: dict[str, Any] | None = None if digest is None else {RECORDED: digest}
    return ToolResultContent(tool_use_id=call.id, content=content, is_error=is_error or None, _meta=meta)


class RecordedResult(BaseModel):
    """What any step that carries out a tool call gives, as far as a model reads it."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    content: list[ContentBlock] = []


class _RecordedTool(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True)

    description: str = ""
    input_schema: dict[str, Any] = {"type": "object", "properties": {}}


class RecordedListing(RootModel[list[_RecordedTool]]):
    """What the step that lists tools gives, as far as a model reads it."""


def record_of(block: Block) -> str | None:
    """The digest under which the run's history holds what the block says."""
    return (block.meta or {}).get(RECORDED) if isinstance(block, ToolResultContent) else None


def referring(message: Message) -> Message:
    """The message as a model call carries it: what is recorded is named, and not said again."""
    return _with_results(message, lambda block: block.model_copy(update={"content": []}))


def said_in_words(message: Message) -> Message:
    """The message with words for what its tool results hold beside text, for a model that cannot take that."""

    def words(block: ContentBlock) -> ContentBlock:
        if isinstance(block, TextContent):
            return block
        kind = getattr(block, "mime_type", None) or block.type
        return TextContent(text=f"(The tool gave `{kind}`, which this model cannot be shown.)")

    def told(block: Block) -> Block:
        if not isinstance(block, ToolResultContent) or all(isinstance(one, TextContent) for one in block.content):
            return block
        return block.model_copy(update={"content": [words(one) for one in block.content], "meta": None})

    return message.model_copy(update={"content": [told(block) for block in message.content]})


def unrecorded(message: Message) -> Message:
    """The message with all it says, for a run whose history holds none of it."""
    return _with_results(message, lambda block: block.model_copy(update={"meta": None}))


def _with_results(message: Message, change: Callable[[ToolResultContent], ToolResultContent]) -> Message:
    """The message with `change` made to what is recorded of it."""
    if not any(record_of(block) for block in message.content):
        return message
    changed = [change(b) if isinstance(b, ToolResultContent) and record_of(b) else b for b in message.content]
    return message.model_copy(update={"content": changed})


class ToolSpec(_Compact):
    """A tool as the model sees it.

    Attributes:
        input_schema: A JSON schema of type `object`.
        recorded: Instead of description and schema: the digest under which the run's history holds them.
        listed: Whether a step of the run has listed it, so that its history holds both. Not stored.
    """

    name: str
    description: str = ""
    input_schema: dict[str, Any] = {"type": "object", "properties": {}}
    recorded: str | None = None
    listed: bool = Field(default=False, exclude=True)

    @property
    def digest(self) -> str:
        """The name of its description and schema in the record of the step that has listed it."""
        described = {"description": self.description, "input_schema": self.input_schema}
        return _digest(described)


class RequestParams(_Compact):
    """How a model is asked. What is `None` is left to the provider's settings and to the provider.

    Attributes:
        model: The model's name at its provider.
        max_tokens: The longest answer, in tokens.
        temperature: Left out for models that only reason at one temperature (OpenAI's o and gpt-5 series and later).
        top_p: As `temperature`.
        stop_sequences: Texts that end the answer. An error where `openai.api` is `responses`, which has none.
        reasoning_effort: In the provider's own words, such as `low`.
        parallel_tool_calls: Whether one answer may hold several tool calls.
        timeout_seconds: The longest one attempt may take, where it is shorter than the provider's setting.
        provider_options: Goes into the provider's request as it is, such as `{"seed": 1}`.
        metadata: Labels for the provider's own logs, such as `{"team": "billing"}`, where its API has a place for them.
        model_preferences: What matters where no `model` is named: MCP's `ModelPreferences` (hints, cost, speed, intelligence).
        stream: Whether the answer comes piece by piece; by default as the provider's settings say.
        system_prompt: Used instead of the agent's instruction. The agent puts it into the `LLMSetup`.
        max_turns: For the agent: how often the model is asked at most for one answer.
        use_history: For the agent: whether earlier answers are part of the conversation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    model: str | None = None
    max_tokens: int | None = Field(default=None, gt=0)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, ge=0, le=1)
    stop_sequences: list[str] = []
    reasoning_effort: str | None = None
    parallel_tool_calls: bool | None = None
    timeout_seconds: float | None = Field(default=None, gt=0)
    provider_options: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    model_preferences: ModelPreferences | None = None
    stream: bool | None = None
    system_prompt: str | None = None
    max_turns: int | None = Field(default=None, gt=0)
    use_history: bool | None = None

    def over(self, defaults: RequestParams | None) -> RequestParams:
        """These parameters, with `defaults` where they say nothing."""
        if defaults is None:
            return self
        said = {name: getattr(self, name) for name in self.model_fields_set if getattr(self, name) is not None}
        return defaults.model_copy(update=said)

    def for_call(self) -> RequestParams:
        """What one call of the model needs: without what is the agent's own business or part of its setup."""
        return self.model_copy(update={"system_prompt": None, "max_turns": None, "use_history": None})


class LLMSetup(_Compact):
    """What stays the same from call to call: stored once, then named by its hash.

    Attributes:
        instruction: The system prompt.
        tools: What the model may call, in a fixed order.
        response_schema: The JSON schema that the answer's text is to follow.
    """

    instruction: str | None = None
    tools: list[ToolSpec] = []
    response_schema: dict[str, Any] | None = None

    def hash(self) -> str:
        """Its name in requests."""
        return setup_hash(self)

    def referring(self) -> LLMSetup:
        """The setup as a model call carries it: tools that are recorded are named, and not described again."""
        tools = [ToolSpec(name=tool.name, recorded=tool.digest) if tool.listed else tool for tool in self.tools]
        return self.model_copy(update={"tools": tools})


class LLMRequest(_Compact):
    """The argument of the step `mcp_agent.llm.generate`: only what is new.

    Attributes:
        conversation: Whose turns these are; unique in the run. That of the agent's name where it is empty.
        agent: The agent's name, for people and for scripted models.
        provider: `openai`, `azure`, `anthropic`, `google` or `scripted`.
        new: What was said since `parent`.
        setup_hash: The hash of the setup. That of the answer before where it is empty.
        parent: The head of the answer before, in this run's history; `None` for the first call, whose `new` then holds
            the whole conversation (also after continue-as-new).
        setup: The setup itself, the first time it is used in this run's history.
        params: See `RequestParams.for_call`.
    """

    agent: str
    provider: str
    new: list[Message]
    setup_hash: str = ""
    conversation: str = ""
    parent: str | None = None
    setup: LLMSetup | None = None
    params: RequestParams = RequestParams()


class Usage(_Compact):
    """Tokens of one call, or of several added up.

    Attributes:
        input_tokens: All that was read, including what came from a cache.
        output_tokens: All that was written, including reasoning.
        cached_input_tokens: The part of the input that came from the provider's cache.
        cache_write_tokens: The part of the input that was put into the provider's cache.
        reasoning_tokens: The part of the output that was reasoning.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
        )


class LLMResponse(_Compact):
    """The result of the step `mcp_agent.llm.generate`.

    Attributes:
        message: The answer.
        head: The conversation up to and including it; the next request's `parent`.
        stop_reason: Why it ends there.
        usage: What the provider counted.
        model: Who answered, in the provider's words.
        cost_usd: What it cost, in US dollars; `None` where no price is known.
        cost_source: Where the price is from.
    """

    message: Message
    head: str
    stop_reason: StopReason
    usage: Usage = Usage()
    model: str = ""
    cost_usd: float | None = None
    cost_source: str | None = None


def setup_hash(setup: LLMSetup) -> str:
    """The name of a setup: a hash, the same in every process."""
    return _digest(setup.model_dump(mode="json"))


def head_hash(parent: str | None, setup_hash: str, new: Sequence[Message], message: Message) -> str:
    """The name of a conversation: a hash of all that was said, the same in every process."""
    return _digest(
        {
            "parent": parent,
            "setup": setup_hash,
            "new": [one.model_dump(mode="json") for one in new],
            "message": message.model_dump(mode="json"),
        }
    )


def _digest(value: Any) -> str:
    return _name_of(_canonical(value))


def _name_of(text: bytes) -> str:
    """128 bits of its SHA-256, in 22 characters: each call of a conversation stores three of them."""
    return base64.urlsafe_b64encode(hashlib.sha256(text).digest()[:16]).decode().rstrip("=")


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
