"""Replays recorded runs against the code of today: `app.replayer()` and `mcp-agent replay` (specification, "Workflow Replay")."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.common import RawValue
from temporalio.converter import DataConverter
from temporalio.worker import Replayer

from mcp_agent.errors import EncryptionError, MCPAgentError, UnreadablePayload
from mcp_agent.executor.registry import Registry
from mcp_agent.executor.temporal.blobs.references import is_reference
from mcp_agent.executor.temporal.encryption import EncryptionCodec, is_encrypted
from mcp_agent.executor.temporal.measuring import quiet_runtime
from mcp_agent.executor.temporal.payloads_in import payloads_in
from mcp_agent.executor.temporal.plugin import AgentPlugin
from mcp_agent.executor.temporal.storing import configured_converter

HistoryLike = WorkflowHistory | Mapping[str, Any] | str | Path


class ReplayError(MCPAgentError):
    """The code of today would not do what the recorded run did.

    Attributes:
        reason: What differs.
        fix: What to do about it.
        event: Where it begins to, in the run's history; `None` where that cannot be told.
    """

    def __init__(self, workflow: str, reason: str, fix: str, event: HistoryEvent | None) -> None:
        where = "" if event is None else f" at event {event.event_id} ({event_name(event)})"
        super().__init__(f"`{workflow}` no longer does what this run did{where}: {reason}. {fix}")
        self.reason = reason
        self.fix = fix
        self.event = event


@dataclass(frozen=True, slots=True)
class Replayed:
    """A run whose code still fits."""

    workflow: str
    events: int


class AppReplayer:
    """Args:
    app: Whose workflows; its steps are not run.
    """

    def __init__(self, app: Registry) -> None:
        self._app = app

    @cached_property
    def _converter(self) -> DataConverter:
        return configured_converter(self._app.settings.temporal, writes=False)

    @cached_property
    def _replayer(self) -> Replayer:
        workflows = [definition.cls for definition in self._app.workflows.values()]
        plugins = [AgentPlugin(self._app, {})]
        return Replayer(workflows=workflows, plugins=plugins, data_converter=self._converter, runtime=quiet_runtime())

    async def replay_workflow(self, history: HistoryLike) -> Replayed:
        """Replays one run. Several may be replayed at the same time.

        Args:
            history: As Temporal's web page and `temporal workflow show --output json` give it: data, its text or a file.

        Raises:
            ReplayError: The code does not fit; names the first event that differs.
            EncryptionError: The history is encrypted, and not with a key of the app's settings.
            UnreadablePayload: A large value is not there, or was changed.
            ConfigError: A key of the settings cannot be used.
            MCPAgentError: It is no history, or of a workflow that the app does not have.
        """
        recorded = read_history(history)
        name = workflow_of(recorded)
        if name not in self._app.workflows:
            known = ", ".join(f"`{workflow}`" for workflow in self._app.workflows) or "none"
            raise MCPAgentError(f"The history is of workflow `{name}`, which the app does not have; it has {known}.")
        await _check_readable(recorded, self._converter)
        failure = await self._failure(recorded.events)
        if failure is not None and "TMPRL1101" in failure:
            raise ReplayUndecided(f"`{name}` ran for 2 s without a wait, and the replay was given up: the machine is too busy.")
        if failure is not None:
            raise await self._misfit(name, recorded, failure)
        return Replayed(name, len(recorded.events))

    async def _failure(self, events: Sequence[HistoryEvent]) -> str | None:
        history = WorkflowHistory("recorded", events)
        try:
            result = await self._replayer.replay_workflow(history, raise_on_replay_failure=False)
        except (RuntimeError, ValueError) as error:  # of temporalio, for a class that no worker could serve
            raise MCPAgentError(f"No worker could serve this app: {error.__cause__ or error}. Mend that first.") from error
        return None if result.replay_failure is None else str(result.replay_failure)

    async def _misfit(self, name: str, recorded: WorkflowHistory, failure: str) -> ReplayError:
        reason = _SAID.search(failure)
        told = failure if reason is None else reason[1].replace('\\"', '"').replace("\\'", "'").partition("\\n")[0]
        fix = next((fix for mark, fix in _FIXES if mark in told), _MEND)
        numbered = _EVENT.search(told)
        if numbered is not None:
            found = next((event for event in recorded.events if event.event_id == int(numbered[1])), None)
        else:
            found = await self._first_misfit(recorded.events, told)
        return ReplayError(name, told.rstrip("."), fix, found)

    async def _first_misfit(self, events: Sequence[HistoryEvent], told: str) -> HistoryEvent | None:
        """The event that an error means which has no number: of the first workflow task whose commands do not fit."""
        starts = [at for at, event in enumerate(events) if event.HasField("workflow_task_started_event_attributes")]
        fits, fails = 0, len(starts)
        while fails - fits > 1:
            middle = (fits + fails) // 2
            if await self._failure(events[: starts[middle] + 1]) is None:
                fits = middle
            else:
                fails = middle
        end = starts[fails] if fails < len(starts) else len(events)
        span: list[HistoryEvent] = list(events[starts[fits] : end]) if starts else []
        names = re.findall(r"'([^']+)'", told)
        named = (event for event in span if any(name in str(event) for name in names[:1]))
        return next(named, span[0] if span else None)


class ReplayUndecided(MCPAgentError):
    """The machine was too busy to tell whether the code fits."""


_SAID = re.compile(r'message: "((?:[^"\\]|\\.)*)"')
_EVENT = re.compile(r"HistoryEvent\(id: (\d+)")
_MEND = "Mend the workflow's code."
_FIXES = (
    ("VersionRemoved", "Keep that version in the code until the run has ended."),
    (
        "TMPRL1100",
        "Put the code back, guard the change with `workflow.get_version`, or pin the workflow's runs to their version.",
    ),
)


def workflow_of(recorded: WorkflowHistory) -> str:
    """The name of the workflow that a history is of."""
    return recorded.events[0].workflow_execution_started_event_attributes.workflow_type.name


def event_name(event: HistoryEvent) -> str:
    """What kind of event it is: `ACTIVITY_TASK_SCHEDULED`."""
    return EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")


def read_history(history: HistoryLike) -> WorkflowHistory:
    """A recorded run from any of its forms. Raises MCPAgentError."""
    if isinstance(history, WorkflowHistory):
        return history
    where, data = "The history", history
    if isinstance(history, Path) or (isinstance(history, str) and not history.lstrip().startswith("{")):
        where = f"`{history}`"
        try:
            data = Path(history).read_text(encoding="utf-8")
        except OSError as error:
            raise MCPAgentError(f"{where} cannot be read: {error.strerror}.") from None
    try:
        parsed: Any = json.loads(data) if isinstance(data, str) else data
        events = WorkflowHistory.from_json("recorded", parsed).events
    except Exception as error:  # of several libraries: the text, the JSON and the message may be wrong
        raise MCPAgentError(f"{where} is no workflow history ({type(error).__name__}): export it as JSON.") from None
    if not events or not events[0].HasField("workflow_execution_started_event_attributes"):
        raise MCPAgentError(f"{where} is no workflow history: it does not begin with the start of a run.")
    return WorkflowHistory("recorded", list(History(events=events).events))


async def _check_readable(recorded: WorkflowHistory, converter: DataConverter) -> None:
    """Reads everything once before: in the middle of a replay an unreadable value would look like a fault of the workflow."""
    encrypts = isinstance(converter.payload_codec, EncryptionCodec)
    for event in recorded.events:  # one by one: what is kept elsewhere may be large
        stored = list(payloads_in(event))
        if not encrypts and any(map(is_encrypted, stored)):
            raise EncryptionError(
                "The history is encrypted, and no key is configured: set `temporal.data_converter.encryption_key` to that of "
                "the run."
            )
        if converter.external_storage is None and any(map(is_reference, stored)):
            raise UnreadablePayload(
                "The history names large values that are kept elsewhere: set `temporal.external_storage` to where the run kept "
                "them."
            )
        if stored:
            await converter.decode(stored, [RawValue] * len(stored))
