"""Children of runs on Temporal."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import anyio
from temporalio import workflow
from temporalio.exceptions import ChildWorkflowError, FailureError

from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.children import ChildHandle, ParentClosePolicy
from mcp_agent.executor.temporal.endings import ending
from mcp_agent.executor.temporal.operations import Settling, settled
from mcp_agent.executor.workflow_result import WorkflowResult

PARENT_CLOSE: dict[ParentClosePolicy, workflow.ParentClosePolicy] = {
    "terminate": workflow.ParentClosePolicy.TERMINATE,
    "abandon": workflow.ParentClosePolicy.ABANDON,
    "request_cancel": workflow.ParentClosePolicy.REQUEST_CANCEL,
}


class TemporalChild(ChildHandle):
    """A child on Temporal, seen from its parent."""

    def __init__(self, handle: workflow.ChildWorkflowHandle[Any, Any], settling: Settling) -> None:
        self._handle = handle
        self._settling = settling

    @property
    def id(self) -> str:
        return self._handle.id

    async def result(self) -> WorkflowResult[Any]:
        try:
            return await settled(self._handle, self._handle.cancel, self._settling)
        except ChildWorkflowError as error:
            raise ending(self.id, error.cause or error) from None

    async def ended(self) -> None:
        """Cancels it, where nobody waits for it any more, and waits for its end."""
        self._handle.cancel()
        self._settling.add(self._handle)
        with anyio.CancelScope(shield=True):
            await asyncio.wait([self._handle])
        if not self._handle.cancelled():
            self._handle.exception()  # else asyncio would report that nobody has asked for it

    async def signal(self, name: str, *args: Any) -> None:
        await signalled(self._handle.signal(name, args=list(args)), self.id)

    def cancel(self) -> None:
        self._handle.cancel()


async def signalled(sending: Coroutine[Any, Any, None], run_id: str) -> None:
    """Waits until a signal to another run is delivered. Raises WorkflowApplicationError, type `NotFound`."""
    try:
        await settled(asyncio.create_task(sending))
    except FailureError as error:
        raise WorkflowApplicationError(
            f"Run `{run_id}` takes no signals: {error.message}.", type="NotFound", non_retryable=True
        ) from None
