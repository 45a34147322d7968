"""The first content block of every answer: a model must be able to act on the text alone (`contract.md`, "Texts")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mcp_agent.executor.elicitation import told
from mcp_agent.executor.runs import PendingInput, Progress, Receipt, RunState, StepState
from mcp_agent.server.run import Run

_SHORT = 3_000
_GROWING = 300
"""Characters of an answer that grows, from its end."""


def describe(state: RunState, run: Run, tools: Mapping[str, str]) -> str:
    """What to know and to do about a run."""
    match state.status:
        case "completed":
            return _completed(state, run)
        case "failed":
            assert state.error is not None
            return f"{_name(state)} failed ({state.error.code}): {state.error.message[:_SHORT]}"
        case "cancelled" | "terminated" | "timed_out":
            words = {"cancelled": "was cancelled", "terminated": "was terminated", "timed_out": "ran out of time"}
            why = f": {state.error.message[:_SHORT]}" if state.error is not None else "."
            return f"{_name(state)} {words[state.status]} after {duration(_seconds(state))}{why}"
        case "waiting_for_input":
            return _waiting(state, tools)
        case "blocked":
            return f"{_name(state)} is blocked: {state.blocked}"
        case "queued":
            return f"{_name(state)} is queued: no worker has taken it yet. {_ask_again(state, tools)}"
        case "running":
            return f"{_name(state)} is running ({progress(state)}). {_ask_again(state, tools)}"


def progress(state: RunState) -> str:
    """How far it is, on one line: `12 s; llm.generate, attempt 2: 429, retry in 8 s`."""
    parts = [duration(_seconds(state))]
    if state.progress is not None:
        parts.append(_done(state.progress))
    parts += [_step(step) for step in state.steps[:3]]
    return "; ".join(parts)


def _done(progress: Progress) -> str:
    total = "" if progress.total is None else f" of {progress.total:g}"
    message = f": {progress.message}" if progress.message else ""
    return f"{progress.done:g}{total} done{message}"


def _step(step: StepState) -> str:
    text = step.name.removeprefix("mcp_agent.")
    if step.attempt > 1:
        text += f", attempt {step.attempt}"
    if step.partial_text:
        return f"{text}: …{step.partial_text[-_GROWING:]}"
    if step.progress is not None:
        return f"{text}: {_done(step.progress)}"
    if step.last_error:
        text += f": {step.last_error[:200]}"
    if step.next_retry_at is not None:
        text += f", retry in {duration(max((step.next_retry_at - datetime.now(UTC)).total_seconds(), 0))}"
    return text


def _completed(state: RunState, run: Run) -> str:
    ending = f"{_name(state)} completed in {duration(_seconds(state))}."
    if run.truncated:
        return f"The result is large: read resource `{run.result_uri}`.\n\n{ending}"
    return f"{as_text(state.result)}\n\n{ending}"


def as_text(value: Any) -> str:
    """Text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _waiting(state: RunState, tools: Mapping[str, str]) -> str:
    asked = "; ".join(f"'{told(request, _SHORT)}' (request `{request.request_id}`)" for request in state.pending_inputs)
    request = state.pending_inputs[0]
    waits = "was asked to stop, but still waits for a person" if state.cancel_requested else "waits for a person"
    schema = f" The payload must fit {json.dumps(request.schema_)}." if request.schema_ else ""
    return (
        f"{_name(state)} {waits}: {asked}. Ask the user; do not answer yourself. Then call `{tools['resume']}` with "
        f"run_id=`{state.run_id}`, request_id=`{request.request_id}`, payload=<the answer>.{schema}{_expiry(request)}"
    )


def _expiry(request: PendingInput) -> str:
    if request.expires_at is None:
        return ""
    left = duration((request.expires_at - datetime.now(UTC)).total_seconds())
    default = "" if request.default is None else f", with {json.dumps(request.default, ensure_ascii=False)[:_SHORT]}"
    return f" Without an answer the run goes on in {left}{default}."


def _ask_again(state: RunState, tools: Mapping[str, str]) -> str:
    return f"Call `{tools['get_status']}` with run_id=`{state.run_id}`, wait_seconds=30. Do not start it again."


def resumed(state: RunState, receipt: Receipt) -> str:
    """What became of an answer."""
    if receipt.duplicate:
        return f"Run `{state.run_id}` had this answer to `{receipt.request_id or receipt.name}` already; nothing was changed."
    if receipt.early:
        return f"Run `{state.run_id}` does not wait for `{receipt.name}` yet: the answer is kept until it does."
    return f"Run `{state.run_id}` has the answer to `{receipt.request_id or receipt.name}`."


def cancelled(state: RunState, *, already_closed: bool) -> str:
    """What became of a cancel."""
    if already_closed:
        return f"Run `{state.run_id}` had ended before ({state.status}); nothing was changed."
    return f"Run `{state.run_id}` was asked to stop."


def _name(state: RunState) -> str:
    return f"Run `{state.run_id}` of {state.workflow}" if not state.closed else f"Run `{state.run_id}`"


def _seconds(state: RunState) -> float:
    return ((state.closed_at or datetime.now(UTC)) - state.started_at).total_seconds()


def parameters(schema: Mapping[str, Any]) -> str:
    """What a workflow takes, on one line: `text: string, tone?: "kind" | "harsh"`."""
    required = schema.get("required", [])
    return ", ".join(
        f"{name}{'' if name in required else '?'}: {_kind(one)}" for name, one in schema.get("properties", {}).items()
    )


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    if "anyOf" in schema:
        return " | ".join(_kind(one) for one in schema["anyOf"])
    return str(schema.get("type", "object" if "$ref" in schema else "any"))


def duration(seconds: float) -> str:
    """`0.4 s`, `41 s`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for size, name, below in ((86_400, "d", "h"), (3_600, "h", "min"), (60, "min", "s")):
        if whole >= size:
            rest = (whole % size) // {"h": 3_600, "min": 60, "s": 1}[below]
            return f"{whole // size} {name}" + (f" {rest} {below}" if rest else "")
    raise AssertionError("unreachable")
