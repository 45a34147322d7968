"""Temporal's RPC errors as this package's."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from temporalio.service import RPCError, RPCStatusCode

from mcp_agent.errors import EngineUnavailable, InvalidArguments, NotFound, RateLimited
from mcp_agent.executor.temporal.refusals import DENIED, denied
from mcp_agent.executor.temporal.service import is_namespace_missing

UNREACHABLE = {RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED}
_OVER_LIMIT = "exceeded workflow execution limit"


@asynccontextmanager
async def reaching(what: str, kept: str = "") -> AsyncGenerator[None, None]:
    """Calls in the block raise this package's errors. An RPC error says nothing about a run.

    Args:
        what: What is called, such as "run `x`".
        kept: How long it is kept, in a sentence.

    Raises:
        NotFound, InvalidArguments, RateLimited, EngineUnavailable
    """
    try:
        yield
    except RPCError as error:
        if is_namespace_missing(error):
            raise unreachable(error) from error
        if error.status is RPCStatusCode.NOT_FOUND:
            raise NotFound(f"There is no {what}. {kept}".strip()) from None
        if error.status is RPCStatusCode.RESOURCE_EXHAUSTED or _OVER_LIMIT in str(error):
            raise RateLimited(
                f"Temporal allows no more for {what} ({error}): wait, or have its code call `workflow.continue_as_new`."
            ) from None
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            raise InvalidArguments(f"Temporal refuses the call for {what}: {error}.") from None
        if error.status in DENIED:
            raise denied(error) from error
        raise unreachable(error) from error


def reaching_run(run_id: str, kept: str = "") -> AbstractAsyncContextManager[None]:
    return reaching(f"run `{run_id}`", kept)


def unreachable(error: RPCError) -> EngineUnavailable:
    if error.status is RPCStatusCode.FAILED_PRECONDITION:
        return EngineUnavailable(f"Temporal cannot do it at the moment ({error}). Look at the status of the run, then try again.")
    return EngineUnavailable(f"Temporal does not answer ({error.status.name}: {error}). Try again.")
