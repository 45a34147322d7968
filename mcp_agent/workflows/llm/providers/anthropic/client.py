"""Asks Anthropic's Messages API."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, cast

from mcp_agent.workflows.llm.messages import LLMSetup, Message, RequestParams
from mcp_agent.workflows.llm.providers.anthropic.request import with_prefix
from mcp_agent.workflows.llm.providers.anthropic.response import StreamedAnswer, failed, from_response
from mcp_agent.workflows.llm.providers.base import CallContext, ProviderError, ProviderReply, clean
from mcp_agent.workflows.llm.providers.client import SDKClient
from mcp_agent.workflows.llm.providers.models import ModelTraits, Traits
from mcp_agent.workflows.llm.providers.reading import JSON, as_dict, incomplete

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic


class AnthropicClient(SDKClient):
    """Asks the Messages API."""

    section = "anthropic"
    key_variable = "ANTHROPIC_API_KEY"
    default_base_url = "https://api.anthropic.com"
    default_model = "claude-sonnet-5-5"
    default_models: ClassVar[Mapping[str, ModelTraits]] = {
        "claude-opus-5-5": Traits(intelligence=0.95, speed=0.5),
        "claude-sonnet-5-5": Traits(intelligence=0.85, speed=0.8),
        "claude-haiku-5-5": Traits(intelligence=0.6, speed=1.0),
    }

    def _import(self) -> None:
        importlib.import_module("anthropic")

    def _connect(self) -> AsyncAnthropic:
        sdk = importlib.import_module("anthropic")
        made: AsyncAnthropic = sdk.AsyncAnthropic(
            api_key=self._checked_key(), base_url=self._checked_url(), timeout=self._timeout(), max_retries=0
        )
        return made

    async def _close(self, client: AsyncAnthropic) -> None:
        await client.close()

    async def _ask(
        self,
        client: AsyncAnthropic,
        setup: LLMSetup,
        messages: list[Message],
        params: RequestParams,
        model: str,
        context: CallContext,
    ) -> ProviderReply:
        request, prefix = with_prefix(setup, messages, params, model, prompt_caching=self._settings.prompt_caching)
        if context.on_text is not None:
            return from_response(await _streamed(client, request, context.on_text), model, prefix)
        create: Any = client.messages.with_raw_response.create
        raw = await create(**request, timeout=self._timeout(streamed=False))
        return from_response(_parsed(cast("bytes", raw.http_response.content)), model, prefix)

    def _failure(self, error: Exception) -> ProviderError | None:
        sdk, http = importlib.import_module("anthropic"), importlib.import_module("httpx2")
        match error:
            case sdk.APIStatusError():
                status_error: Any = error
                return failed(status_error.status_code, status_error.body, status_error.response.headers)
            case sdk.APITimeoutError() | http.TimeoutException():
                return self._no_answer(error, timeout=True)
            case sdk.APIConnectionError() | http.HTTPError():
                return self._no_answer(error)
            case sdk.AnthropicError():
                return ProviderError(str(error), type=type(error).__name__, retryable=False)
            case _:
                return None


async def _streamed(client: AsyncAnthropic, request: JSON, on_text: Callable[[str], None]) -> Any:
    """Reads the events themselves: the SDK's own models of them cost more than the rest of the call."""
    sdk = importlib.import_module("anthropic")
    answer = StreamedAnswer()
    async with client.messages.with_streaming_response.create(**request, stream=True) as response:
        http_response: Any = response.http_response
        if "json" in http_response.headers.get("content-type", ""):
            return _parsed(await http_response.aread())
        try:
            async with aclosing(sdk.AsyncStream.raw_events(http_response)) as events:
                async for event in events:
                    if event.data and not answer.ended:
                        piece = answer.add(as_dict(json.loads(event.data)))
                        if piece:
                            on_text(clean(piece))
        except ValueError:
            raise incomplete("an event of its stream is not JSON") from None
    return answer.body()


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        pass
    raise ProviderError(
        "The answer is not JSON: it was cut off, or `anthropic.base_url` is not the address of an API.",
        type="APIResponseValidationError",
        retryable=True,
    )
