"""Measures the requests of MCP clients: the outermost middleware of the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types.methods import SPEC_CLIENT_METHODS
from pydantic import ValidationError

from mcp_agent.observability.metrics import OTHER, REQUEST_SECONDS, REQUESTS, Metrics

_ERRORS = {-32700: "parse_error", -32600: "invalid_request", -32601: "method_not_found", -32602: "invalid_params"}
METHODS = SPEC_CLIENT_METHODS | {"tasks/get", "tasks/update", "tasks/cancel"}


class MeasuredRequests:
    """Args:
    metrics: Where it goes.
    is_tool: Whether there is a tool of that name: what clients make up is no label.
    """

    def __init__(self, metrics: Metrics, is_tool: Callable[[str], bool]) -> None:
        self._metrics = metrics
        self._is_tool = is_tool

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.request_id is None:
            return await call_next(ctx)
        begun, outcome = time.perf_counter(), "internal_error"
        try:
            result = await call_next(ctx)
            outcome = _outcome(result)
            return result
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except MCPError as error:
            outcome = _code(error.error.data) or _ERRORS.get(error.error.code, "error")
            raise
        except ValidationError:
            outcome = "invalid_params"
            raise
        finally:
            method = ctx.method if ctx.method in METHODS else OTHER
            tool = self._tool(ctx)
            self._metrics.add(REQUESTS, method=method, tool=tool, outcome=outcome)
            self._metrics.observe(REQUEST_SECONDS, time.perf_counter() - begun, method=method, tool=tool)

    def _tool(self, ctx: ServerRequestContext[Any, Any]) -> str:
        name = ctx.params.get("name") if ctx.method == "tools/call" and ctx.params else None
        if name is None:
            return ""
        return name if isinstance(name, str) and self._is_tool(name) else OTHER


def _outcome(result: Any) -> str:
    """`ok`, or the code of a call that was refused; the run of a call that failed is an `error`."""
    if not isinstance(result, dict):
        return "ok"
    answer = cast("dict[str, Any]", result)
    if not answer.get("isError"):
        return "ok"
    return _code(answer.get("structuredContent")) or "error"


def _code(told: Any) -> str | None:
    """The code of a refusal, where there is one."""
    code = cast("dict[str, Any]", told).get("code") if isinstance(told, dict) else None
    return code if isinstance(code, str) else None
