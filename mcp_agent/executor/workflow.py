"""`Workflow` and `WorkflowResult`: what a workflow class extends, and what its `run` returns."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, Field

from mcp_agent.executor import runtime

T = TypeVar("T")

RUN_MARK = "__mcp_agent_run__"
NAME_MARK = "__mcp_agent_workflow__"


class WorkflowResult(BaseModel, Generic[T]):
    """What a run produced. Indexing reads `value`, so `result["report"]` is `result.value["report"]`.

    Attributes:
        value: The result.
        error: Why there is none. A run that returns an error ends as `failed` with code `workflow_error`.
        metadata: Anything worth keeping beside the value.
    """

    value: T | None = None
    error: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    start_time: datetime | None = None
    end_time: datetime | None = None

    def __getitem__(self, key: Any) -> Any:
        return self.value[key]  # type: ignore[index]


class Workflow(Generic[T]):
    """Base of every workflow class. It has no `__init__` and takes no names but `id` and `run_id`.

    A class is served after `@app.workflow`; its `run` is marked with `@app.workflow_run`.
    """

    @property
    def id(self) -> str:
        """The public id of the run, stable for its whole life. Raises NotInWorkflowError outside a run."""
        return runtime.current().info.run_id

    @property
    def run_id(self) -> str:
        """The same as `id`."""
        return self.id


def as_result(value: Any) -> WorkflowResult[Any]:
    """What `run` returned, wrapped if it is a bare value."""
    return value if isinstance(value, WorkflowResult) else WorkflowResult[Any](value=value)  # pyright: ignore[reportUnknownVariableType]
