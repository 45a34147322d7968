"""The steps of a run, read from its own history."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.common import RawValue

from mcp_agent.executor.records import StepTold


def time_of(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)


class RunHistory:
    """Satisfies `StepHistory`: what the run's history holds of its steps, oldest first.

    Attributes:
        run_id: Temporal's id of this run of the chain.
        continued_by: That of the run that goes on; known when all events were read.
    """

    def __init__(self, client: Client, workflow_id: str, run_id: str | None) -> None:
        self.run_id = run_id
        self.continued_by = ""
        self._client = client
        self._handle = client.get_workflow_handle(workflow_id, run_id=run_id)

    async def events(self) -> AsyncIterator[HistoryEvent]:
        """All of them, fetched page by page."""
        async for event in self._handle.fetch_history_events():
            kind = event.WhichOneof("attributes")
            if kind is not None:
                self.continued_by = getattr(getattr(event, kind), "new_execution_run_id", "") or self.continued_by
            yield event

    async def told(self, *steps: str) -> AsyncIterator[StepTold]:
        """The steps of these names."""
        scheduled: dict[int, tuple[str, bytes]] = {}
        async for event in self.events():
            if event.HasField("activity_task_scheduled_event_attributes"):
                made = event.activity_task_scheduled_event_attributes
                if made.activity_type.name in steps:
                    asked = scheduled[event.event_id] = made.activity_type.name, await self._first(made.input)
                    yield StepTold(time_of(event.event_time), *asked)
            elif event.HasField("activity_task_completed_event_attributes"):
                done = event.activity_task_completed_event_attributes
                if done.scheduled_event_id in scheduled:
                    asked = scheduled.pop(done.scheduled_event_id)
                    yield StepTold(time_of(event.event_time), *asked, await self._first(done.result))

    async def completed(self, *steps: str) -> AsyncIterator[tuple[str, bytes, bytes]]:
        async for told in self.told(*steps):
            if told.result is not None:
                yield told.step, told.argument, told.result

    async def arguments(self, step: str) -> AsyncIterator[bytes]:
        async for told in self.told(step):
            if told.result is None:
                yield told.argument

    async def _first(self, payloads: Payloads) -> bytes:
        stored: list[Payload] = list(payloads.payloads[:1])
        read: list[RawValue] = await self._client.data_converter.decode(stored, [RawValue])
        return read[0].payload.data if read else b"null"
