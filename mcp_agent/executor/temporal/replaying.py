"""Replays recorded runs against the code of today: `app.replayer()` and `mcp-agent replay` (specification, "Workflow Replay")."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import History
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from mcp_agent.errors import EncryptionError, MCPAgentError
from mcp_agent.executor.registry import Registry
from mcp_agent.executor.temporal.encryption import EncryptionCodec, codec_of, is_encrypted
from mcp_agent.executor.temporal.plugin import AgentPlugin

HistoryLike = WorkflowHistory | Mapping[str, Any] | str | Path


class ReplayError(MCPAgentError):
    """The code of today would not do what the recorded run did."""


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
    def _codec(self) -> EncryptionCodec | None:
        return codec_of(self._app.settings.temporal.data_converter)

    @cached_property
    def _replayer(self) -> Replayer:
        workflows = [definition.cls for definition in self._app.workflows.values()]
        return Replayer(workflows=workflows, plugins=[AgentPlugin(self._app, {})])

    async def replay_workflow(self, history: HistoryLike) -> Replayed:
        """Replays one run.

        Args:
            history: As Temporal's web page and `temporal workflow show --output json` give it: data, its text or a file.

        Raises:
            ReplayError: The code does not fit; names the first event that differs.
            EncryptionError: The history is encrypted, and not with a key of the app's settings.
            ConfigError: A key of the settings cannot be used.
            MCPAgentError: It is no history, or of a workflow that the app does not have.
        """
        recorded = read_history(history)
        name = recorded.events[0].workflow_execution_started_event_attributes.workflow_type.name
        if name not in self._app.workflows:
            known = ", ".join(f"`{workflow}`" for workflow in self._app.workflows) or "none"
            raise MCPAgentError(f"The history is of workflow `{name}`, which the app does not have; it has {known}.")
        await _check_readable(recorded, self._codec)
        result = await self._replayer.replay_workflow(recorded, raise_on_replay_failure=False)
        if result.replay_failure is not None and "TMPRL1101" in str(result.replay_failure):
            raise MCPAgentError(
                f"`{name}` ran for 2 s without a wait, and the replay was given up: replay it on a quieter machine."
            )
        if result.replay_failure is not None:
            raise ReplayError(f"`{name}` no longer does what this run did: {result.replay_failure}")
        return Replayed(name, len(recorded.events))


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


async def _check_readable(recorded: WorkflowHistory, codec: EncryptionCodec | None) -> None:
    """Opens what is encrypted once before: in the middle of a replay it would look like a fault of the workflow's code."""
    encrypted = [payload for event in recorded.events for payload in _payloads(event) if is_encrypted(payload)]
    if not encrypted:
        return
    if codec is None:
        raise EncryptionError(
            "The history is encrypted, and no key is configured: set `temporal.data_converter.encryption_key` to that of the run."
        )
    await codec.decode(encrypted)


def _payloads(message: Message) -> Iterator[Payload]:
    """Every payload in a message, however deep."""
    if isinstance(message, Payload):
        yield message
        return
    for _, value in message.ListFields():
        for part in _parts(value):
            yield from _payloads(part)


def _parts(value: Any) -> list[Message]:
    """The messages that a field holds: itself, its items, or the values of a map."""
    if isinstance(value, Message):
        return [value]
    if isinstance(value, str | bytes | int | float):
        return []
    items: Any = value.values() if hasattr(value, "values") else value
    return [item for item in items if isinstance(item, Message)]
