"""Log lines as JSON, for machines that collect them: one object a line, with what it is about."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json

from mcp_agent.executor.lines import LINE, run_of
from mcp_agent.executor.runtime import current_or_none
from mcp_agent.executor.step_context import current_step

_IDS = ("run_id", "workflow", "step", "attempt")


class JSONFormatter(logging.Formatter):
    """Args:
    masked: Takes secrets out of what is added here; the message has been through it.
    """

    def __init__(self, masked: Callable[[str], str]) -> None:
        super().__init__()
        self._masked = masked

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._message(record),
            **about(record),
            **_trace(),
        }
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["exception"] = self._masked(record.exc_text)
        return to_json(line).decode()

    def _message(self, record: logging.LogRecord) -> str:
        """Temporal's loggers put what a line is about behind its text; here that has fields of its own."""
        written = getattr(record, LINE, None)
        return record.getMessage() if written is None else self._masked(written)


def about(record: logging.LogRecord) -> dict[str, Any]:
    """The run, and the attempt of a step, that a line is written in or says that it is about."""
    found: dict[str, Any] = {}
    run, step = current_or_none(), current_step()
    if run is not None:
        found = {"run_id": run.info.run_id, "workflow": run.info.workflow}
    elif step is not None:
        found = {"run_id": step.run_id, "workflow": step.workflow, "step": step.step, "attempt": step.attempt}
    run_id = run_of(record)
    if run_id is not None:
        found.setdefault("run_id", run_id)
    said = {name: getattr(record, name) for name in _IDS if hasattr(record, name)}
    return {**found, **said}


def _trace() -> dict[str, str]:
    """The ids of the span that is open here; OpenTelemetry is not imported for that."""
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None:
        return {}
    span = api.get_current_span().get_span_context()
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"} if span.is_valid else {}
