"""The client of OpenAI's APIs: of OpenAI, and of every server that speaks them.

What is said is translated in `chat` and `responses`; Azure's client is in `azure`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import AsyncGenerator, Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

from mcp_agent.workflows.llm.messages import LLMSetup, Message, RequestParams
from mcp_agent.workflows.llm.providers.base import CallContext, ProviderError, ProviderReply, retry_after
from mcp_agent.workflows.llm.providers.client import SDKClient
from mcp_agent.workflows.llm.providers.models import Traits
from mcp_agent.workflows.llm.providers.openai import chat, responses
from mcp_agent.workflows.llm.providers.openai.chat_stream import ChatStream
from mcp_agent.workflows.llm.providers.openai.content import media_in
from mcp_agent.workflows.llm.providers.openai.problems import UNREPEATABLE, error_in, not_json
from mcp_agent.workflows.llm.providers.openai.responses_stream import ResponsesStream
from mcp_agent.workflows.llm.providers.reading import JSON, as_dict

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from mcp_agent.config import AzureSettings, OpenAISettings

_OWN_HOST = "api.openai.com"
_HINTS = {
    401: "Check {keys} (environment: `{variable}`).",
    403: "Check what the key of {keys} may use.",
    404: "Check the model's name, `{section}.base_url` and `{section}.api`.",
}

_NEEDED = frozenset({"messages", "input"})
"""Arguments that the SDK asks for."""
_LONG = _NEEDED | {"tools"}


class _Stream(Protocol):
    """Puts a stream together into the answer as it is when it is not streamed."""

    def add(self, event: Any) -> str: ...
    def whole(self) -> JSON: ...


class _Translate(Protocol):
    def __call__(self, setup: LLMSetup, messages: list[Message], params: RequestParams, model: str, *, own: bool) -> JSON: ...


class API(NamedTuple):
    """One of OpenAI's two APIs.

    Attributes:
        to_request: Makes the arguments of the SDK's `create`.
        from_response: Reads the answer.
        stream: Puts a stream together.
        streamed: What is added to a request whose answer is to be streamed.
        resource: Where the SDK's client has it.
    """

    to_request: _Translate
    from_response: Callable[[Any, str], ProviderReply]
    stream: type[_Stream]
    streamed: JSON
    resource: Callable[[Any], Any]


CHAT = API(
    chat.to_request,
    chat.from_response,
    ChatStream,
    {"stream": True, "stream_options": {"include_usage": True}},
    attrgetter("chat.completions"),
)
RESPONSES = API(
    responses.to_request,
    responses.from_response,
    ResponsesStream,
    {"stream": True},
    attrgetter("responses"),
)


class OpenAIClient(SDKClient):
    """Asks chat completions or the Responses API.

    Attributes:
        key_settings: The settings that keys are in, as errors name them.
    """

    section = "openai"
    key_variable = "OPENAI_API_KEY"
    key_settings: ClassVar[str] = "`openai.api_key`"
    default_base_url = "https://api.openai.com/v1"
    default_model = "gpt-5.4-mini"
    default_models = {  # noqa: RUF012 - a constant
        "gpt-6.1-sol": Traits(intelligence=0.95, speed=0.5),
        "gpt-6.1-terra": Traits(intelligence=0.85, speed=0.7),
        "gpt-6-luna": Traits(intelligence=0.65, speed=0.95),
    }

    def __init__(self, settings: OpenAISettings | AzureSettings) -> None:
        super().__init__(settings)
        self._wanted_api = settings.api

    @property
    def own(self) -> bool:
        """Whether requests go to the API's maker, and not to a server that may refuse what is new or OpenAI's only."""
        host = urlsplit(self.base_url).hostname or ""
        return host == _OWN_HOST or host.endswith(f".{_OWN_HOST}")

    def api(self, messages: list[Message], params: RequestParams) -> API:
        """The API to ask, where it is free to choose one that can do what is asked."""
        if self._wanted_api == "auto":
            return RESPONSES if self._prefers_responses and not _needs_chat(messages, params) else CHAT
        return RESPONSES if self._wanted_api == "responses" else CHAT

    @property
    def _prefers_responses(self) -> bool:
        return self.own

    def _import(self) -> None:
        importlib.import_module("openai")

    def _connect(self) -> AsyncOpenAI:
        settings = cast("OpenAISettings", self._settings)
        return self._sdk_client(
            "AsyncOpenAI",
            api_key=self._checked_key(),
            base_url=self._checked_url(),
            organization=settings.organization,
            project=settings.project,
        )

    def _sdk_client(self, kind: str, **options: Any) -> AsyncOpenAI:
        made: AsyncOpenAI = getattr(importlib.import_module("openai"), kind)(timeout=self._timeout(), max_retries=0, **options)
        return made

    async def _close(self, client: AsyncOpenAI) -> None:
        await client.close()

    async def _ask(
        self,
        client: AsyncOpenAI,
        setup: LLMSetup,
        messages: list[Message],
        params: RequestParams,
        model: str,
        context: CallContext,
    ) -> ProviderReply:
        api = self.api(messages, params)
        request = _as_it_is(api.to_request(setup, messages, params, model, own=self.own))
        if context.on_text is None:
            raw = await api.resource(client).with_raw_response.create(**request, timeout=self._timeout(streamed=False))
            return api.from_response(self._parsed(raw.http_response.content), model)
        answer = await self._streamed(api, client, request, context.on_text)
        return api.from_response(answer, model)

    async def _streamed(self, api: API, client: AsyncOpenAI, request: JSON, on_text: Callable[[str], None]) -> Any:
        create = api.resource(client).with_streaming_response.create
        async with create(**request, **api.streamed) as raw:
            if "event-stream" not in raw.headers.get("content-type", ""):  # this server does not stream
                return self._parsed(await raw.read())
            stream = api.stream()
            async for event in self._events(raw):
                text = stream.add(event)
                if text:
                    on_text(text)
            return stream.whole()

    async def _events(self, raw: Any) -> AsyncGenerator[Any]:
        """The events as parsed JSON: the SDK's own objects cost more than all the rest."""
        events = await raw.parse(to=importlib.import_module("openai").AsyncStream[object])
        try:
            async for event in events:
                yield event
        except ValueError:
            failure = not_json(self.section)
        else:
            return
        raise failure

    def _parsed(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except ValueError:
            failure = not_json(self.section)
        raise failure

    def _failure(self, error: Exception) -> ProviderError | None:
        sdk, http = importlib.import_module("openai"), importlib.import_module("httpx2")
        match error:
            case sdk.APIStatusError():
                return self._status_failure(error)
            case sdk.APITimeoutError() | http.TimeoutException():
                return self._no_answer(error, timeout=True)
            case sdk.APIConnectionError() | http.HTTPError():
                return self._no_answer(error)
            case sdk.APIError():  # in a stream
                return error_in({"error": getattr(error, "body", None) or str(error)})
            case sdk.OpenAIError():
                return ProviderError(str(error), type=type(error).__name__, retryable=False)
            case _:
                return None

    def _status_failure(self, error: Any) -> ProviderError:
        status: int = error.status_code
        hint = _HINTS.get(status, "").format(keys=self.key_settings, section=self.section, variable=self.key_variable)
        return ProviderError(
            f"status {status}: {_words(error).rstrip('. ')}. {hint}".rstrip(),
            type=type(error).__name__,
            status=status,
            retryable=False if error.code in UNREPEATABLE else None,
            retry_after=retry_after(error.response.headers),
        )


def _as_it_is(request: JSON) -> JSON:
    """The request with what is long as `extra_body`: all else the SDK translates, which costs more than the rest of the call."""
    long = {name: value for name, value in request.items() if name in _LONG}
    short = {name: value for name, value in request.items() if name not in _LONG}
    needed = {name: () for name in long if name in _NEEDED}
    return {**short, **needed, "extra_body": {**long, **request.get("extra_body", {})}}


def _needs_chat(messages: list[Message], params: RequestParams) -> bool:
    """Whether there is something that only chat completions have: stop sequences and sound."""
    media = (media_in(block) for message in messages for block in message.content)
    return bool(params.stop_sequences) or any(one is not None and one.kind == "audio" for one in media)


def _words(error: Any) -> str:
    """The provider's own message; where there is none, the beginning of what it sent."""
    body = error.body
    if isinstance(body, dict):
        return str(as_dict(body).get("message") or as_dict(body))
    return str(body or "no reason given")[:300]
