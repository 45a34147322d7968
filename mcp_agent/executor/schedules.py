"""Runs that are started again and again at given times (`executor.create_schedule`). Temporal only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mcp_agent.errors import InvalidArguments
from mcp_agent.executor.start_options import check_duration, check_id


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleTimes:
    """When a schedule starts runs: at all of these times. Checked when it is made.

    Attributes:
        every: An interval.
        cron: Expressions such as `0 9 * * MON-FRI`.
        time_zone: In which cron expressions are read, such as `Europe/Berlin`; UTC by default.

    Raises:
        InvalidArguments: There is no time at all, or an interval that is none.
    """

    every: timedelta | None = None
    cron: Sequence[str] = ()
    time_zone: str | None = None

    def __post_init__(self) -> None:
        check_duration("every", self.every)
        given: Any = self.cron
        if isinstance(given, str) or not all(isinstance(one, str) and one.strip() for one in given):
            raise InvalidArguments(f"`cron` is `{given!r}`: use a list of expressions, such as `['0 9 * * *']`.")
        if self.every is None and not self.cron:
            raise InvalidArguments("The schedule has no times: give it `every` or `cron`.")


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """A schedule as Temporal keeps it.

    Attributes:
        next_times: When the next runs are started.
        recent_runs: Public ids of the last runs it started, the newest last.
    """

    id: str
    workflow: str
    paused: bool
    note: str
    next_times: tuple[datetime, ...]
    recent_runs: tuple[str, ...]


class ScheduleHandle(ABC):
    """A schedule that was made or found by its id. All methods raise NotFound if there is none."""

    def __init__(self, schedule_id: str) -> None:
        check_id("schedule_id", schedule_id)
        self.id = schedule_id

    @abstractmethod
    async def describe(self) -> ScheduleState: ...

    @abstractmethod
    async def pause(self, note: str | None = None) -> None: ...

    @abstractmethod
    async def unpause(self, note: str | None = None) -> None: ...

    @abstractmethod
    async def trigger(self) -> None:
        """Starts a run now."""

    @abstractmethod
    async def delete(self) -> None:
        """Ends the schedule; runs that it has started go on."""
