"""Answers of OpenAI's APIs that are none: errors inside of them, and what is not whole."""

from __future__ import annotations

import re
from typing import Any

from mcp_agent.workflows.llm.providers.base import ProviderError
from mcp_agent.workflows.llm.providers.reading import JSON, as_dict, incomplete

UNREPEATABLE = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""Codes of errors with status 429 that waiting does not mend."""

_STATUSES = {
    **dict.fromkeys(("rate_limit_exceeded", "rate_limit_error", "requests", "tokens", *UNREPEATABLE), 429),
    **dict.fromkeys(("server_error", "internal_error", "internal_server_error", "vector_store_timeout"), 500),
    **dict.fromkeys(("server_is_overloaded", "slow_down", "overloaded", "overloaded_error", "service_unavailable"), 503),
    **dict.fromkeys(("authentication_error", "invalid_api_key"), 401),
    **dict.fromkeys(("model_not_found", "not_found_error", "DeploymentNotFound"), 404),
    "permission_error": 403,
}
_REFUSED = re.compile(
    r"^(invalid|image_|empty_image|unsupported|failed_to_download|context_length|string_above|content_|data_residency)"
    r"|_policy"
)


def not_json(section: str) -> ProviderError:
    return ProviderError(
        f"The answer is not JSON: it was cut off, or `{section}.base_url` is not the address of an API.",
        type="APIResponseValidationError",
        retryable=True,
    )


def error_in(answer: JSON) -> ProviderError:
    """The error that an answer with status 200, or a stream, holds. It counts like the HTTP error of its kind."""
    error = answer.get("error")
    if not error:
        return incomplete("it holds no output")
    found = as_dict(error)
    message = found.get("message") or error
    status = _status(found)
    if status is None:
        return incomplete(f"it holds an error: {message}")
    retryable = False if found.get("code") in UNREPEATABLE else None
    return ProviderError(f"status {status} in the answer: {message}", status=status, retryable=retryable)


def _status(error: JSON) -> int | None:
    """The HTTP status that stands for the error: some servers write it, others write a word for it."""
    for key in ("code", "status", "type"):
        status = _status_of(error.get(key))
        if status is not None:
            return status
    return None


def _status_of(value: Any) -> int | None:
    if isinstance(value, str):
        if value.isdecimal():
            return _status_of(int(value))
        return _STATUSES.get(value) or (400 if _REFUSED.search(value) else None)
    return value if isinstance(value, int) and 400 <= value < 600 else None
