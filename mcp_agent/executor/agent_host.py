"""What agents stand on: a run, or outside of runs a direct caller of the framework's steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextvars import ContextVar
from typing import Any

from mcp_agent.executor.runs import RunUsage
from mcp_agent.executor.steps import StepCall


class AgentHost(ABC):
    """Makes the calls of agents, and keeps what they share.

    Attributes:
        usage: Tokens of all model calls.
        known_setups: Hashes of the instructions and tools that model calls have carried whole.
    """

    def __init__(self) -> None:
        self.usage: RunUsage | None = None
        self.known_setups: set[str] = set()
        self._names: dict[str, int] = {}

    @abstractmethod
    async def run_step(self, call: StepCall) -> Any:
        """Runs a step with retries; in a run its result is recorded.

        Raises:
            WorkflowApplicationError: It failed for good; `type` is the class name of what it raised.
            StepTimeoutError: It ran out of time.
        """

    @abstractmethod
    def publish(self, *, failed: bool = False) -> None:
        """Told when what it keeps has changed."""

    def unique(self, name: str) -> str:
        """`name` the first time, then `name#2`, `name#3`: a stable name for the nth of its kind."""
        number = self._names.get(name, 0) + 1
        self._names[name] = number
        return name if number == 1 else f"{name}#{number}"


direct_host: ContextVar[AgentHost | None] = ContextVar("mcp_agent_direct_host", default=None)
