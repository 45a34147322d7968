"""Google's Gemini models, through the Gemini API and on Vertex AI.

`to_request` and `from_response` are pure and speak the JSON of `models.generateContent`; `GoogleClient` holds the
connections. That JSON goes through the SDK's HTTP layer as it is: its models would drop fields they do not know.

What Gemini must get back unchanged (thought signatures, thoughts, ids of calls) is kept under `provider_data["google"]`:
`parts` lists the parts of the answer in order, each `{"block": 0, "length": 5, "extra": {...}}` for a block of the message
(for a text, its next so many characters) with the part's other fields, or `{"whole": {...}}`.

The types of errors are Google's own status names: `InvalidArgument`, `FailedPrecondition`, `Unauthenticated`,
`PermissionDenied`, `NotFound`, `ResourceExhausted`, `Internal`, `Unavailable`, `DeadlineExceeded` and so on.

Gemini caches long beginnings by itself and has no marks for them, and it has no switch for parallel tool calls: it is asked
in words to make one at a time.
"""

from __future__ import annotations

import base64
import importlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolResultContent,
    ToolUseContent,
)
from pydantic_core import to_json

from mcp_agent.workflows.llm.messages import (
    Block,
    InvalidInput,
    LLMSetup,
    Message,
    RequestParams,
    StopReason,
    ToolSpec,
    Usage,
    tool_use,
)
from mcp_agent.workflows.llm.providers.base import (
    CallContext,
    ProviderError,
    ProviderReply,
    clean,
    retry_after,
    tool_arguments,
    unique_id,
)
from mcp_agent.workflows.llm.providers.client import ClientSettings, SDKClient
from mcp_agent.workflows.llm.providers.models import ModelTraits, Traits

if TYPE_CHECKING:
    from google.genai import Client

JSON = dict[str, Any]

_NAMESPACE = "google"
_VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
_NEWEST = (99, 0)
_FILTERED: StopReason = "content_filter"
_STOP_REASONS: dict[str, StopReason] = {
    "STOP": "end_turn",
    "MAX_TOKENS": "max_tokens",
    "CONTINUATION": "max_tokens",
    "SAFETY": _FILTERED,
    "RECITATION": _FILTERED,
    "LANGUAGE": _FILTERED,
    "BLOCKLIST": _FILTERED,
    "PROHIBITED_CONTENT": _FILTERED,
    "SPII": _FILTERED,
    "MODEL_ARMOR": _FILTERED,
    "IMAGE_SAFETY": _FILTERED,
    "IMAGE_PROHIBITED_CONTENT": _FILTERED,
    "IMAGE_RECITATION": _FILTERED,
}
_MALFORMED = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE"})
_THINKING_BUDGETS = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24576}
_IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"})
_IN_RESULTS = frozenset({"image/png", "image/jpeg", "image/webp", "application/pdf"})
_SAME_TYPES = {"image/jpg": "image/jpeg", "audio/x-wav": "audio/wav", "audio/wave": "audio/wav"}
_OWN_FILES = ("gs://", "https://generativelanguage.googleapis.com/")
_ONE_CALL = "Call at most one function at a time."
# What Google documents for calls that were not made by Gemini, which have no thought signature.
_NO_SIGNATURE = base64.b64encode(b"skip_thought_signature_validator").decode()


# ── to the provider ──────────────────────────────────────────────────────────────────────────────────────────────────


def to_request(setup: LLMSetup, messages: list[Message], params: RequestParams, model: str, *, vertexai: bool = False) -> JSON:
    """The body of `models.generateContent`; `provider_options` are merged into it.

    Raises:
        ProviderError: Type `UnsupportedContent`: a block that Gemini cannot take. Type `InvalidArgument`: a
            `reasoning_effort` that it does not know.
    """
    version = generation(model)
    request: JSON = {"contents": _contents(messages, version)}
    instruction = _instruction(setup, params, version)
    if instruction:
        request["systemInstruction"] = {"parts": [{"text": text} for text in instruction]}
    if setup.tools:
        request["tools"] = [{"functionDeclarations": [_tool(tool) for tool in setup.tools]}]
    config = _limits(params, version)
    if setup.response_schema is not None and _native_schema(setup, version):
        config |= {"responseMimeType": "application/json", "responseJsonSchema": adapted_schema(setup.response_schema)}
    if config:
        request["generationConfig"] = config
    if params.metadata and vertexai:  # the Gemini API refuses labels
        request["labels"] = params.metadata
    return _merged(request, params.provider_options)


def generation(model: str) -> tuple[int, int]:
    """The version in a model's name, such as `(2, 5)`; the newest for a name without one, `(0, 0)` for other models."""
    name = model.rpartition("/")[2]
    found = _VERSION.match(name)
    if found is None:
        return _NEWEST if name.startswith("gemini-") else (0, 0)
    return int(found[1]), int(found[2] or 0)


def _native_schema(setup: LLMSetup, version: tuple[int, int]) -> bool:
    return not setup.tools or version >= (3, 0)  # before, JSON answers and functions exclude each other


def _instruction(setup: LLMSetup, params: RequestParams, version: tuple[int, int]) -> list[str]:
    texts = [params.system_prompt or setup.instruction or ""]
    if setup.response_schema is not None and not _native_schema(setup, version):
        schema = to_json(setup.response_schema).decode()
        texts.append(f"Give your final answer as nothing but JSON that follows this JSON schema:\n{schema}")
    if setup.tools and params.parallel_tool_calls is False:
        texts.append(_ONE_CALL)
    return [text for text in texts if text]


def _limits(params: RequestParams, version: tuple[int, int]) -> JSON:
    found: JSON = {}
    if params.max_tokens is not None:
        found["maxOutputTokens"] = params.max_tokens
    samples = version < (3, 5) or version == (0, 0)  # later ones refuse these
    if params.temperature is not None and samples:
        found["temperature"] = params.temperature
    if params.top_p is not None and samples:
        found["topP"] = params.top_p
    if params.stop_sequences:
        found["stopSequences"] = params.stop_sequences
    if params.reasoning_effort is not None:
        found["thinkingConfig"] = _thinking(params.reasoning_effort, version)
    return found


def _thinking(effort: str, version: tuple[int, int]) -> JSON:
    if version == (0, 0) or version >= (3, 0):
        return {"thinkingLevel": effort.upper()}
    if effort.lower() in _THINKING_BUDGETS:
        return {"thinkingBudget": _THINKING_BUDGETS[effort.lower()]}
    if effort.isdigit():
        return {"thinkingBudget": int(effort)}
    raise ProviderError(
        f"`reasoning_effort` is `{effort}`: for this model give a number of tokens, or one of"
        f" {', '.join(f'`{name}`' for name in _THINKING_BUDGETS)}.",
        type="InvalidArgument",
        retryable=False,
    )


def _tool(tool: ToolSpec) -> JSON:
    declared: JSON = {"name": tool.name, "description": tool.description or tool.name}
    if tool.input_schema.get("properties") or len(tool.input_schema.keys() - {"type", "properties", "title", "$schema"}):
        declared["parametersJsonSchema"] = adapted_schema(tool.input_schema)
    return declared


def adapted_schema(schema: JSON) -> JSON:
    """The JSON schema in the words that Gemini knows: it takes no `const`, and nothing beside a `$ref`."""
    found: JSON = {name: _adapted(name, value) for name, value in schema.items() if name not in ("$schema", "const")}
    if "const" in schema:
        found["enum"] = [schema["const"]]
    reference = found.pop("$ref", None)
    if reference is None:
        return found
    own = {name: value for name, value in found.items() if name.startswith("$")}
    if len(own) == len(found):
        return {"$ref": reference, **own}
    return {**found, "anyOf": [{"$ref": reference}]}


def _adapted(name: str, value: Any) -> Any:
    if name in ("properties", "$defs", "definitions") and isinstance(value, dict):
        return {key: _schema_or_value(one) for key, one in cast("JSON", value).items()}
    if name in ("enum", "required", "default", "examples"):
        return value
    if isinstance(value, list):
        return [_schema_or_value(one) for one in cast("list[Any]", value)]
    return _schema_or_value(value)


def _schema_or_value(value: Any) -> Any:
    return adapted_schema(cast("JSON", value)) if isinstance(value, dict) else value


def _merged(under: JSON, over: Mapping[str, Any]) -> JSON:
    """Objects are merged and lists joined; anything else is replaced."""
    found = dict(under)
    for name, value in over.items():
        before = found.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            found[name] = _merged(cast("JSON", before), cast("JSON", value))
        elif isinstance(before, list) and isinstance(value, list):
            found[name] = [*cast("list[Any]", before), *cast("list[Any]", value)]
        else:
            found[name] = value
    return found


def _contents(messages: list[Message], version: tuple[int, int]) -> list[JSON]:
    """Every call is answered in the turn after it, in the order of the calls, as the API wants it."""
    found: list[JSON] = []
    called: JSON = {}
    for message in messages:
        if message.role == "assistant":
            found += _content("user", _results(message, called, version))
            parts = _model_parts(message, version)
            found += _content("model", parts)
            made = [part["functionCall"] for part in parts if "functionCall" in part]
            called = {use.id: call for use, call in zip(message.tool_uses, made, strict=True)}
        else:
            parts = [_part(block) for block in message.content if not isinstance(block, ToolResultContent)]
            found += _content("user", _results(message, called, version) + parts)
            called = {}
    return found


def _content(role: str, parts: list[JSON]) -> list[JSON]:
    said = [part for part in parts if part != {"text": ""}]  # the API refuses empty texts and empty contents
    return [{"role": role, "parts": said}] if said else []


def _model_parts(message: Message, version: tuple[int, int]) -> list[JSON]:
    entries = _own_data(message).get("parts")
    parts = _restored(message.content, entries) if entries else [_said(block) for block in message.content]
    if version >= (3, 0) and not any("thoughtSignature" in part for part in parts):
        first = next((part for part in parts if "functionCall" in part), None)
        if first is not None:
            first["thoughtSignature"] = _NO_SIGNATURE
    return parts


def _restored(content: list[Block], entries: list[JSON]) -> list[JSON]:
    parts: list[JSON] = []
    read: dict[int, int] = {}
    for entry in entries:
        if "whole" in entry:
            parts.append(entry["whole"])
            continue
        index: int = entry["block"]
        part = _said(content[index])
        if "length" in entry:
            start = read.get(index, 0)
            read[index] = start + entry["length"]
            part = {"text": part["text"][start : read[index]]}
        parts.append(_merged(part, _dict(entry.get("extra"))))
    return parts


def _results(message: Message, called: JSON, version: tuple[int, int]) -> list[JSON]:
    """The answers to the calls of the turn before; what the API takes no attachments for follows them."""
    given = {block.tool_use_id: block for block in message.content if isinstance(block, ToolResultContent)}
    answers: list[JSON] = []
    following: list[JSON] = []
    for call_id in [*called, *(one for one in given if one not in called)]:
        call = _dict(called.get(call_id)) or {"name": call_id}
        whose: JSON = {name: call[name] for name in ("id", "name") if name in call}
        block = given.get(call_id)
        if block is None:
            answers.append({"functionResponse": {**whose, "response": {"error": "This call was not carried out."}}})
        else:
            answer, apart = _result(block, version)
            answers.append({"functionResponse": {**whose, **answer}})
            following += apart
    return answers + following


def _result(block: ToolResultContent, version: tuple[int, int]) -> tuple[JSON, list[JSON]]:
    parts = [_part(one) for one in block.content]
    texts = [part["text"] for part in parts if "text" in part]
    attached = [part for part in parts if "text" not in part]
    inside = [part for part in attached if version >= (3, 0) and _dict(part.get("inlineData")).get("mimeType") in _IN_RESULTS]
    apart = [part for part in attached if part not in inside]
    if apart:
        texts.append(f"({len(apart)} attachment(s) follow.)")
    said: Any = "\n".join(texts) or "The tool returned nothing."
    if not block.content and block.structured_content is not None:
        said = block.structured_content
    answer: JSON = {"response": {"error" if block.is_error else "output": said}}
    if inside:
        answer["parts"] = inside
    return answer, apart


def _said(block: Block) -> JSON:
    if isinstance(block, ToolUseContent):
        return {"functionCall": {"name": block.name, "args": block.input}}
    return _part(block)


def _part(block: Block) -> JSON:
    match block:
        case TextContent():
            return {"text": block.text}
        case ImageContent() | AudioContent():
            return _inline(block.mime_type, block.data, f"Content of type `{block.mime_type}`")
        case ResourceLink():
            return _link(block)
        case EmbeddedResource():
            return _resource(block.resource)
        case _:
            raise _unsupported(f"A block of type `{block.type}`")


def _link(block: ResourceLink) -> JSON:
    uri = str(block.uri)
    if uri.startswith(_OWN_FILES) and block.mime_type:
        return {"fileData": {"fileUri": uri, "mimeType": block.mime_type}}
    return {"text": " ".join(filter(None, [f"Resource `{uri}`:", block.title or block.name, block.description]))}


def _resource(resource: TextResourceContents | BlobResourceContents) -> JSON:
    if isinstance(resource, TextResourceContents):
        return {"text": f"Resource `{resource.uri}`:\n{resource.text}"}
    kind = resource.mime_type or "application/octet-stream"
    what = f"The resource `{resource.uri}` of type `{kind}`"
    if not kind.startswith("text/"):
        return _inline(kind, resource.blob, what)
    try:
        text = base64.b64decode(resource.blob).decode()
    except ValueError as error:
        raise _unsupported(f"{what}, which is no UTF-8 in base64,") from error
    return {"text": f"Resource `{resource.uri}`:\n{text}"}


def _inline(mime_type: str, data: str, what: str) -> JSON:
    kind = _SAME_TYPES.get(mime_type, mime_type)
    if kind in _IMAGES or kind == "application/pdf" or kind.startswith(("audio/", "video/")):
        return {"inlineData": {"mimeType": kind, "data": data}}
    raise _unsupported(what)


def _unsupported(what: str) -> ProviderError:
    return ProviderError(
        f"{what} cannot be sent to Gemini: give it as text, PDF, audio, video, or a png, jpeg, webp, heic or heif image.",
        type="UnsupportedContent",
        retryable=False,
    )


# ── from the provider ────────────────────────────────────────────────────────────────────────────────────────────────


def from_response(requests: list[list[Any]], model: str, taken: Iterable[str] = ()) -> ProviderReply:
    """The answer to one request, or to several where each goes on from the one before (`continuation`).

    Args:
        requests: For each, the JSON objects of its stream, or the only one of an answer in one piece.
        model: What was asked for, where the answer does not say.
        taken: The ids of the calls so far in the conversation, which Gemini may use again.

    Raises:
        ProviderError: It is not a whole answer.
    """
    answers = [_joined(chunks) for chunks in requests]
    last = answers[-1]
    finish = last.finish
    if finish is None and last.blocked is None:
        raise _incomplete("it has no finish reason, so it was cut off")
    if finish in _MALFORMED:
        raise ProviderError(
            f"The model wrote what cannot be read ({finish}): {str(last.finish_message or 'no details')[:300]}.",
            type=_class_name(finish),
            retryable=True,
        )
    reading = _Reading(set(taken))
    for part in _texts_joined([part for answer in answers for part in answer.parts]):
        reading.add(part)
    stop_reason = _FILTERED if finish is None else _stop_reason(finish, reading.content)
    data = reading.data()
    if finish not in ("STOP", "MAX_TOKENS"):
        data["finish_reason"] = finish or last.blocked
    message = Message.assistant(reading.content, {_NAMESPACE: data} if data else None)
    usage = sum((answer.usage for answer in answers), Usage())
    return ProviderReply(message, stop_reason, usage, last.model or model)


def continuation(chunks: list[Any]) -> str | None:
    """What the next request has to name, where Google has split a long answer; `None` where the answer has ended."""
    last = _joined(chunks)
    return last.token if last.finish == "CONTINUATION" else None


@dataclass
class _Answer:
    parts: list[JSON] = field(default_factory=list[JSON])
    finish: str | None = None
    finish_message: str | None = None
    blocked: str | None = None
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    token: str | None = None

    def add(self, said: JSON) -> None:
        self.model = str(said.get("modelVersion") or self.model)
        self.blocked = _dict(said.get("promptFeedback")).get("blockReason") or self.blocked
        if said.get("usageMetadata"):  # counts all so far
            self.usage = _usage(_dict(said["usageMetadata"]))
        candidate = _candidate(said)
        self.parts += [_dict(part) for part in _list(_dict(candidate.get("content")).get("parts"))]
        self.finish = candidate.get("finishReason") or self.finish
        self.finish_message = candidate.get("finishMessage") or self.finish_message
        self.token = candidate.get("continuationToken") or self.token


def _joined(chunks: list[Any]) -> _Answer:
    answer = _Answer()
    for chunk in chunks:
        one = next(iter(_list(chunk)), chunk)  # without `alt=sse`, errors come in a list
        if not isinstance(one, dict):
            raise _incomplete("it is no JSON object")
        said = cast("JSON", clean(one))
        if "error" in said:
            raise _error_in(_dict(said["error"]))
        answer.add(said)
    return answer


def _candidate(said: JSON) -> JSON:
    """The first one, should several have been asked for; each has its own chunks in a stream."""
    candidates = [_dict(one) for one in _list(said.get("candidates"))]
    return next((one for one in candidates if not one.get("index")), _dict(None))


def _texts_joined(parts: list[JSON]) -> list[JSON]:
    """Pieces of one text become one part; a part with anything else, such as a signature, stays by itself."""
    found: list[JSON] = []
    for part in parts:
        last = found[-1] if found else {}
        if _is_bare_text(part) and _is_bare_text(last) and bool(part.get("thought")) == bool(last.get("thought")):
            found[-1] = {**last, "text": last["text"] + part["text"]}
        else:
            found.append(part)
    return found


def _is_bare_text(part: JSON) -> bool:
    return isinstance(part.get("text"), str) and part.keys() <= {"text", "thought"}


@dataclass
class _Reading:
    """Blocks of a message from the parts of an answer, and what the parts hold beside that."""

    taken: set[str]
    content: list[Block] = field(default_factory=list[Block])
    entries: list[JSON] = field(default_factory=list[JSON])

    def add(self, part: JSON) -> None:
        media = _dict(part.get("inlineData"))
        if isinstance(part.get("functionCall"), dict):
            self._call(_dict(part["functionCall"]), _without(part, "functionCall"))
        elif part.get("thought"):
            self.entries.append({"whole": part})
        elif part.get("text") and isinstance(part["text"], str):
            self._text(part["text"], _without(part, "text"))
        elif str(media.get("mimeType")).startswith(("image/", "audio/")):
            self._media(media, _without(part, "inlineData"))
        elif part != {"text": ""}:
            self.entries.append({"whole": part})

    def data(self) -> JSON:
        """For `provider_data`; empty where the blocks say it all."""
        if all(entry.keys() <= {"block", "length"} for entry in self.entries):
            return {}
        return {"parts": self.entries}

    def _text(self, text: str, extra: JSON) -> None:
        last = self.content[-1] if self.content else None
        if isinstance(last, TextContent):
            self.content[-1] = TextContent(text=last.text + text)
        else:
            self.content.append(TextContent(text=text))
        self._entry({"length": len(text)}, extra)

    def _call(self, call: JSON, extra: JSON) -> None:
        given = call.get("id")
        call_id = unique_id(given if isinstance(given, str) and given else None, self.taken)
        self.taken.add(call_id)
        self.content.append(tool_use(call_id, str(call.get("name") or ""), _arguments(call)))
        kept = {name: value for name, value in call.items() if name not in ("name", "args")}
        self._entry({}, {**extra, "functionCall": kept} if kept else extra)

    def _media(self, media: JSON, extra: JSON) -> None:
        kind, data = str(media["mimeType"]), str(media.get("data") or "")
        made = ImageContent(mime_type=kind, data=data) if kind.startswith("image/") else AudioContent(mime_type=kind, data=data)
        self.content.append(made)
        self._entry({}, extra)

    def _entry(self, what: JSON, extra: JSON) -> None:
        self.entries.append({"block": len(self.content) - 1, **what, **({"extra": extra} if extra else {})})


def _without(part: JSON, name: str) -> JSON:
    return {key: value for key, value in part.items() if key != name}


def _arguments(call: JSON) -> JSON | InvalidInput:
    if call.get("partialArgs") or call.get("willContinue"):
        raw = json.dumps(call.get("partialArgs"))
        return InvalidInput(raw=raw, error="in pieces, which is not supported (`streamFunctionCallArguments`)")
    args = call.get("args")
    return tool_arguments(None if args is None else json.dumps(args))


def _stop_reason(finish: str, content: list[Block]) -> StopReason:
    known = _STOP_REASONS.get(finish, "unknown")
    if known in ("max_tokens", "content_filter"):
        return known
    if any(isinstance(block, ToolUseContent) for block in content):
        return "tool_use"
    return "empty" if known == "end_turn" and not content else known


def _usage(usage: JSON) -> Usage:
    thoughts = _count(usage.get("thoughtsTokenCount"))
    return Usage(
        input_tokens=_count(usage.get("promptTokenCount")) + _count(usage.get("toolUsePromptTokenCount")),
        output_tokens=_count(usage.get("candidatesTokenCount")) + thoughts,
        cached_input_tokens=_count(usage.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
    )


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and value > 0 else 0


def _dict(value: Any) -> JSON:
    return cast("JSON", value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _own_data(message: Message) -> JSON:
    return _dict((message.provider_data or {}).get(_NAMESPACE))


def _incomplete(why: str) -> ProviderError:
    return ProviderError(f"The answer is not whole: {why}.", type="IncompleteResponseError", retryable=True)


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────

_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_STATUS_NAME = re.compile(r"[A-Z]+(_[A-Z]+)*")
_KEY_HINT = "Check `google.api_key` (environment: `GOOGLE_API_KEY` or `GEMINI_API_KEY`)."
_CREDENTIALS_HINT = "Check the machine's Google credentials (`gcloud auth application-default login`)."
_HINTS = {
    401: _KEY_HINT,
    403: "Check what the key of `google.api_key`, or the account in `google.project`, may use.",
    404: "Check the model's name, `google.location` and `google.base_url`.",
}


def _class_name(status: str) -> str:
    return "".join(word.capitalize() for word in status.split("_"))


def _error_in(error: JSON) -> ProviderError:
    """An error in an answer with status 200, or in the middle of a stream."""
    code = error.get("code")
    if isinstance(code, int) and 400 <= code < 600:
        return _api_failure(code, error.get("status"), error.get("message"), error.get("details"), {})
    return _incomplete(f"it holds an error: {str(error.get('message') or error)[:300]}")


def _api_failure(code: int, status: Any, message: Any, details: Any, headers: Mapping[str, str]) -> ProviderError:
    named = isinstance(status, str) and _STATUS_NAME.fullmatch(status) is not None
    name = str(status) if named else _STATUS_NAMES.get(code, "INTERNAL" if code >= 500 else "UNKNOWN")
    known = [_dict(detail) for detail in _list(details)]
    hint = _KEY_HINT if any(detail.get("reason") == "API_KEY_INVALID" for detail in known) else _HINTS.get(code, "")
    words = str(message or "no reason given")[:1_000].rstrip(". \n")
    return ProviderError(
        f"status {code} {name}: {words}. {hint}".rstrip(),
        type=_class_name(name),
        status=code,
        retry_after=retry_after(headers) or _retry_info(known),
    )


def _retry_info(details: list[JSON]) -> Any:
    """When to ask again, in the words of `google.rpc.RetryInfo`: `13s`."""
    delays = (detail["retryDelay"] for detail in details if isinstance(detail.get("retryDelay"), str))
    delay = next(delays, None)
    return None if delay is None else retry_after({"retry-after": str(delay).removesuffix("s")})


# ── the client ───────────────────────────────────────────────────────────────────────────────────────────────────────


class GoogleSettings(ClientSettings, Protocol):
    """The configuration's section `google`."""

    @property
    def vertexai(self) -> bool: ...
    @property
    def project(self) -> str | None: ...
    @property
    def location(self) -> str | None: ...


class GoogleClient(SDKClient):
    """Asks `models.generateContent`.

    On Vertex AI with a `project` it uses the machine's Google credentials, without one the key (express mode).
    """

    section = "google"
    key_variable = "GOOGLE_API_KEY"
    default_base_url = "https://generativelanguage.googleapis.com"
    default_model = "gemini-3.8-flash"
    default_models: ClassVar[Mapping[str, ModelTraits]] = {
        "gemini-4-argon": Traits(intelligence=0.95, speed=0.4),
        "gemini-3.8-flash": Traits(intelligence=0.85, speed=0.7),
        "gemini-3.5-flash-lite": Traits(intelligence=0.6, speed=0.95),
    }

    def __init__(self, settings: GoogleSettings) -> None:
        super().__init__(settings)
        self._vertexai = settings.vertexai
        self._project = settings.project
        self._location = settings.location or "global"
        self._http: Any = None

    @property
    def base_url(self) -> str:
        if self._settings.base_url or not self._vertexai:
            return super().base_url
        if self._location == "global" or not self._project:
            return "https://aiplatform.googleapis.com"
        if self._location in ("us", "eu"):
            return f"https://aiplatform.{self._location}.rep.googleapis.com"
        return f"https://{self._location}-aiplatform.googleapis.com"

    def _import(self) -> None:
        importlib.import_module("google.genai")

    def _connect(self) -> Client:
        sdk, http = importlib.import_module("google.genai"), importlib.import_module("httpx2")
        timeout = self._timeout().as_dict()

        async def limited(request: Any) -> None:
            request.extensions = {**request.extensions, "timeout": timeout}  # the SDK asks without any

        options: JSON = {"base_url": self._checked_url(), "api_version": "v1beta1" if self._vertexai else "v1beta"}
        account = self._account()
        limits = http.Limits(max_connections=1000, max_keepalive_connections=100)
        self._http = http.AsyncClient(event_hooks={"request": [limited]}, limits=limits)
        options |= {"httpx_async_client": self._http, "retry_options": {"attempts": 1}}
        made: Client = sdk.Client(**account, http_options=options)
        return made

    def _account(self) -> JSON:
        if not self._vertexai:
            return {"vertexai": False, "api_key": self._checked_key()}
        if self._project:
            return {"vertexai": True, "project": self._project, "location": self._location}
        if not self._key():
            raise self._refused(
                "Vertex AI needs `google.project`, for the machine's Google credentials, or an express-mode"
                f" `google.api_key` (environment: `{self.key_variable}`).",
                "Unauthenticated",
            )
        return {"vertexai": True, "api_key": self._checked_key()}

    async def _close(self, client: Client) -> None:
        client.close()
        await self._http.aclose()

    async def _ask(
        self,
        client: Client,
        setup: LLMSetup,
        messages: list[Message],
        params: RequestParams,
        model: str,
        context: CallContext,
    ) -> ProviderReply:
        body = to_request(setup, messages, params, model, vertexai=self._vertexai)
        path = _model_path(model, vertexai=self._vertexai)
        taken = [call.id for message in messages for call in message.tool_uses]
        requests: list[list[Any]] = []
        tokens: list[str] = []
        while True:
            requests.append(await _answered(client, path, body, context.on_text))
            token = continuation(requests[-1])
            if token is None or token in tokens:
                return from_response(requests, model, taken)
            tokens.append(token)
            body = _merged(body, {"generationConfig": {"continuationToken": token}})

    def _failure(self, error: Exception) -> ProviderError | None:
        sdk, http = importlib.import_module("google.genai.errors"), importlib.import_module("httpx2")
        auth = importlib.import_module("google.auth.exceptions")
        match error:
            case sdk.APIError():
                return _status_failure(error)
            case sdk.UnknownApiResponseError() | UnicodeDecodeError():
                return _incomplete("it is no JSON, or was cut off")
            case http.TimeoutException():
                return self._no_answer(error, timeout=True)
            case http.HTTPError() | auth.TransportError():
                return self._no_answer(error)
            case auth.GoogleAuthError():
                text = f"{str(error)[:300]}. {_CREDENTIALS_HINT}"
                return ProviderError(text, type="Unauthenticated", retryable=bool(error.retryable))
            case _:
                return None


def _model_path(model: str, *, vertexai: bool) -> str:
    """Where a model is: names with a path of their own, such as `projects/...`, are taken as they are."""
    if not model or ".." in model or any(one in model for one in "?&# "):
        raise ProviderError(f"`{model}` is no model's name: correct it.", type="InvalidArgument", retryable=False)
    if model.startswith(("models/", "projects/", "publishers/") if vertexai else ("models/", "tunedModels/")):
        return model
    if not vertexai:
        return f"models/{model}"
    publisher, _, name = model.rpartition("/")
    return f"publishers/{publisher or 'google'}/models/{name}"


async def _answered(client: Client, model_path: str, body: JSON, on_text: Callable[[str], None] | None) -> list[Any]:
    """The JSON objects of an answer. Below the SDK's `models`, which cost more than the whole call and drop fields."""
    api: Any = client._api_client  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    if on_text is None:
        answer = await api.async_request("post", f"{model_path}:generateContent", body)
        return [_parsed(answer.body)]
    chunks: list[Any] = []
    stream = await api.async_request_streamed("post", f"{model_path}:streamGenerateContent?alt=sse", body)
    try:
        async for event in stream:
            chunks.append(_parsed(event.body))
            _tell(chunks[-1], on_text)
    except TypeError as error:  # what the SDK makes of an error without a code
        raise _incomplete("it holds an error without a code") from error
    return chunks


def _tell(chunk: Any, on_text: Callable[[str], None]) -> None:
    for part in _list(_dict(_candidate(_dict(chunk)).get("content")).get("parts")):
        text = _dict(part).get("text")
        if isinstance(text, str) and text and not _dict(part).get("thought"):
            on_text(str(clean(text)))


def _parsed(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        pass
    raise _incomplete("it is no JSON, so it was cut off, or `google.base_url` is not the address of an API")


def _status_failure(error: Any) -> ProviderError:
    body = _dict(error.details)
    details = _dict(body.get("error", body)).get("details")
    headers: Mapping[str, str] = getattr(error.response, "headers", {})
    return _api_failure(error.code, error.status, error.message, details, headers)
