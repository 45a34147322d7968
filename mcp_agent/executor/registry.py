"""What an engine needs to know of an app: its workflows, its tasks, its settings."""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from mcp_agent.config import Settings
from mcp_agent.errors import NotFound
from mcp_agent.executor.definition import WorkflowDefinition
from mcp_agent.executor.workflow import Workflow
from mcp_agent.executor.workflow_task import TaskDefinition


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


def find_workflow(registry: Registry, workflow: str | type[Workflow[Any]]) -> WorkflowDefinition:
    """The definition for a name or a class. Raises NotFound, which names near ones."""
    if isinstance(workflow, str):
        found = registry.workflows.get(workflow)
    else:
        found = next((d for d in registry.workflows.values() if d.cls is workflow), None)
    if found is None:
        name = workflow if isinstance(workflow, str) else workflow.__name__
        raise NotFound(f"App `{registry.name}` has no workflow `{name}`. {did_you_mean(name, registry.workflows)}")
    return found


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence with near names, or with all there are."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(f'`{n}`' for n in near)}?"
    return f"It has {', '.join(f'`{n}`' for n in names)}." if names else "It has none."


def new_run_id(workflow: str) -> str:
    """`<Name>.<26 letters and digits>`: 130 bits that nobody can guess (`contract.md`, "Ids and ownership")."""
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    return f"{workflow}.{''.join(secrets.choice(alphabet) for _ in range(26))}"
