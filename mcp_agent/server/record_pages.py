"""What a run has recorded, as the text of a resource."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from pydantic_core import to_json

from mcp_agent.executor.records import RecordPage
from mcp_agent.executor.runs import RunState
from mcp_agent.observability.logging import Redact
from mcp_agent.server.run import Run, run_uri

LARGEST_RESULT = 2_000_000
"""Bytes of JSON. What an engine stores is smaller; only a call of a function in this process may return more."""


def run_text(run: Run) -> str:
    """The run with its whole result."""
    if run.result is not None and len(to_json(run.result)) > LARGEST_RESULT:
        run = run.model_copy(update={"result": None, "truncated": True})
    return json.dumps(run.dump(), ensure_ascii=False, indent=1)


def page_text(state: RunState, record: str, page: RecordPage[Any], masked: Callable[[str], str]) -> str:
    """A page of a record. `next` is the address of the page after it, `note` says what is missing."""
    entries = [entry.model_dump(mode="json", exclude_none=True) for entry in page.entries]
    data: dict[str, Any] = {"run_id": state.run_id, "workflow": state.workflow, "status": state.status, "entries": entries}
    if page.note is not None:
        data["note"] = page.note
    data["next"] = None if page.cursor is None else f"{run_uri(state.run_id, record)}?cursor={page.cursor}"
    return masked(to_json(data).decode())


def masking(secrets: Iterable[str]) -> Callable[[str], str]:
    """Masks secrets in JSON texts, where some of their characters may be escaped."""
    given = list(secrets)
    return Redact([*given, *(json.dumps(secret, ensure_ascii=False)[1:-1] for secret in given)]).masked
