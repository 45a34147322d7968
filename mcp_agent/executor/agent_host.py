"""What agents stand on: a run, or outside of runs a direct caller of the framework's steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any

from mcp_agent.errors import NotInWorkflowError
from mcp_agent.executor.budget import Spending
from mcp_agent.executor.runs import CallUsage, RunUsage
from mcp_agent.executor.steps import StepCall
from mcp_agent.executor.workflow_signal import Question


class AgentHost(ABC):
    """Makes the calls of agents, and keeps what they share.

    Attributes:
        usage: What all model calls and tool calls have used.
        spending: What of that counts for the budget of the run.
        known_setups: Hashes of the instructions and tools that model calls have carried whole.
    """

    def __init__(self) -> None:
        self.usage: RunUsage | None = None
        self.spending = Spending("The run")
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

    def tell_usage(self) -> None:
        """Told when `usage` has changed; it may be published later."""
        self.publish()

    @abstractmethod
    def now(self) -> datetime:
        """The time, with time zone UTC; in a run the same on replay."""

    async def ask(self, question: Question, timeout: timedelta | None = None) -> Any:
        """Puts a question to a person and waits for the answer's payload.

        Raises:
            TimeoutError: Nobody answered in time; the question has expired.
            NotInWorkflowError: Only a run can be answered.
        """
        raise NotInWorkflowError(f"`{question.name}` cannot be asked here: only a run has somebody to ask.")

    def used(self, agent: str, usage: CallUsage) -> None:
        """Counts what a call of the agent has used; `publish` tells it."""
        self.usage = (self.usage or RunUsage()).plus_of(agent, usage)
        self.spending.used = self.spending.used.plus(usage)

    def unique(self, name: str) -> str:
        """`name` the first time, then `name#2`, `name#3`: a stable name for the nth of its kind."""
        number = self._names.get(name, 0) + 1
        self._names[name] = number
        return name if number == 1 else f"{name}#{number}"


direct_host: ContextVar[AgentHost | None] = ContextVar("mcp_agent_direct_host", default=None)
