"""The steps of a run, read from its own history."""

from __future__ import annotations

from collections.abc import AsyncIterator

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.client import Client


class RunHistory:
    """Satisfies `StepHistory`: what the run's history holds of its steps, oldest first."""

    def __init__(self, client: Client, workflow_id: str, run_id: str | None) -> None:
        self._client = client
        self._handle = client.get_workflow_handle(workflow_id, run_id=run_id)

    async def completed(self, *steps: str) -> AsyncIterator[tuple[str, bytes, bytes]]:
        scheduled: dict[int, tuple[str, bytes]] = {}
        async for event in self._handle.fetch_history_events():
            if event.HasField("activity_task_scheduled_event_attributes"):
                made = event.activity_task_scheduled_event_attributes
                if made.activity_type.name in steps:
                    scheduled[event.event_id] = made.activity_type.name, await self._first(made.input)
            elif event.HasField("activity_task_completed_event_attributes"):
                done = event.activity_task_completed_event_attributes
                if done.scheduled_event_id in scheduled:
                    yield *scheduled.pop(done.scheduled_event_id), await self._first(done.result)

    async def arguments(self, step: str) -> AsyncIterator[bytes]:
        async for event in self._handle.fetch_history_events():
            if event.HasField("activity_task_scheduled_event_attributes"):
                made = event.activity_task_scheduled_event_attributes
                if made.activity_type.name == step:
                    yield await self._first(made.input)

    async def _first(self, payloads: Payloads) -> bytes:
        codec = self._client.data_converter.payload_codec
        stored: list[Payload] = list(payloads.payloads[:1])
        decoded = await codec.decode(stored) if codec is not None and stored else stored
        return decoded[0].data if decoded else b"null"
