"""Runs that belong to a run (`workflow.execute_child_workflow`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from mcp_agent.executor.workflow_result import WorkflowResult

ParentClosePolicy = Literal["terminate", "abandon", "request_cancel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildOptions:
    """How a child is run. Names and meanings are Temporal's.

    Attributes:
        id: The child's public id; made from the parent's by default.
        parent_close_policy: What becomes of the child when its parent ends first.
    """

    id: str | None = None
    parent_close_policy: ParentClosePolicy = "terminate"
    task_queue: str | None = None
    priority: int | None = None
    execution_timeout: timedelta | None = None
    run_timeout: timedelta | None = None
    task_timeout: timedelta | None = None
    memo: Mapping[str, Any] = field(default_factory=dict[str, Any])


class ChildHandle(ABC):
    """A child that was started."""

    @property
    @abstractmethod
    def id(self) -> str: ...

    @abstractmethod
    async def result(self) -> WorkflowResult[Any]:
        """Waits for its end. Who is cancelled while waiting cancels the child.

        Raises:
            RunFailedError: It did not complete (or a subclass that says how).
        """

    @abstractmethod
    async def signal(self, name: str, *args: Any) -> None: ...

    @abstractmethod
    def cancel(self) -> None: ...
