"""What every request passes before its handler: it is readable, its sender known where there is auth, and its cost counted."""

from __future__ import annotations

import logging
from typing import Any, cast

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.context import CallNext, HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST
from pydantic import ValidationError
from pydantic_core import to_json

from mcp_agent.errors import RateLimited
from mcp_agent.executor.failures import error_text
from mcp_agent.executor.problems import describe_problems
from mcp_agent.server.callers import current_caller
from mcp_agent.server.entries import Request, protocol_error
from mcp_agent.server.limits import Limits

logger = logging.getLogger(__name__)

COUNTED = {
    "completion/complete",
    "prompts/get",
    "resources/read",
    "resources/subscribe",
    "tasks/cancel",
    "tasks/get",
    "tasks/update",
}
"""Beside `tools/call`, which is counted where a refusal is the call's result; streams have bounds of their own."""

MOST_TOLD = 2_000
"""Characters of what is wrong with parameters."""

STATE_REFUSED = (
    "Invalid or expired requestState: it was not given to this call, by a server with these keys, in the last 7 days. Nothing "
    "was changed. If a run asked, it still waits: find it with `workflows-runs-list` and answer with its `-resume` tool; do not "
    "start it again."
)


class Admission:
    """Middleware of the SDK's server.

    Args:
        needs_token: Whether nobody may come over HTTP without a token.
        limits: What each caller may do.
    """

    def __init__(self, needs_token: bool, limits: Limits) -> None:
        self._needs_token = needs_token
        self._limits = limits

    async def __call__(self, ctx: Request, call_next: CallNext) -> HandlerResult:
        """Raises MCPError for a request that may not pass, and for whatever its handler did not expect."""
        if self._needs_token and ctx.request is not None and get_access_token() is None:
            raise _unauthorized(ctx.method)
        _check_readable(ctx.params)
        try:
            if ctx.method not in COUNTED:
                return await call_next(ctx)
            with self._limits.call(current_caller().tag):
                return await call_next(ctx)
        except RateLimited as error:
            raise protocol_error(error, retry_after_seconds=error.retry_after_seconds) from None
        except ValidationError as error:
            raise _unfitting(error) from None
        except MCPError as error:
            raise _of_state(error) from None
        except Exception as error:
            logger.exception("`%s` failed", ctx.method)
            raise _unexpected(error) from None


def _check_readable(params: Any) -> None:
    """Raises MCPError for what Python's JSON lets pass and nothing else does: half characters, and what is nested very deep."""
    try:
        to_json(params)
    except ValueError as error:
        raise MCPError(INVALID_PARAMS, f"The parameters cannot be read: {error}. Nothing was changed.") from None


def _unauthorized(method: str) -> MCPError:
    """The gate before the endpoints answers with 401; this is for a server that somebody put behind none."""
    data: dict[str, Any] = {"code": "unauthorized", "retryable": False}
    return MCPError(INVALID_REQUEST, f"`{method}` needs a token, and none was shown. Nothing was changed.", data)


def _unfitting(error: ValidationError) -> MCPError:
    """Names every parameter that is not as the method has it; the SDK would say no more than that there is one."""
    problems = describe_problems(error).replace("`params.", "`")  # the SDK checks some methods' requests as a whole
    message = f"{problems[:MOST_TOLD]}. Nothing was changed."
    return MCPError(INVALID_PARAMS, message, {"code": "invalid_arguments", "retryable": False})


def _of_state(error: MCPError) -> MCPError:
    """What the SDK says of a state that it cannot open tells nobody how to go on; other errors are passed on."""
    about: Any = error.error.data
    if not isinstance(about, dict) or cast("dict[str, Any]", about).get("reason") != "invalid_request_state":
        return error
    return MCPError(error.error.code, STATE_REFUSED, {**about, "code": "invalid_arguments", "retryable": False})


def _unexpected(error: Exception) -> MCPError:
    data: dict[str, Any] = {"code": "internal_error", "retryable": False}
    return MCPError(INTERNAL_ERROR, f"{type(error).__name__}: {error_text(error)}", data)
