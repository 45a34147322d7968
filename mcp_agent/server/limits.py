"""How much one caller may do: calls a minute, and calls under way at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from mcp_agent.config import LimitSettings
from mcp_agent.errors import RateLimited

FORGET_FROM = 1000
SOON = 1.0
"""Seconds after which a caller with too much under way may look again."""


class Allowance:
    """Lets through so many at once, and then so many a second (a token bucket).

    Args:
        burst: At once.
        per_second: What comes back.
        clock: Seconds that only go forward.
    """

    def __init__(self, burst: float, per_second: float, clock: Callable[[], float]) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._left = burst
        self._seen_at = clock()

    def take(self) -> float:
        """0 if one more is let through, else the seconds until one will be."""
        self._refill()
        if self._left >= 1:
            self._left -= 1
            return 0
        return (1 - self._left) / self._per_second

    @property
    def full(self) -> bool:
        self._refill()
        return self._left >= self._burst

    def _refill(self) -> None:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._seen_at) * self._per_second)
        self._seen_at = now


class _Caller:
    def __init__(self, allowance: Allowance | None) -> None:
        self.allowance = allowance
        self.under_way = 0

    @property
    def idle(self) -> bool:
        return self.under_way == 0 and (self.allowance is None or self.allowance.full)


class Limits:
    """Args:
    settings: What each caller may do.
    clock: Seconds that only go forward.
    """

    def __init__(self, settings: LimitSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = settings.calls_per_minute
        self._at_once = settings.concurrent_calls
        self._clock = clock
        self._callers: dict[str | None, _Caller] = {}
        self._forget_from = FORGET_FROM

    @contextmanager
    def call(self, caller: str | None) -> Generator[None, None, None]:
        """Counts one call while it is under way.

        Args:
            caller: Whose; `None` where callers are not told apart.

        Raises:
            RateLimited: The caller has too many under way, or made too many in the last minute.
        """
        if not self._per_minute and not self._at_once:
            yield
            return
        counted = self._of(caller)
        self._check(counted)
        counted.under_way += 1
        try:
            yield
        finally:
            counted.under_way -= 1

    def _check(self, caller: _Caller) -> None:
        if self._at_once and caller.under_way >= self._at_once:
            raise RateLimited(
                f"{caller.under_way} of your calls are under way, and more are not allowed at once: wait until one has ended. "
                "Nothing was changed.",
                retry_after_seconds=SOON,
            )
        wait = caller.allowance.take() if caller.allowance is not None else 0
        if wait:
            seconds = math.ceil(wait)
            raise RateLimited(
                f"More than {self._per_minute} calls a minute are not allowed: call again in {seconds} s. Nothing was changed.",
                retry_after_seconds=seconds,
            )

    def _of(self, name: str | None) -> _Caller:
        caller = self._callers.get(name)
        if caller is None:
            if len(self._callers) >= self._forget_from:
                self._callers = {name: known for name, known in self._callers.items() if not known.idle}
                self._forget_from = max(FORGET_FROM, 2 * len(self._callers))
            n = self._per_minute
            caller = self._callers[name] = _Caller(Allowance(n, n / 60, self._clock) if n else None)
        return caller
