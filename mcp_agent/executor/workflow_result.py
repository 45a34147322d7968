"""`WorkflowResult`: what a workflow's `run` returns."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from mcp_agent.executor.payloads import AS_JSON

T = TypeVar("T")


class WorkflowResult(BaseModel, Generic[T]):
    """What a run produced. Indexing reads `value`, so `result["report"]` is `result.value["report"]`.

    Attributes:
        value: The result.
        error: Why there is none. A run that returns an error ends as `failed` with code `workflow_error`.
        metadata: Anything worth keeping beside the value.
    """

    model_config = ConfigDict(AS_JSON, defer_build=True)

    value: T | None = None
    error: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    start_time: datetime | None = None
    end_time: datetime | None = None

    def __getitem__(self, key: Any) -> Any:
        return self.value[key]  # type: ignore[index]


def as_result(value: Any) -> WorkflowResult[Any]:
    """What `run` returned, wrapped if it is a bare value."""
    return value if isinstance(value, WorkflowResult) else WorkflowResult[Any](value=value)  # pyright: ignore[reportUnknownVariableType]
