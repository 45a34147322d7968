"""`Workflow` and `WorkflowResult`: what a workflow class extends, and what its `run` returns."""

from __future__ import annotations

from typing import Generic, TypeVar

from mcp_agent.executor import runtime
from mcp_agent.executor.workflow_result import WorkflowResult, as_result

__all__ = ["APP_MARK", "NAME_MARK", "RUN_MARK", "VERSIONING_MARK", "Workflow", "WorkflowResult", "as_result"]

T = TypeVar("T")

RUN_MARK = "__mcp_agent_run__"
NAME_MARK = "__mcp_agent_workflow__"
APP_MARK = "__mcp_agent_app__"
VERSIONING_MARK = "__mcp_agent_versioning__"


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
