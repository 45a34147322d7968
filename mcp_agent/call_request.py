"""The request of a client that a function of an app answers, while it does so: outside of runs and steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from mcp_agent.executor.runs import Progress
from mcp_agent.executor.runtime import current_or_none
from mcp_agent.executor.step_context import current_step

if TYPE_CHECKING:
    from mcp.server import ServerRequestContext
    from mcp.server.session import ServerSession
    from mcp_types import InputResponseRequestParams, InputResponses, ServerRequest
    from pydantic import BaseModel

T = TypeVar("T", bound="BaseModel")


@dataclass(frozen=True, slots=True)
class CallRequest:
    """`app.context.request`: for what the framework does not wrap, such as sampling and roots.

    Attributes:
        context: The MCP SDK's own, with the session of the client.
        params: Of `tools/call`, `prompts/get` or `resources/read`, as they came.
    """

    context: ServerRequestContext[Any]
    params: InputResponseRequestParams

    @property
    def session(self) -> ServerSession:
        """Sends the client requests (up to 2025-11-25) and notifications."""
        return self.context.session

    @property
    def input_responses(self) -> InputResponses:
        """What the client answers to an `InputRequiredResult` (2026-07-28); empty for a call that begins."""
        return self.params.input_responses or {}

    @property
    def request_state(self) -> str | None:
        """The `request_state` of that result. The server seals it on its way out and back."""
        return self.params.request_state

    async def ask(self, question: ServerRequest, answer: type[T]) -> T:
        """Asks the client while it waits (up to 2025-11-25): `sampling/createMessage`, `elicitation/create`, `roots/list`.

        Raises:
            MCPError: The client refuses, or cannot be asked: from 2026-07-28 on a function returns an `InputRequiredResult`.
        """
        from mcp.shared.message import ServerMessageMetadata  # noqa: PLC0415 - the SDK, which apps are constructed without

        on_this_stream = ServerMessageMetadata(related_request_id=self.context.request_id)
        return await self.session.send_request(question, answer, metadata=on_this_stream)


class DirectCall(ABC):
    """A call of a function of an app, for a client that waits for it."""

    request: CallRequest

    @abstractmethod
    def report_progress(self, progress: Progress) -> None:
        """Tells the client, if it asked for progress. From any thread."""

    @abstractmethod
    def log(self, level: int, message: object, args: tuple[object, ...]) -> None:
        """Sends the client a line, if it wants lines of that level (of `logging`). From any thread."""


direct_call: ContextVar[DirectCall | None] = ContextVar("mcp_agent_direct_call", default=None)


def current_call() -> DirectCall | None:
    """The call that this code answers; `None` in runs and steps, also in those that were started from one."""
    call = direct_call.get()
    return None if call is None or current_or_none() is not None or current_step() is not None else call
