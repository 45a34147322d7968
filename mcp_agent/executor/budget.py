"""What a run or an agent may use at most. Pure, and the same on replay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mcp_agent.errors import BudgetExceeded, InvalidArguments
from mcp_agent.executor.runs import CallUsage
from mcp_agent.executor.start_options import check_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits for the model calls and tool calls of a run (`workflow.set_budget`) or of an agent (`Agent(budget=...)`).

    They are looked at before each call: the call that goes over is the last one.

    Attributes:
        max_tokens: Tokens that are read and written, in all calls together.
        max_cost_usd: US dollars. A model without a known price ends the run: its cost could not be kept to anything.
        max_tool_calls: Tool calls, in all.
        deadline: How long after the first call, or a moment with a time zone. A call that is under way then is cancelled.

    Raises:
        InvalidArguments: A limit that is none.
    """

    max_tokens: int | None = None
    max_cost_usd: float | None = None
    max_tool_calls: int | None = None
    deadline: timedelta | datetime | None = None

    def __post_init__(self) -> None:
        for name in ("max_tokens", "max_cost_usd", "max_tool_calls"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise InvalidArguments(f"`{name}` is `{value}`: give a number from 0 on.")
        if isinstance(self.deadline, datetime):
            if self.deadline.tzinfo is None:
                raise InvalidArguments(f"`deadline` is `{self.deadline}`, without a time zone: add `tzinfo`.")
        else:
            check_duration("deadline", self.deadline)


@dataclass(slots=True)
class Spending:
    """A budget, and what is used of it.

    Attributes:
        whose: For errors: `Agent x`, `The run`.
        budget: The limits; `None` where there are none.
        used: So far.
        since: When the first call was made.
    """

    whose: str
    budget: Budget | None = None
    used: CallUsage = field(default_factory=CallUsage)
    since: datetime | None = None

    def begin(self, now: datetime) -> None:
        """Starts the clock of a `deadline` that is a duration, at the first call."""
        if self.since is None:
            self.since = now

    def check(self, reached: str, tool_calls: int = 0) -> None:
        """Raises BudgetExceeded if another model call, or that many tool calls, would go over.

        Args:
            reached: The answer so far, which the error holds.
            tool_calls: How many are about to be made; 0 for a model call.
        """
        budget, used = self.budget, self.used
        if budget is None:
            return
        if budget.max_tool_calls is not None and used.tool_calls + tool_calls > budget.max_tool_calls:
            raise self._exceeded("max_tool_calls", f"{used.tool_calls} tool calls and would make {tool_calls} more", reached)
        if budget.max_tokens is not None and used.tokens >= budget.max_tokens:
            raise self._exceeded("max_tokens", f"{used.tokens:,} tokens", reached)
        if budget.max_cost_usd is None or used.model_calls == 0:
            return
        if used.cost_usd is None:
            raise self._exceeded("max_cost_usd", f"a model without a known price ({used.cost_source})", reached)
        if used.cost_usd >= budget.max_cost_usd:
            raise self._exceeded("max_cost_usd", f"{used.cost_usd:.4f} US dollars", reached)

    def time_left(self, now: datetime) -> timedelta | None:
        """Until the deadline; `None` if there is none."""
        if self.budget is None or self.budget.deadline is None:
            return None
        until = self.budget.deadline
        return (until if isinstance(until, datetime) else (self.since or now) + until) - now

    def out_of_time(self, reached: str) -> BudgetExceeded:
        """The error for a deadline that has passed."""
        return self._exceeded("deadline", "all its time", reached)

    def _exceeded(self, limit: str, used: str, reached: str) -> BudgetExceeded:
        return BudgetExceeded(
            f"{self.whose} has used {used}; `{limit}` is {getattr(self.budget, limit)}. Raise it, or ask for less.",
            limit=limit,
            reached=reached,
        )


@asynccontextmanager
async def in_time(spendings: Sequence[Spending], now: datetime, reached: list[str]) -> AsyncGenerator[None, None]:
    """Ends the block at the earliest deadline.

    Args:
        reached: Holds the answer so far as its last item.

    Raises:
        BudgetExceeded: The deadline has passed.
    """
    clocks = [(left, one) for one in spendings if (left := one.time_left(now)) is not None]
    if not clocks:
        yield
        return
    left, first = min(clocks, key=lambda clock: clock[0])
    limit = asyncio.timeout(max(left.total_seconds(), 0))
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise first.out_of_time(reached[-1]) from None
