"""What every provider is: a pure translator, a small client, and one way to fail."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, Protocol, cast

from pydantic_core import from_json

from mcp_agent.errors import MCPAgentError, WorkflowApplicationError
from mcp_agent.observability.pricing import Cost
from mcp_agent.workflows.llm.messages import InvalidInput, LLMSetup, Message, RequestParams, StopReason, Usage

MESSAGE_LIMIT = 1_500
"""Characters of an error's text."""

LONGEST_RETRY_AFTER = timedelta(hours=1)

_RETRYABLE = frozenset({408, 409, 429})
_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
}
_READ_LIMIT = 20_000
_QUOTED = 200
_MASKED = re.compile(r"[\w.-]{0,99}[*•…]{2,}[\w.*•…-]*|\b(?:sk|pk|rk|xai|gsk)-[\w-]{0,99}(?:\.{3}|…)[\w-]*")
_KEY_LIKE = re.compile(r"\b(?:sk|pk|rk|xai|gsk)-[\w-]{16,}|\bAIza[\w-]{20,}|(?i:\bbearer\s+)[\w.~+/=-]{8,}")


@dataclass(frozen=True, slots=True)
class CallContext:
    """Who asks.

    Attributes:
        agent: The agent's name.
        attempt: 1 for the first attempt of this call.
        on_text: Told each new piece of the answer's text while it is written; `None` where nobody wants it, and then the
            answer need not be streamed.
    """

    agent: str
    attempt: int = 1
    on_text: Callable[[str], None] | None = None


class ProviderReply(NamedTuple):
    """What a provider answered, in this package's terms; `cost` where its price is known."""

    message: Message
    stop_reason: StopReason
    usage: Usage
    model: str
    cost: Cost | None = None


class ProviderClient(Protocol):
    """Asks one provider's models. One per worker; it keeps its connections."""

    @property
    def timeout_seconds(self) -> float:
        """How long one request may take."""
        ...

    @property
    def streams(self) -> bool:
        """Whether answers come piece by piece where the call does not say."""
        ...

    async def open(self) -> None:
        """Makes ready what the first request needs; it does not count as the request's time.

        Raises:
            ProviderError: The settings cannot work.
            ModuleNotFoundError: The SDK is not installed.
        """
        ...

    async def generate(
        self, setup: LLMSetup, messages: list[Message], params: RequestParams, context: CallContext
    ) -> ProviderReply:
        """One request, never repeated by itself.

        Raises:
            ProviderError: No usable answer; it says whether to try again.
        """
        ...

    def secrets(self) -> list[str]:
        """What must never be in an error's text."""
        ...

    async def aclose(self) -> None: ...


class ProviderError(MCPAgentError):
    """A provider gave no usable answer.

    Args:
        message: What happened and what to do.
        type: The class name of the SDK's error, such as `RateLimitError`; for Google its status, such as `ResourceExhausted`.
        status: The HTTP status.
        retryable: Whether the same request may succeed later; by the status where not given.
        retry_after: When the provider wants to be asked again.
    """

    def __init__(
        self,
        message: str,
        *,
        type: str | None = None,
        status: int | None = None,
        retryable: bool | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.type = type or (error_type(status) if status is not None else "ProviderError")
        self.status = status
        self.retryable = is_retryable(status) if retryable is None else retryable
        self.retry_after = retry_after

    def as_step_error(self, provider: str, secrets: Iterable[str] = ()) -> WorkflowApplicationError:
        """The error that fails the attempt, without secrets."""
        details = {"provider": provider, "status": self.status}
        return WorkflowApplicationError(
            redacted(f"`{provider}`: {self.message}", secrets),
            details,
            type=self.type,
            non_retryable=not self.retryable,
            next_retry_delay=self.retry_after if self.retryable else None,
        )


def is_retryable(status: int | None) -> bool:
    """Whether a request that got this HTTP status may succeed later; `None` for no answer at all."""
    return status is None or status in _RETRYABLE or status >= 500


def error_type(status: int) -> str:
    """What the providers' SDKs call the error of this HTTP status."""
    return _TYPES.get(status, "InternalServerError" if status >= 500 else "APIStatusError")


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> timedelta | None:
    """What the headers ask to wait: `retry-after-ms`, or `retry-after` in seconds or as an HTTP date; an hour at most.

    Args:
        headers: With names in lower case, or a mapping that ignores case.
        now: The time that a date is compared with.
    """
    for name, per_second in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        seconds = _number(headers.get(name))
        if seconds is not None:
            return _wait(seconds / per_second)
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _wait((moment - (now or datetime.now(UTC))).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _wait(seconds: float) -> timedelta | None:
    if seconds <= 0:
        return None
    return min(timedelta(seconds=min(seconds, 1e6)), LONGEST_RETRY_AFTER)


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """The text, shortened, without the secrets, half-hidden keys (`sk-****abcd`), and what looks like a key."""
    text = str(clean(text[:_READ_LIMIT]))
    for secret in sorted((one for one in secrets if len(one) > 3), key=len, reverse=True):
        text = text.replace(secret, "[redacted]")
    text = _KEY_LIKE.sub("[redacted]", _MASKED.sub("[redacted]", text))
    return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - 1] + "…"


def tool_arguments(raw: str | None) -> dict[str, Any] | InvalidInput:
    """What a model wrote as the arguments of a tool call: a JSON object, or what is wrong with it. Nothing means `{}`."""
    if raw is None or not raw.strip():
        return {}
    raw = str(clean(raw))
    try:
        value = from_json(raw, allow_inf_nan=False)
        json.dumps(value, allow_nan=False)  # `1e999` is read as infinite
    except ValueError as error:
        return _invalid(raw, f"invalid JSON, {error}")
    if value is None:
        return {}
    if not isinstance(value, dict):
        return _invalid(raw, f"JSON, but a {type(value).__name__}")
    return cast("dict[str, Any]", value)


def _invalid(raw: str, problem: str) -> InvalidInput:
    return InvalidInput(raw=raw, error=f"{problem}: `{raw if len(raw) <= _QUOTED else raw[:_QUOTED] + '…'}`")


def unique_id(wanted: str | None, taken: Iterable[str]) -> str:
    """The id of a tool call: the provider's, or a derived one where that is missing or taken."""
    used = set(taken)
    base = wanted or "call"
    number = 1
    name = base if wanted else f"{base}-1"
    while name in used:
        number += 1
        name = f"{base}-{number}"
    return name


def clean(value: Any) -> Any:
    """JSON data without lone surrogates in its texts, which some models write and histories cannot hold."""
    if isinstance(value, str):
        return value if _encodable(value) else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {clean(key): clean(one) for key, one in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [clean(one) for one in cast("list[Any]", value)]
    return value


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
