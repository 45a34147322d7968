"""Removes large values that no run needs any more: `mcp-agent storage gc`.

A run needs what its history names for as long as Temporal keeps it: while it is open, and then for the namespace's retention.
So every history of the namespace is read, and what none of them names goes, if nobody has put it for a while: a value is put
before the event that names it is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message
from temporalio.client import Client, WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from mcp_agent.executor.temporal.blobs.blob import StoredBlob
from mcp_agent.executor.temporal.blobs.driver import DIGEST, NAME, BlobDriver, blob_key, prefix_of
from mcp_agent.executor.temporal.blobs.owner import OWNER, claim_store
from mcp_agent.executor.temporal.blobs.references import reference_of
from mcp_agent.executor.temporal.payloads_in import payloads_in

SHORTEST = timedelta(hours=1)
"""What was put later may be named by an event that is not written yet."""

AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Collected:
    """What was there, and what went, or would go.

    Attributes:
        kept: Values.
        removed: Values.
        removed_bytes: Of them.
        runs: Whose histories were read.
    """

    kept: int
    removed: int
    removed_bytes: int
    runs: int


async def collect(client: Client, driver: BlobDriver, older_than: timedelta, *, dry_run: bool = False) -> Collected:
    """Removes the values of the client's namespace that no run needs.

    Args:
        client: Sees all runs.
        driver: Of the store.
        older_than: What was put since is kept; at least `SHORTEST`.
        dry_run: Only count.

    Raises:
        ConfigError: The store is another Temporal's.
        StorageUnavailable, RPCError: Nothing more is removed.
    """
    await claim_store(client, driver)
    before = datetime.now(UTC) - max(older_than, SHORTEST)
    prefix = prefix_of(driver.namespace)
    stored = await asyncio.to_thread(lambda: [blob for blob in driver.blobs.listed(prefix) if blob.key != prefix + OWNER])
    old = [blob for blob in stored if blob.used_at < before]
    needed, runs = await _needed(client, driver) if old else (frozenset[str](), 0)
    unneeded = [blob for blob in old if blob.key not in needed]
    removed = unneeded if dry_run else await asyncio.to_thread(lambda: [b for b in unneeded if _remove(driver, b, before)])
    return Collected(len(stored) - len(removed), len(removed), sum(blob.size for blob in removed), runs)


def _remove(driver: BlobDriver, blob: StoredBlob, before: datetime) -> bool:
    """Removes it if nobody has put it again since it was listed."""
    used_at = driver.blobs.used_at(blob.key)
    if used_at is None or used_at >= before:
        return False
    driver.blobs.delete(blob.key)
    return True


async def _needed(client: Client, driver: BlobDriver) -> tuple[frozenset[str], int]:
    """The names of all values that a run or a schedule of the namespace may still read, and how many runs there are."""
    found: set[str] = set()
    runs = 0
    slots = asyncio.Semaphore(AT_ONCE)
    async with asyncio.TaskGroup() as tasks:
        async for run in client.list_workflows():
            runs += 1
            await slots.acquire()
            reading = tasks.create_task(_note_run(client, driver, run, found))
            reading.add_done_callback(lambda _: slots.release())
        async for schedule in await client.list_schedules():
            description = await client.get_schedule_handle(schedule.id).describe()
            await _note(client, driver, [description.raw_description], found)
    return frozenset(found), runs


async def _note_run(client: Client, driver: BlobDriver, run: WorkflowExecution, found: set[str]) -> None:
    handle = client.get_workflow_handle(run.id, run_id=run.run_id)
    try:
        description = await handle.describe()  # the heartbeats of its steps are nowhere else
        await _note(client, driver, [description.raw_description], found)
        async for event in handle.fetch_history_events():
            await _note(client, driver, [event], found)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # its retention has ended meanwhile
            raise


async def _note(client: Client, driver: BlobDriver, messages: Iterable[Message], found: set[str]) -> None:
    async for digest in _digests(client, messages):
        found.add(blob_key(driver.namespace, digest))


async def _digests(client: Client, messages: Iterable[Message]) -> AsyncIterator[str]:
    for message in messages:
        for payload in payloads_in(message):
            reference = await reference_of(payload, client.data_converter.payload_codec)
            if reference is not None and reference.driver_name == NAME:
                yield reference.claim_data[DIGEST]
