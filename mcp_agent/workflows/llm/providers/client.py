"""What the clients of all providers have in common: one SDK client, opened late, and one way from its errors to ours.

SDKs are imported when the first request is made, in a thread: each takes most of a second.
"""

from __future__ import annotations

import asyncio
import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

from pydantic import SecretStr

from mcp_agent.observability.pricing import Cost, cost_of, load_prices
from mcp_agent.workflows.llm.messages import LLMSetup, Message, RequestParams
from mcp_agent.workflows.llm.providers.base import CallContext, ProviderError, ProviderReply
from mcp_agent.workflows.llm.providers.models import ModelTraits, preferred
from mcp_agent.workflows.llm.providers.reading import incomplete

DEFAULT_TIMEOUT = 300.0
"""Seconds that one request may take."""
CONNECT_TIMEOUT = 10.0


class ClientSettings(Protocol):
    """The section of the configuration that every provider has."""

    @property
    def api_key(self) -> SecretStr | None: ...
    @property
    def base_url(self) -> str | None: ...
    @property
    def default_model(self) -> str | None: ...
    @property
    def models(self) -> Mapping[str, ModelTraits]: ...
    @property
    def timeout_seconds(self) -> float | None: ...
    @property
    def stall_timeout_seconds(self) -> float: ...
    @property
    def stream(self) -> bool: ...
    @property
    def prompt_caching(self) -> bool: ...
    @property
    def prices_of(self) -> str | None: ...


class SDKClient(ABC):
    """Asks one provider through its SDK. Keeps one HTTP client until `aclose()`; never repeats a request by itself.

    Attributes:
        section: Its section of the configuration.
        key_variable: The environment variable that its key is usually in.
        default_base_url: The provider's own address.
        default_model: Used where neither the call nor the configuration names one.
        default_models: Among these a call's preferences choose, where the configuration has none.
    """

    section: ClassVar[str]
    key_variable: ClassVar[str]
    default_base_url: ClassVar[str]
    default_model: ClassVar[str]
    default_models: ClassVar[Mapping[str, ModelTraits]] = {}

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._client: Any = None
        self._opening = asyncio.Lock()

    @property
    def timeout_seconds(self) -> float:
        return self._settings.timeout_seconds or DEFAULT_TIMEOUT

    async def generate(
        self, setup: LLMSetup, messages: list[Message], params: RequestParams, context: CallContext
    ) -> ProviderReply:
        """One request. See `ProviderClient`."""
        model = self.model(params)
        await self.open()
        try:
            reply = await self._ask(self._client, setup, messages, params, model, context)
            return reply._replace(cost=self._cost(reply))
        except Exception as error:
            failure = error if isinstance(error, ProviderError) else self._unreadable(error) or self._failure(error)
            if failure is None:
                raise
        # Outside of the block: an SDK's error may hold parts of the key, so it is no cause.
        raise failure

    def model(self, params: RequestParams) -> str:
        """Which model is asked: the call's, the preferred one, the configured one, this package's default."""
        if params.model is not None:
            return params.model
        if params.model_preferences is not None:
            return preferred(self.section, self._settings.models or self.default_models, params.model_preferences)
        return self._settings.default_model or self.default_model

    @property
    def streams(self) -> bool:
        return self._settings.stream

    async def open(self) -> None:
        async with self._opening:
            if self._client is None:
                await asyncio.gather(asyncio.to_thread(self._import), asyncio.to_thread(load_prices))
                self._client = self._connect()

    @staticmethod
    def _unreadable(error: Exception) -> ProviderError | None:
        """For an answer with numbers or depths that no answer has."""
        if not isinstance(error, OverflowError | RecursionError):
            return None
        return incomplete(f"it cannot be read ({error})")

    def _cost(self, reply: ProviderReply) -> Cost | None:
        given = self._settings.base_url if self._settings.prices_of is None else None
        found = cost_of(self._settings.prices_of or self.section, reply.model, reply.usage, given)
        if found is not None or given is None:
            return found
        return Cost(None, f"no price is known for `{reply.model}` at `{self.section}.base_url`: set `{self.section}.prices_of`")

    def secrets(self) -> list[str]:
        address = urlsplit(self.base_url)
        return [self._key(), *(part for part in (address.password, address.query) if part)]

    async def aclose(self) -> None:
        """Closes the connections."""
        client, self._client = self._client, None
        if client is not None:
            await self._close(client)

    @property
    def base_url(self) -> str:
        return self._settings.base_url or self.default_base_url

    @property
    def place(self) -> str:
        """The address as errors name it: without what may be secret."""
        address = urlsplit(self.base_url)
        return f"`{address.scheme}://{address.netloc.rpartition('@')[2]}`"

    @abstractmethod
    def _import(self) -> None:
        """Imports the SDK; called in a thread. Raises ModuleNotFoundError."""

    @abstractmethod
    def _connect(self) -> Any:
        """Makes the SDK's client, with its own retries off. Raises ProviderError for settings that cannot work."""

    @abstractmethod
    async def _close(self, client: Any) -> None: ...

    @abstractmethod
    async def _ask(
        self,
        client: Any,
        setup: LLMSetup,
        messages: list[Message],
        params: RequestParams,
        model: str,
        context: CallContext,
    ) -> ProviderReply:
        """Translates, asks, translates back; streams if `context.on_text` is given."""

    @abstractmethod
    def _failure(self, error: Exception) -> ProviderError | None:
        """What an error of the SDK, or of its HTTP library, means; `None` if it is neither's."""

    def _timeout(self, *, streamed: bool = True) -> Any:
        """For the SDK's HTTP client. A streamed answer may be silent for `stall_timeout_seconds`."""
        http = importlib.import_module("httpx2")
        return http.Timeout(
            self.timeout_seconds,
            connect=min(CONNECT_TIMEOUT, self.timeout_seconds),
            read=min(self._settings.stall_timeout_seconds, self.timeout_seconds) if streamed else self.timeout_seconds,
        )

    def _key(self) -> str:
        configured = self._settings.api_key
        return configured.get_secret_value().strip() if configured else ""

    def _checked_key(self) -> str:
        key = self._key()
        if not key:
            raise self._refused(
                f"No API key: set `{self.section}.api_key` in `mcp_agent.secrets.yaml`, or `{self.key_variable}` in the"
                " environment (any value, for a server that needs none).",
                "AuthenticationError",
            )
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise self._refused(
                f"The API key holds characters that cannot be sent: copy it anew into `{self.section}.api_key`.",
                "AuthenticationError",
            )
        return key

    def _checked_url(self) -> str:
        address = urlsplit(self.base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise self._refused(
                f"`{self.section}.base_url` is not an address like `{self.default_base_url}`: correct it.", "ConfigError"
            )
        return self.base_url

    @staticmethod
    def _refused(text: str, type_: str) -> ProviderError:
        return ProviderError(text, type=type_, retryable=False)

    def _no_answer(self, error: BaseException, *, timeout: bool = False) -> ProviderError:
        """The connection failed, before the answer or in it."""
        if timeout:
            return ProviderError(f"{self.place} did not answer in time.", type="APITimeoutError")
        cause = error.__cause__ or error
        return ProviderError(f"No whole answer from {self.place} ({type(cause).__name__}: {cause}).", type="APIConnectionError")
