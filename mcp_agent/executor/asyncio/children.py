"""Children of in-process runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mcp_agent.executor.asyncio.endings import ending
from mcp_agent.executor.children import ChildHandle
from mcp_agent.executor.workflow_result import WorkflowResult

if TYPE_CHECKING:
    from mcp_agent.executor.asyncio.run import InProcessRun


class InProcessChild(ChildHandle):
    """A child in the same process."""

    def __init__(self, run: InProcessRun) -> None:
        self._run = run

    @property
    def id(self) -> str:
        return self._run.info.run_id

    async def result(self) -> WorkflowResult[Any]:
        try:
            await self._closed()
        except asyncio.CancelledError:
            self._run.cancel()
            await self._closed()
            raise
        result = self._run.result()
        if result is None:
            raise ending(self._run.state())
        return result

    async def _closed(self) -> None:
        while not self._run.closed:
            await self._run.change()

    async def signal(self, name: str, *args: Any) -> None:
        self._run.signal(name, args)

    def cancel(self) -> None:
        self._run.cancel()
