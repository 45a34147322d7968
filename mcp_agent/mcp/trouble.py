"""What went wrong with one operation of a downstream server, in this package's terms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import httpx2
from mcp import MCPError
from mcp_types import CONNECTION_CLOSED, INTERNAL_ERROR, INVALID_REQUEST, REQUEST_TIMEOUT
from pydantic import ValidationError

from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.failures import error_text
from mcp_agent.mcp.transport import Notes


@dataclass(frozen=True, slots=True)
class Trouble:
    """Attributes:
    what: The predicate of a sentence about the operation.
    type: Of the error.
    retryable: Whether the same operation may succeed later.
    broken: Whether the connection is of no use any more.
    unsure: Whether the server may have carried the operation out all the same.
    retry_after: When the server wants to be asked again.
    """

    what: str
    type: str = "DownstreamUnavailable"
    retryable: bool = True
    broken: bool = False
    unsure: bool = False
    retry_after: timedelta | None = None


# The SDK takes no more over SSE, and ends the connection.
TOO_LARGE = Trouble(
    "was cut short by a message above 1 MB, which SSE cannot bring: ask for less, or use `transport: streamable_http`",
    "DownstreamTooLarge",
    retryable=False,
)


# What the SDK's servers say where code for the older protocol asks in the middle of a call of the newest.
_NO_WAY_BACK = "no back-channel"


def as_trouble(error: BaseException, noted: Notes, *, ended: bool) -> Trouble:
    """What an error of the SDK's client means. `ended`: the connection is closed; `noted`: what HTTP said.

    Types are `DownstreamUnavailable`, `DownstreamUnauthorized` and `DownstreamError` (the server refuses, or makes no sense).
    """
    if isinstance(noted.error, WorkflowApplicationError):  # no token, so nothing was sent
        return Trouble(
            noted.error.message.rstrip("."), noted.error.type, not noted.error.non_retryable, True, False,
            noted.error.next_retry_delay,
        )  # fmt: skip
    if noted.error is not None:
        unsure = not isinstance(noted.error, httpx2.ConnectError | httpx2.ConnectTimeout)
        return Trouble(f"broke off: {type(noted.error).__name__}: {error_text(noted.error)}", broken=True, unsure=unsure)
    if isinstance(error, httpx2.HTTPStatusError):
        noted.status = error.response.status_code
    if noted.status is not None and noted.status >= 400:
        return _refused(noted, error)
    if ended or _is_own(error, CONNECTION_CLOSED, "Connection closed"):
        return Trouble("was cut short: the server closed its connection", broken=True, unsure=True)
    if isinstance(error, MCPError) and not _is_own(error, REQUEST_TIMEOUT, "timed out"):
        hint = ": set `protocol: legacy`, with which it can ask" if _NO_WAY_BACK in error.message else ""
        return Trouble(f"was refused: {error_text(error)} (code {error.code}){hint}", "DownstreamError", retryable=False)
    if isinstance(error, RuntimeError | ValidationError):  # the SDK's checks of what the server answered
        return Trouble(f"was answered with what does not fit: {error_text(error)}", "DownstreamError", retryable=False)
    return Trouble(f"broke off: {type(error).__name__}: {error_text(error)}", broken=True, unsure=True)


def _is_own(error: BaseException, code: int, words: str) -> bool:
    """Whether the SDK's client says so itself: servers answer with the same codes, and for reasons of their own."""
    return isinstance(error, MCPError) and error.code == code and error.message.endswith(words)


def _refused(noted: Notes, error: BaseException) -> Trouble:
    status = noted.status or 0
    if status in (401, 403):
        what = f"was refused with status {status}: its credentials (`auth`, `headers`) are not taken, so renew them"
        return Trouble(what, "DownstreamUnauthorized", retryable=False)
    after = None if noted.retry_after is None else timedelta(seconds=noted.retry_after)
    if status == 404 and isinstance(error, MCPError) and error.code == INVALID_REQUEST:
        return Trouble("met a session that the server has forgotten", broken=True)
    if status == 429 or status >= 500:
        return Trouble(f"was answered with status {status}", unsure=status not in (429, 503), retry_after=after)
    if isinstance(error, MCPError) and error.code not in (INTERNAL_ERROR, INVALID_REQUEST):
        return Trouble(
            f"was refused with status {status}: {error_text(error)} (code {error.code})", "DownstreamError", retryable=False
        )
    return Trouble(f"was answered with status {status}", "DownstreamError", retryable=False)
