"""What goes over the wire in MCP's Tasks extension (SEP-2663, revision 2026-07-28), which the SDK does not have yet."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from mcp_types import ErrorData, InputRequest, RequestParams
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer
from pydantic.alias_generators import to_camel

EXTENSION = "io.modelcontextprotocol/tasks"

TaskStatus = Literal["working", "input_required", "completed", "failed", "cancelled"]


class Task(BaseModel):
    """A task as its creation tells of it.

    Attributes:
        ttl_ms: Milliseconds from its creation until it may be forgotten; `None` if that is not known.
        poll_interval_ms: Milliseconds after which it is worth to ask again.
    """

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, frozen=True)

    task_id: str
    status: TaskStatus
    status_message: str | None = None
    created_at: datetime
    last_updated_at: datetime
    ttl_ms: int | None = None
    poll_interval_ms: int | None = None

    @model_serializer(mode="wrap")
    def _with_ttl(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """`ttlMs` is required, also when it is null."""
        return {**dump(self), "ttlMs": self.ttl_ms}


class CreateTaskResult(Task):
    """What a call gives instead of its result."""

    result_type: Literal["task"] = "task"


class DetailedTask(Task):
    """A task with what its status has to tell: `result` of a completed one, `error` of a failed one, open questions."""

    result: dict[str, Any] | None = None
    error: ErrorData | None = None
    input_requests: dict[str, InputRequest] | None = None


class GetTaskResult(DetailedTask):
    """The answer to `tasks/get`."""

    result_type: Literal["complete"] = "complete"


class TaskParams(RequestParams):
    """The parameters of `tasks/get` and `tasks/cancel`."""

    task_id: str = Field(min_length=1, max_length=1_000)


class UpdateTaskParams(TaskParams):
    """The parameters of `tasks/update`: answers by the keys of the task's `inputRequests`."""

    input_responses: dict[str, Any]
