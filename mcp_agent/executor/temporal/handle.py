"""One run on Temporal, seen from outside."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from temporalio.client import WorkflowFailureError
from temporalio.client import WorkflowHandle as TemporalHandle
from temporalio.service import RPCError, RPCStatusCode

from mcp_agent.errors import NotFound
from mcp_agent.executor.runs import RunState
from mcp_agent.executor.temporal.calls import UNREACHABLE
from mcp_agent.executor.temporal.endings import ending
from mcp_agent.executor.temporal.refusals import DENIED, denied
from mcp_agent.executor.temporal.service import is_namespace_missing
from mcp_agent.executor.workflow import WorkflowResult

if TYPE_CHECKING:
    from mcp_agent.executor.temporal.executor import TemporalExecutor

logger = logging.getLogger(__name__)

AWAY = 1.0  # seconds, before a Temporal that does not answer is asked again
AWAY_DENIED = 10.0  # before one that refuses the key is: it may be renewed


class TemporalRunHandle:
    """A run on Temporal. Satisfies `WorkflowHandle`.

    Args:
        executor: The engine.
        run_id: The public id.
        workflow: What the run must be a run of; `None` for any.
        known: Whether it is known to be that.
    """

    def __init__(self, executor: TemporalExecutor, run_id: str, workflow: str | None, *, known: bool = False) -> None:
        self._executor = executor
        self._run_id = run_id
        self._workflow = workflow
        self._known = known or workflow is None

    @property
    def id(self) -> str:
        return self._run_id

    @property
    def run_id(self) -> str:
        return self._run_id

    @property
    def temporal(self) -> TemporalHandle[Any, Any]:
        """Temporal's own handle."""
        return self._executor.client.get_workflow_handle(self._run_id)

    async def result(self) -> WorkflowResult[Any]:
        result_type = self._executor.result_type(self._workflow)
        handle: Any = self._executor.client.get_workflow_handle(self._run_id, result_type=result_type)
        warning = asyncio.create_task(self._executor.warn_if_unserved(self._run_id))
        try:
            return await self._result(handle)
        finally:
            warning.cancel()

    async def _result(self, handle: Any) -> WorkflowResult[Any]:
        while True:
            try:
                return await handle.result()
            except WorkflowFailureError as error:
                raise ending(self._run_id, error.cause) from error
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND and not is_namespace_missing(error):
                    raise NotFound(f"There is no run `{self._run_id}`. {self._executor.kept}") from None
                if error.status in DENIED:
                    logger.warning("run %s is waited for: %s", self._run_id, denied(error))
                elif error.status not in UNREACHABLE and not is_namespace_missing(error):
                    raise
                await asyncio.sleep(AWAY_DENIED if error.status in DENIED else AWAY)

    async def signal(self, name: str, *args: Any) -> None:
        await self._check_workflow()
        self._executor.check_arguments(self._workflow, "signal", name, args)
        await self._executor.signal_run(self._run_id, name, args)

    async def query(self, name: str, *args: Any) -> Any:
        await self._check_workflow()
        self._executor.check_arguments(self._workflow, "query", name, args)
        return await self._executor.query_run(self._run_id, name, args)

    async def update(self, name: str, *args: Any) -> Any:
        await self._check_workflow()
        self._executor.check_arguments(self._workflow, "update", name, args)
        return await self._executor.update_run(self._run_id, name, args)

    async def cancel(self, reason: str | None = None) -> None:
        await self._check_workflow()
        await self._executor.cancel_run(self._run_id, reason)

    async def terminate(self, reason: str | None = None) -> None:
        await self._check_workflow()
        await self._executor.terminate_run(self._run_id, reason)

    async def describe(self) -> RunState:
        await self._check_workflow()
        return await self._executor.describe_run(self._run_id)

    async def _check_workflow(self) -> None:
        if self._known:
            return
        if await self._executor.workflow_of(self._run_id) != self._workflow:
            raise NotFound(f"There is no run `{self._run_id}` of `{self._workflow}`.")
        self._known = True
