"""The step that asks a model. The only place where model calls leave the process."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol, TypeVar

from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.runs import partial_text_details
from mcp_agent.executor.step_context import StepContext, current_step
from mcp_agent.observability.spans import ModelAnswer, ModelRequest
from mcp_agent.observability.telemetry import Telemetry
from mcp_agent.workflows.llm.conversation import ConversationStore, Resolved
from mcp_agent.workflows.llm.messages import LLM_GENERATE, LLMRequest, LLMResponse, RequestParams, head_hash
from mcp_agent.workflows.llm.providers.anthropic.client import AnthropicClient
from mcp_agent.workflows.llm.providers.base import CallContext, ProviderClient, ProviderError, ProviderReply
from mcp_agent.workflows.llm.providers.client import ClientSettings, SDKClient
from mcp_agent.workflows.llm.providers.google.client import GoogleClient, GoogleSettings
from mcp_agent.workflows.llm.providers.openai.azure import AzureClient
from mcp_agent.workflows.llm.providers.openai.client import OpenAIClient
from mcp_agent.workflows.llm.providers.scripted import ScriptedClient, ScriptedSettings

__all__ = ["HEARTBEAT_SECONDS", "LLM_GENERATE", "LLMActivities", "LLMSettings"]

HEARTBEAT_SECONDS = 0.5

T = TypeVar("T")

SDK_CLIENTS: tuple[type[SDKClient], ...] = (OpenAIClient, AzureClient, AnthropicClient, GoogleClient)


class LLMSettings(Protocol):
    """The sections of the configuration that model calls need."""

    @property
    def openai(self) -> ClientSettings: ...
    @property
    def anthropic(self) -> ClientSettings: ...
    @property
    def google(self) -> GoogleSettings: ...
    @property
    def azure(self) -> ClientSettings: ...
    @property
    def scripted(self) -> ScriptedSettings | None: ...


class LLMActivities:
    """Model calls of one worker: its conversations and its connections to providers.

    Args:
        settings: Where the providers are and how to reach them.
        store: Conversations; a new one by default.
        clients: Providers by name, beside and instead of those of this package.
        telemetry: What requests are measured and traced with.
    """

    def __init__(
        self,
        settings: LLMSettings,
        *,
        store: ConversationStore | None = None,
        clients: Mapping[str, ProviderClient] | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._settings = settings
        self._store = store or ConversationStore()
        self._telemetry = telemetry or Telemetry()
        self._clients: dict[str, ProviderClient] = dict(clients or {})

    async def generate(self, request: LLMRequest) -> LLMResponse:
        """Asks the model for the next message of a conversation: the step `mcp_agent.llm.generate`.

        Raises:
            WorkflowApplicationError: Types are the class names of the provider's SDK (`RateLimitError`, ...), for Google its
                status names (`ResourceExhausted`, `InvalidArgument`, ...), or
                `ConversationLost`, `UnknownProvider`, `MissingPackage`, `IncompleteResponseError`, `UnsupportedContent`,
                `NoModelToPrefer`, `ScriptError`.
        """
        step = current_step()
        partial = PartialText()
        return await _beating(self._generate(request, step, partial), step, partial)

    async def aclose(self) -> None:
        """Closes all connections."""
        clients, self._clients = self._clients, {}
        await asyncio.gather(*(client.aclose() for client in clients.values()))

    async def _generate(self, request: LLMRequest, step: StepContext | None, partial: PartialText) -> LLMResponse:
        history, run_id = (step.history, step.run_id) if step else (None, None)
        resolved = await self._store.resolve(request, history, run_id)
        provider, client = self._client(request.provider)
        params = request.params
        context = CallContext(
            agent=request.agent,
            attempt=step.attempt if step else 1,
            on_text=partial.add if _streamed(client, params) else None,
        )
        deadline = min(client.timeout_seconds, params.timeout_seconds or client.timeout_seconds)
        try:
            await client.open()
            with self._telemetry.model_call(_as_traced(request, provider, step)) as call:
                if call.span.records_content:
                    call.span.asked(resolved.setup.instruction, resolved.messages)
                reply = await _within(deadline, client.generate(resolved.setup, resolved.messages, params, context))
                call.answer = _answer(reply)
                call.span.answered(call.answer, reply.message)
        except ProviderError as error:
            failure = error.as_step_error(provider, client.secrets())
        except ModuleNotFoundError as error:  # SDKs are imported when they are first needed
            text = f"Provider `{provider}` needs the package `{error.name}`, which is not installed: install it."
            failure = _refused("MissingPackage", text)
        else:
            return self._answered(request, resolved, reply)
        raise failure

    def _answered(self, request: LLMRequest, resolved: Resolved, reply: ProviderReply) -> LLMResponse:
        response = LLMResponse(
            message=reply.message,
            head=head_hash(request.parent, resolved.setup_hash, request.new, reply.message),
            stop_reason=reply.stop_reason,
            usage=reply.usage,
            model=reply.model,
            cost_usd=None if reply.cost is None else reply.cost.usd,
            cost_source=None if reply.cost is None else reply.cost.source,
        )
        self._store.remember(request, resolved, response)
        return response

    def _client(self, provider: str) -> tuple[str, ProviderClient]:
        if self._settings.scripted is not None and self._settings.scripted.file is not None:
            provider = "scripted"  # it stands in for every provider
        if provider not in self._clients:
            self._clients[provider] = self._make(provider)
        return provider, self._clients[provider]

    def _make(self, provider: str) -> ProviderClient:
        if provider == "scripted":
            return self._scripted()
        for client in SDK_CLIENTS:
            if client.section == provider:
                return client(getattr(self._settings, client.section))
        known = ", ".join(f"`{name}`" for name in sorted({"scripted", *(one.section for one in SDK_CLIENTS), *self._clients}))
        raise _refused("UnknownProvider", f"There is no provider `{provider}`: choose one of {known}.")

    def _scripted(self) -> ProviderClient:
        scripted = self._settings.scripted
        if scripted is None or scripted.file is None:
            raise _refused("ScriptError", "The scripted model has no script: set `scripted.file`.")
        return ScriptedClient(scripted.file)


def _as_traced(request: LLMRequest, provider: str, step: StepContext | None) -> ModelRequest:
    return ModelRequest(
        workflow=step.workflow if step else "",
        run_id=step.run_id if step else "",
        agent=request.agent,
        provider=provider,
        model=request.params.model,
        max_tokens=request.params.max_tokens,
        temperature=request.params.temperature,
        top_p=request.params.top_p,
    )


def _answer(reply: ProviderReply) -> ModelAnswer:
    return ModelAnswer(
        model=reply.model,
        stop_reason=reply.stop_reason,
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        cached_input_tokens=reply.usage.cached_input_tokens,
        cache_write_tokens=reply.usage.cache_write_tokens,
        cost_usd=None if reply.cost is None else reply.cost.usd,
    )


class PartialText:
    """An answer's text while it is written. Told with heartbeats, so that it costs a run's history nothing."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def add(self, piece: str) -> None:
        self._pieces.append(piece)

    def details(self) -> tuple[Any, ...]:
        """For a heartbeat: empty until there is something."""
        if not self._pieces:
            return ()
        self._pieces = ["".join(self._pieces)]
        return partial_text_details(self._pieces[0])


def _streamed(client: ProviderClient, params: RequestParams) -> bool:
    return client.streams if params.stream is None else params.stream


def _refused(type_: str, message: str) -> WorkflowApplicationError:
    return WorkflowApplicationError(message, type=type_, non_retryable=True)


async def _within(seconds: float, call: Coroutine[Any, Any, T]) -> T:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await call
    except TimeoutError:
        if not limit.expired():
            raise
    raise ProviderError(f"No answer within {seconds:g} s.", type="APITimeoutError")


async def _beating(call: Coroutine[Any, Any, T], step: StepContext | None, partial: PartialText) -> T:
    """Awaits `call`, and tells the engine meanwhile that the step is alive; a cancel reaches the call at once."""
    if step is None:
        return await call
    task = asyncio.ensure_future(call)
    try:
        while not (await asyncio.wait({task}, timeout=HEARTBEAT_SECONDS))[0]:
            step.heartbeat(*partial.details())
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
