"""`Run`: what clients see of a run, field by field as in `contract.md`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from mcp_agent.executor.definition import SignalInfo, WorkflowDefinition
from mcp_agent.executor.runs import CodeVersion, PendingInput, Progress, RunFailure, RunState, RunStatus, RunUsage, StepState

INLINE_LIMIT = 50 * 1024


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True)


class NextAction(_Shown):
    """The tool to call next, when, and why."""

    tool: str
    arguments: dict[str, Any]
    after_seconds: float = 0
    why: str


class Run(_Shown):
    """A run. Ids are stable for its whole life; times are RFC 3339."""

    run_id: str
    temporal_run_id: str | None
    temporal_url: str | None = None
    workflow: str
    existing: bool = False
    status: RunStatus
    cancel_requested: bool = False
    started_at: datetime
    updated_at: datetime
    closed_at: datetime | None = None
    expires_at: datetime | None = None
    result: Any = None
    result_uri: str | None = None
    truncated: bool | None = None
    error: RunFailure | None = None
    pending_inputs: list[PendingInput] = []
    signals: list[SignalInfo] = []
    steps: list[StepState] | None = None
    progress: Progress | None = None
    usage: RunUsage | None = None
    version: CodeVersion | None = None
    next_action: NextAction | None

    def dump(self) -> dict[str, Any]:
        """As JSON data, without fields that say nothing."""
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {**data, "temporal_run_id": self.temporal_run_id, "next_action": data.get("next_action")}


def run_uri(run_id: str, record: str | None = None) -> str:
    """The address of a run, or of one of its records. Whatever a client's key holds is one segment of it."""
    return f"run://{quote(run_id, safe='')}" + (f"/{record}" if record else "")


def show(
    state: RunState,
    definition: WorkflowDefinition | None,
    tools: Mapping[str, str],
    *,
    existing: bool = False,
    whole: bool = False,
) -> Run:
    """What a client sees of `state`.

    Args:
        state: The engine's word.
        definition: The run's workflow, for its signals.
        tools: The names of the tools `get_status` and `resume` for this run.
        existing: An idempotency key met this run.
        whole: Give the result even if it is large.
    """
    large = not whole and state.result is not None and len(to_json(state.result)) > INLINE_LIMIT
    return Run(
        run_id=state.run_id,
        temporal_run_id=state.engine_run_id,
        temporal_url=state.page,
        workflow=state.workflow,
        existing=existing,
        status=state.status,
        cancel_requested=state.cancel_requested,
        started_at=state.started_at,
        updated_at=state.updated_at,
        closed_at=state.closed_at,
        expires_at=state.expires_at,
        result=None if large else state.result,
        result_uri=run_uri(state.run_id) if large else None,
        truncated=True if large else None,
        error=state.error,
        pending_inputs=list(state.pending_inputs),
        signals=[] if definition is None or state.closed else definition.signals,
        steps=_steps(state) or None,
        progress=state.progress,
        usage=state.usage,
        version=state.version,
        next_action=_next_action(state, tools),
    )


def _steps(state: RunState) -> list[StepState]:
    """What is under way, with the ends of answers that grow: together no more than is shown of a result."""
    share = INLINE_LIMIT // max(len(state.steps), 1)
    return [
        step if step.partial_text is None else step.model_copy(update={"partial_text": step.partial_text[-share:]})
        for step in state.steps
    ]


def _next_action(state: RunState, tools: Mapping[str, str]) -> NextAction | None:
    if state.closed:
        return None
    if state.status == "waiting_for_input":
        request = state.pending_inputs[0]
        return NextAction(
            tool=tools["resume"],
            arguments={"run_id": state.run_id, "request_id": request.request_id},
            why="A person must answer: ask the user first, and give the answer as `payload`.",
        )
    arguments = {"run_id": state.run_id, "wait_seconds": 30}
    if state.status == "blocked":
        return NextAction(
            tool=tools["get_status"],
            arguments=arguments,
            after_seconds=30,
            why="It is blocked until somebody mends the cause.",
        )
    return NextAction(tool=tools["get_status"], arguments=arguments, why="It is under way.")
