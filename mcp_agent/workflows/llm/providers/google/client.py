"""Google's Gemini models, through the Gemini API and on Vertex AI.

`to_request` and `from_response` are pure and speak the JSON of `models.generateContent`; `GoogleClient` holds the
connections. That JSON goes through the SDK's HTTP layer as it is: its models would drop fields they do not know.

What Gemini must get back unchanged (thought signatures, thoughts, ids of calls) is kept under `provider_data["google"]`:
`parts` lists the parts of the answer in order, each `{"block": 0, "length": 5, "extra": {...}}` for a block of the message
(for a text, its next so many characters) with the part's other fields, or `{"whole": {...}}`.

Gemini caches long beginnings by itself and has no marks for them, and it has no switch for parallel tool calls: it is asked
in words to make one at a time.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from mcp_agent.workflows.llm.messages import LLMSetup, Message, RequestParams
from mcp_agent.workflows.llm.providers.base import CallContext, ProviderError, ProviderReply, clean
from mcp_agent.workflows.llm.providers.client import ClientSettings, SDKClient
from mcp_agent.workflows.llm.providers.google.problems import api_failure, merged
from mcp_agent.workflows.llm.providers.google.request import to_request
from mcp_agent.workflows.llm.providers.google.response import candidate_of, continuation, from_response
from mcp_agent.workflows.llm.providers.models import ModelTraits, Traits
from mcp_agent.workflows.llm.providers.reading import JSON, as_dict, as_list, incomplete

if TYPE_CHECKING:
    from google.genai import Client

__all__ = ["GoogleClient", "GoogleSettings", "from_response", "to_request"]

_STREAM = ":streamGenerateContent"
_CREDENTIALS_HINT = "Check the machine's Google credentials (`gcloud auth application-default login`)."


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
        streamed = self._timeout().as_dict()
        at_once = {**streamed, "read": self.timeout_seconds}  # silent until it comes

        async def limited(request: Any) -> None:  # the SDK sets no limits
            timeout = streamed if request.url.path.endswith(_STREAM) else at_once
            request.extensions = {**request.extensions, "timeout": timeout}

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
                "AuthenticationError",
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
            body = merged(body, {"generationConfig": {"continuationToken": token}})

    def _failure(self, error: Exception) -> ProviderError | None:
        sdk, http = importlib.import_module("google.genai.errors"), importlib.import_module("httpx2")
        auth = importlib.import_module("google.auth.exceptions")
        match error:
            case sdk.APIError():
                return _status_failure(error)
            case sdk.UnknownApiResponseError() | UnicodeDecodeError():
                return incomplete("it is no JSON, or was cut off")
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
    """The JSON objects of an answer.

    Below the SDK's `models`, whose translation costs several times the rest of the call and drops fields it does not know.
    """
    api: Any = client._api_client  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    if on_text is None:
        answer = await api.async_request("post", f"{model_path}:generateContent", body)
        return [_parsed(answer.body)]
    stream = await api.async_request_streamed("post", f"{model_path}{_STREAM}?alt=sse", body)
    chunks: list[Any] = []
    while (event := await _next(stream)) is not None:
        chunks.append(_parsed(event.body))
        _tell(chunks[-1], on_text)
    return chunks


async def _next(stream: Any) -> Any:
    try:
        return await anext(stream, None)
    except TypeError as error:  # what the SDK makes of an error without a code
        raise incomplete("it holds an error without a code") from error


def _tell(chunk: Any, on_text: Callable[[str], None]) -> None:
    for part in as_list(as_dict(candidate_of(as_dict(chunk)).get("content")).get("parts")):
        text = as_dict(part).get("text")
        if isinstance(text, str) and text and not as_dict(part).get("thought"):
            on_text(str(clean(text)))


def _parsed(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        pass
    raise incomplete("it is no JSON, so it was cut off, or `google.base_url` is not the address of an API")


def _status_failure(error: Any) -> ProviderError:
    body = as_dict(error.details)
    details = as_dict(body.get("error", body)).get("details")
    headers: Mapping[str, str] = getattr(error.response, "headers", {})
    return api_failure(error.code, error.status, error.message, details, headers)
