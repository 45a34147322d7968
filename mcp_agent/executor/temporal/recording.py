"""What Temporal has recorded of a run, whatever has become of its workers: page by page, with a bound on what is held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.service import RPCError, RPCStatusCode

from mcp_agent.executor.lines import Line, with_lines
from mcp_agent.executor.records import LogEntry, LogPage, Position, TranscriptEntry, TranscriptPage, counted, page_of
from mcp_agent.executor.temporal.client import RPC_TIMEOUT
from mcp_agent.executor.temporal.endings import named_failure_text
from mcp_agent.executor.temporal.history import RunHistory, time_of
from mcp_agent.executor.temporal.history_log import HistoryLog
from mcp_agent.executor.temporal.names import LOG_QUERY
from mcp_agent.workflows.llm.transcript import RESULT_STEPS, Transcript

LINES_WITHIN = timedelta(seconds=5)
"""How long a worker is waited for that has the run's lines."""
FAILING_TOLD = 20
_NO_LINES = (
    "The lines that the workflow's code wrote need a worker, and none answered in time: read it again when one serves the run."
)
_EARLIER_GONE = "What the run did before it last continued as new is no longer kept."


class Recording:
    """Args:
    client: Where runs live.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def log(self, run_id: str, cursor: str | None) -> LogPage:
        """Raises RPCError, InvalidArguments."""
        begin = Position.read(run_id, cursor)
        description = await self._client.get_workflow_handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
        begin, note = await self._begin(description, begin)
        lines, missing = await self._lines(description)
        notes = " ".join(one for one in (note, missing) if one)
        return await page_of(run_id, self._log(description, begin, lines), notes or None)

    async def transcript(self, run_id: str, cursor: str | None) -> TranscriptPage:
        """Raises RPCError, InvalidArguments."""
        begin = Position.read(run_id, cursor)
        description = await self._client.get_workflow_handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
        begin, note = await self._begin(description, begin)
        return await page_of(run_id, self._transcript(run_id, begin), note)

    async def _begin(self, description: WorkflowExecutionDescription, begin: Position) -> tuple[Position, str | None]:
        """Where to begin: at the first run of the chain, or the newest where that one is no longer kept."""
        if begin.part:
            return begin, None
        newest, first = description.run_id, description.raw_description.workflow_execution_info.first_run_id
        if first in ("", newest):
            return Position(part=newest), None
        try:
            await self._client.get_workflow_handle(description.id, run_id=first).describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return Position(part=newest), _EARLIER_GONE
        return Position(part=first), None

    async def _log(
        self, description: WorkflowExecutionDescription, begin: Position, lines: list[Line]
    ) -> AsyncIterator[tuple[LogEntry, Position]]:
        converter = self._client.data_converter
        async for run, part in _chain(self._client, description.id, begin.part):
            here = begin if run == begin.part else Position(part=run)
            entries = counted(HistoryLog(converter).entries(part.events()), here)
            if run == description.run_id:
                entries = with_lines(self._with_failing(entries, description, here), lines, here)
            async for one in entries:
                yield one

    async def _with_failing(
        self, entries: AsyncIterator[tuple[LogEntry, Position]], description: WorkflowExecutionDescription, begin: Position
    ) -> AsyncIterator[tuple[LogEntry, Position]]:
        """And, at the end, of the steps under way the last attempts that failed: the history does not tell of them yet."""
        behind = begin
        async for entry, behind in entries:
            yield entry, behind
        failing = [one for one in description.raw_description.pending_activities if one.HasField("last_failure")]
        for pending in failing[:FAILING_TOLD]:
            yield await self._failed_attempt(pending), behind

    async def _failed_attempt(self, pending: PendingActivityInfo) -> LogEntry:
        return LogEntry(
            at=time_of(pending.last_attempt_complete_time),
            what="step_attempt_failed",
            name=pending.activity_type.name,
            id=pending.activity_id,
            attempt=max(pending.attempt - 1, 1),
            message=await named_failure_text(self._client.data_converter, pending.last_failure),
        )

    async def _lines(self, description: WorkflowExecutionDescription) -> tuple[list[Line], str | None]:
        """The lines of the run's code, which its own state holds; or why there are none."""
        handle = self._client.get_workflow_handle(description.id, run_id=description.run_id)
        try:
            async with asyncio.timeout(LINES_WITHIN.total_seconds()):
                return await handle.query(LOG_QUERY, result_type=list[Line], rpc_timeout=LINES_WITHIN), None
        except (TimeoutError, RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
            return [], _NO_LINES

    async def _transcript(self, run_id: str, begin: Position) -> AsyncIterator[tuple[TranscriptEntry, Position]]:
        async for run, part in _chain(self._client, run_id, begin.part):
            here = begin if run == begin.part else Position(part=run)
            transcript = Transcript(RESULT_STEPS)
            async for one in counted(transcript.entries(part.told(*transcript.steps)), here):
                yield one


async def _chain(client: Client, run_id: str, first: str) -> AsyncIterator[tuple[str, RunHistory]]:
    """The runs of a chain from `first` on, by Temporal's ids; each is to be read before the next is asked for."""
    run = first
    while run:
        part = RunHistory(client, run_id, run)
        yield run, part
        run = part.continued_by
