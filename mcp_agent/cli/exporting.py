"""What `export` does: closed runs as files, to keep them for longer than Temporal does."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from temporalio.client import WorkflowExecution

from mcp_agent.app import MCPApp
from mcp_agent.cli.loading import age
from mcp_agent.errors import ConfigError, NotFound
from mcp_agent.executor.records import RecordPage
from mcp_agent.executor.registry import find_workflow
from mcp_agent.executor.temporal.calls import reaching, reaching_run
from mcp_agent.executor.temporal.executor import TemporalExecutor
from mcp_agent.server.run import show

RECORDS, HISTORIES = "runs", "histories"
LONGEST_NAME = 150


async def exported(app: MCPApp, folder: Path, workflows: tuple[str, ...], since: str | None) -> str:
    """Writes the closed runs that are not in the folder yet. What was done, in a sentence.

    Raises:
        ConfigError: The engine keeps nothing, or the folder cannot be written to.
        NotFound: The app has no such workflow.
        EngineUnavailable: Temporal does not answer.
    """
    if app.settings.execution_engine != "temporal":
        raise ConfigError("`export` needs `execution_engine: temporal`: in-process nothing is kept.")
    names = [find_workflow(app, name).name for name in workflows] or list(app.workflows)
    begun = None if since is None else datetime.now(UTC) - age("--since", since)
    try:
        for part in (RECORDS, HISTORIES):
            (folder / part).mkdir(parents=True, exist_ok=True)
        async with app.open_executor() as executor:
            assert isinstance(executor, TemporalExecutor)
            return await _export(executor, folder, _query(executor.task_queue, names, begun))
    except OSError as error:
        raise ConfigError(f"`{error.filename or folder}` (`--to`) cannot be written: {error.strerror}.") from None


def _query(task_queue: str, names: list[str], since: datetime | None) -> str:
    quoted = ", ".join(f"'{name}'" for name in names)
    query = f"TaskQueue = '{task_queue}' AND WorkflowType IN ({quoted}) AND ExecutionStatus NOT IN ('Running', 'ContinuedAsNew')"
    return query if since is None else f"{query} AND CloseTime >= '{since.isoformat()}'"


async def _export(executor: TemporalExecutor, folder: Path, query: str) -> str:
    written = there = 0
    async with reaching("listing"):
        async for run in executor.client.list_workflows(query):
            name = f"{quote(run.id, safe='')[:LONGEST_NAME]}~{run.run_id}.json"
            if (folder / HISTORIES / name).exists():  # it is written last
                there += 1
                continue
            try:
                _write(folder / RECORDS / name, await _record(executor, run))
                _write(folder / HISTORIES / name, await _history(executor, run))
            except NotFound:  # its retention has ended meanwhile
                continue
            written += 1
    return f"{written} runs written to {folder}, {there} were there"


async def _record(executor: TemporalExecutor, run: WorkflowExecution) -> str:
    """The run as clients see it, with its log and transcript."""
    state = await executor.describe_run(run.id)
    if state.engine_run_id != run.run_id:  # its id was used again
        return json.dumps({"run_id": run.id, "temporal_run_id": run.run_id, "status": str(run.status)}, indent=2)
    told = show(state, None, {}, whole=True).dump()
    log, transcript = await _pages(executor.run_log, run.id), await _pages(executor.run_transcript, run.id)
    return json.dumps({**told, "log": log, "transcript": transcript}, indent=2)


async def _pages(read: Callable[[str, str | None], Awaitable[RecordPage[Any]]], run_id: str) -> list[Any]:
    entries: list[Any] = []
    cursor: str | None = None
    while True:
        page = await read(run_id, cursor)
        entries += [entry.model_dump(mode="json", exclude_none=True) for entry in page.entries]
        cursor = page.cursor
        if cursor is None:
            return entries


async def _history(executor: TemporalExecutor, run: WorkflowExecution) -> str:
    async with reaching_run(run.id):
        return (await executor.client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()).to_json()


def _write(file: Path, text: str) -> None:
    """All of it or nothing; only for this user: it is in clear."""
    part = file.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_text(text, encoding="utf-8")
    part.replace(file)
