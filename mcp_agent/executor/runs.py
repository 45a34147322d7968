"""What an engine says of a run. The server turns it into what MCP clients see (`contract.md`, "Run")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field

from mcp_agent.executor.versions import Versioning

RunStatus = Literal[
    "queued",
    "running",
    "waiting_for_input",
    "blocked",
    "completed",
    "failed",
    "cancelled",
    "timed_out",
    "terminated",
]
CLOSED_STATUSES: frozenset[RunStatus] = frozenset({"completed", "failed", "cancelled", "timed_out", "terminated"})


RequestKind = Literal["signal", "elicitation", "approval"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True, defer_build=True)


class PendingInput(_Record):
    """A question that a run has put to a person and waits for.

    Attributes:
        schema_: Of the answer; any text will do where there is none.
        url: What the person is to open, instead of a form to fill in.
        expires_at: When the run goes on without an answer.
        default: The answer that is taken then, where there is one.
        refused: How many answers did not fit, as far as clients are asked anew for that.
        problem: Why the last of them did not.
    """

    request_id: str
    kind: RequestKind = "signal"
    name: str
    message: str
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    url: str | None = None
    created_at: datetime
    expires_at: datetime | None = None
    default: Any = None
    refused: int = Field(default=0, exclude_if=lambda number: number == 0)
    problem: str | None = None


class StepState(_Record):
    """A step that is under way, as the engine sees it.

    Attributes:
        partial_text: What a model has written so far.
        progress: How far a downstream tool says it is.
    """

    name: str
    attempt: int = 1
    last_error: str | None = None
    next_retry_at: datetime | None = None
    partial_text: str | None = None
    progress: Progress | None = None


_PARTIAL_TEXT = "mcp_agent.partial_text"
_PROGRESS = "mcp_agent.progress"
PARTIAL_TEXT_LIMIT = 32 * 1024
"""Characters of a growing answer that are told; of a longer one the end."""


def partial_text_details(text: str) -> tuple[Any, ...]:
    """The heartbeat details of a step whose answer grows."""
    return ({_PARTIAL_TEXT: text[-PARTIAL_TEXT_LIMIT:]},)


def progress_details(progress: Progress) -> tuple[dict[str, Any]]:
    """The heartbeat details of a step that says how far it is."""
    return ({_PROGRESS: progress.model_dump(mode="json", exclude_none=True)},)


def progress_of(details: Sequence[Any]) -> Progress | None:
    """How far a step says it is in its heartbeat details, if it does."""
    first: Any = details[0] if details else None
    told = cast("dict[str, Any]", first).get(_PROGRESS) if isinstance(first, dict) else None
    return None if told is None else Progress.model_validate(told)


def partial_text_of(details: Sequence[Any]) -> str | None:
    """The growing answer in a step's heartbeat details, if that is what they are."""
    first: Any = details[0] if details else None
    return cast("dict[str, Any]", first).get(_PARTIAL_TEXT) if isinstance(first, dict) else None


class CodeVersion(_Record):
    """The version of the code that a run has, where workers tell theirs.

    Attributes:
        deployment: What all versions of the app have in common.
        build_id: Such as the tag of an image.
        versioning: Whether the run stays on it.
    """

    deployment: str
    build_id: str
    versioning: Versioning


class RunFailure(_Record):
    """Why a run ended without a result. `code` is `workflow_error` or the error's type."""

    code: str
    message: str
    retryable: bool = False
    cause: str | None = None


class Progress(_Record):
    """How far a run says it is; `done` and `total` in units of its own."""

    done: float
    total: float | None = None
    message: str | None = None


class CallUsage(_Record):
    """What one model call, or several, used.

    Attributes:
        input_tokens: All that was read, including what came from a cache.
        output_tokens: All that was written, including reasoning.
        cached_input_tokens: The part of the input that came from the provider's cache.
        model_calls: How often a model was asked.
        tool_calls: How many tools were called.
        cost_usd: In US dollars; `None` as soon as one call has no known price: a part would be taken for the whole.
        cost_source: Where prices are from, or which model has none.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    cost_usd: float | None = None
    cost_source: str | None = None

    @property
    def tokens(self) -> int:
        """Read and written."""
        return self.input_tokens + self.output_tokens

    def plus(self, other: CallUsage) -> Self:
        """Both together."""
        cost, source = _costs(self, other)
        return self.model_copy(
            update={
                "input_tokens": self.input_tokens + other.input_tokens,
                "output_tokens": self.output_tokens + other.output_tokens,
                "cached_input_tokens": self.cached_input_tokens + other.cached_input_tokens,
                "model_calls": self.model_calls + other.model_calls,
                "tool_calls": self.tool_calls + other.tool_calls,
                "cost_usd": cost,
                "cost_source": source,
            }
        )


def _costs(one: CallUsage, other: CallUsage) -> tuple[float | None, str | None]:
    if one.model_calls == 0 or other.model_calls == 0:
        asked = other if one.model_calls == 0 else one
        return asked.cost_usd, asked.cost_source
    if one.cost_usd is None or other.cost_usd is None:
        return None, one.cost_source if one.cost_usd is None else other.cost_source
    return one.cost_usd + other.cost_usd, one.cost_source


AGENTS_TOLD = 50
OTHER_AGENTS = "(others)"


class RunUsage(CallUsage):
    """What a run used, and each of its agents; from the 51st on they are counted together."""

    agents: dict[str, CallUsage] = {}

    def plus_of(self, agent: str, used: CallUsage) -> RunUsage:
        """With what `agent` has used now."""
        known = agent in self.agents or len(self.agents) < AGENTS_TOLD
        name = agent if known else OTHER_AGENTS
        before = self.agents.get(name, CallUsage())
        return self.plus(used).model_copy(update={"agents": {**self.agents, name: before.plus(used)}})


class PublicState(_Record):
    """What a run tells the outside about itself, kept where it can be read without a worker."""

    pending_inputs: list[PendingInput] = []
    progress: Progress | None = None
    usage: RunUsage | None = None
    failed: bool = False


class Answer(_Record):
    """An answer to a request (`request_id`), or to whatever asks for `name` now or later."""

    request_id: str | None = None
    name: str | None = None
    payload: Any = None
    call: str | None = None


class Receipt(_Record):
    """What became of an answer. `call` is the mark of the call that gave it."""

    request_id: str | None = None
    name: str
    duplicate: bool = False
    early: bool = False
    call: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run as its engine reports it.

    Attributes:
        run_id: The public id.
        engine_run_id: Temporal's own id of the newest run of the chain, for its web page; `None` in-process.
        result: The value of a completed run, as JSON-compatible data.
        blocked: For status `blocked`: the cause and the fix.
        expires_at: When the engine forgets a closed run; `None` while it is open, and for one that is kept without a term.
        version: Of the code, as far as the run has got; `None` without worker versioning.
        memo: What was given to `start_workflow`.
        page: The address of the engine's own web page of the run, where it has one.
    """

    run_id: str
    workflow: str
    status: RunStatus
    started_at: datetime
    updated_at: datetime
    engine_run_id: str | None = None
    closed_at: datetime | None = None
    expires_at: datetime | None = None
    cancel_requested: bool = False
    result: Any = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    error: RunFailure | None = None
    blocked: str | None = None
    pending_inputs: tuple[PendingInput, ...] = ()
    steps: tuple[StepState, ...] = ()
    progress: Progress | None = None
    usage: RunUsage | None = None
    memo: dict[str, Any] = field(default_factory=dict[str, Any])
    page: str | None = None
    version: CodeVersion | None = None

    @property
    def closed(self) -> bool:
        return self.status in CLOSED_STATUSES

    @property
    def news(self) -> tuple[Any, ...]:
        """What there is to tell of it: two states with the same news differ in nothing that somebody waits for."""
        return (
            self.status,
            self.blocked,
            self.cancel_requested,
            self.pending_inputs,
            self.steps,
            self.progress,
            self.usage,
            self.engine_run_id,
        )

    @property
    def needs_attention(self) -> bool:
        """Nothing more happens by itself: the run is closed, blocked, or waits for a person."""
        return self.closed or self.status in ("waiting_for_input", "blocked")


@dataclass(frozen=True, slots=True)
class StartedRun:
    """`existing` is true when the id met a run that was there with the same input."""

    run_id: str
    existing: bool


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list: first those under way, the last begun first, then the others, the last ended first.

    `cursor` is what the page before ended with; `prefix` is what their ids begin with.
    """

    workflows: tuple[str, ...] = ()
    status: RunStatus | None = None
    limit: int = 20
    cursor: str | None = None
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class RunPage:
    """Results are left out of listed runs; ask for one run to get its result."""

    runs: tuple[RunState, ...]
    cursor: str | None = None
