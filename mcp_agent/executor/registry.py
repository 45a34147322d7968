"""What an engine needs to know of an app: its workflows, its tasks, its settings."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from mcp_agent.config import Settings
from mcp_agent.errors import InvalidArguments, NotFound
from mcp_agent.executor.caller_tokens import CallerTokens
from mcp_agent.executor.definition import WorkflowDefinition
from mcp_agent.executor.problems import did_you_mean
from mcp_agent.executor.workflow import Workflow
from mcp_agent.executor.workflow_task import TaskDefinition
from mcp_agent.observability.telemetry import Telemetry

# What each of the 256 bytes becomes: every letter as often as every other.
_LETTERS = b"abcdefghijklmnopqrstuvwxyz234567" * 8


class Registry(Protocol):
    """An app, as an engine sees it."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> Settings: ...

    @property
    def workflows(self) -> Mapping[str, WorkflowDefinition]: ...

    @property
    def tasks(self) -> Mapping[str, TaskDefinition]: ...

    @property
    def caller_tokens(self) -> CallerTokens: ...

    @property
    def telemetry(self) -> Telemetry:
        """What its parts measure and trace with. Raises ConfigError."""
        ...

    def direct_calls(self, shared: Mapping[str, TaskDefinition] | None = None) -> AbstractAsyncContextManager[None]:
        """In the block agents may be used outside of a run; steps in `shared` are used instead of own ones."""
        ...


def find_workflow(registry: Registry, workflow: str | type[Workflow[Any]]) -> WorkflowDefinition:
    """The definition for a name or a class. Raises NotFound, which names near ones."""
    given: Any = workflow
    if not isinstance(given, str | type):
        raise InvalidArguments(f"`{given!r}` is no workflow: give its class or its name.")
    if isinstance(workflow, str):
        found = registry.workflows.get(workflow)
    else:
        found = next((d for d in registry.workflows.values() if d.cls is workflow), None)
    if found is None:
        name = workflow if isinstance(workflow, str) else workflow.__name__
        raise NotFound(f"App `{registry.name}` has no workflow `{name}`. {did_you_mean(name, registry.workflows)}")
    return found


def new_run_id(workflow: str) -> str:
    """`<Name>.<26 letters and digits>`: 130 bits that nobody can guess (`contract.md`, "Ids and ownership")."""
    return f"{workflow}.{secrets.token_bytes(26).translate(_LETTERS).decode()}"
