"""Google's JSON: how it is read, and what its errors mean.

The types of errors are Google's own status names: `InvalidArgument`, `FailedPrecondition`, `Unauthenticated`,
`PermissionDenied`, `NotFound`, `ResourceExhausted`, `Internal`, `Unavailable`, `DeadlineExceeded` and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

from mcp_agent.workflows.llm.providers.base import ProviderError, retry_after
from mcp_agent.workflows.llm.providers.reading import JSON, as_dict, as_list, incomplete

NAMESPACE = "google"
"""Of what a message keeps for Google; see `google`."""

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
_KNOWN = frozenset({*_STATUS_NAMES.values(), "FAILED_PRECONDITION", "OUT_OF_RANGE", "ALREADY_EXISTS", "DATA_LOSS", "UNKNOWN"})
_KEY_HINT = "Check `google.api_key` (environment: `GOOGLE_API_KEY` or `GEMINI_API_KEY`)."
_HINTS = {
    401: f"{_KEY_HINT} On Vertex AI check the machine's Google credentials.",
    403: "Check what the key of `google.api_key`, or the account in `google.project`, may use.",
    404: "Check the model's name, `google.location` and `google.base_url`.",
}


def merged(under: JSON, over: Mapping[str, Any]) -> JSON:
    """Objects are merged and lists joined; anything else is replaced."""
    found = dict(under)
    for name, value in over.items():
        before = found.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            found[name] = merged(cast("JSON", before), cast("JSON", value))
        elif isinstance(before, list) and isinstance(value, list):
            found[name] = [*cast("list[Any]", before), *cast("list[Any]", value)]
        else:
            found[name] = value
    return found


def class_name(status: str) -> str:
    return "".join(word.capitalize() for word in status.split("_"))


def error_in(error: JSON) -> ProviderError:
    """An error in an answer with status 200, or in the middle of a stream."""
    code = error.get("code")
    if isinstance(code, int) and 400 <= code < 600:
        return api_failure(code, error.get("status"), error.get("message"), error.get("details"), {})
    return incomplete(f"it holds an error: {str(error.get('message') or error)[:300]}")


def api_failure(code: int, status: Any, message: Any, details: Any, headers: Mapping[str, str]) -> ProviderError:
    name = status if status in _KNOWN else _STATUS_NAMES.get(code, "INTERNAL" if code >= 500 else "UNKNOWN")
    known = [as_dict(detail) for detail in as_list(details)]
    hint = _KEY_HINT if any(detail.get("reason") == "API_KEY_INVALID" for detail in known) else _HINTS.get(code, "")
    words = str(message or "no reason given")[:1_000].rstrip(". \n")
    return ProviderError(
        f"status {code} {name}: {words}. {hint}".rstrip(),
        type=class_name(name),
        status=code,
        retry_after=retry_after(headers) or _retry_info(known),
    )


def _retry_info(details: list[JSON]) -> timedelta | None:
    """When to ask again, in the words of `google.rpc.RetryInfo`: `13s`."""
    delays = (detail["retryDelay"] for detail in details if isinstance(detail.get("retryDelay"), str))
    delay = next(delays, None)
    return None if delay is None else retry_after({"retry-after": str(delay).removesuffix("s")})
