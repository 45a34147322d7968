"""Tokens of callers, for the downstream servers that the configuration passes them on to.

They are in the memory of the process that got them, and nowhere else: no run, memo, log or error ever holds one. A step that runs
hours later, after a restart or in another process has none, until the owner of its run calls again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

MOST_OWNERS = 10_000
SWEEP_EVERY = 60.0
WITHOUT_END = 3600.0
"""Seconds for which a token counts that does not say when it ends."""


@dataclass(frozen=True, slots=True)
class _Kept:
    token: str = field(repr=False)
    until: float


class CallerTokens:
    """The newest token of each owner of runs. Args: `clock`, seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._swept_at = clock()

    def keep(self, owner: str, token: str, expires_at: float | None) -> None:
        """Remembers a token until it ends.

        Args:
            owner: The tag that the ids of the owner's runs begin with.
            token: Just now accepted.
            expires_at: Its end, in seconds since 1970.
        """
        now = self._clock()
        if now - self._swept_at >= SWEEP_EVERY:
            self._swept_at = now
            self._kept = OrderedDict((each, kept) for each, kept in self._kept.items() if kept.until > now)
        self._kept[owner] = _Kept(token, now + WITHOUT_END if expires_at is None else expires_at)
        self._kept.move_to_end(owner)
        if len(self._kept) > MOST_OWNERS:
            self._kept.popitem(last=False)

    def of(self, owner: str) -> str | None:
        """The owner's token, if there is one that still counts."""
        kept = self._kept.get(owner)
        return kept.token if kept is not None and kept.until > self._clock() else None


def owner_of(run_id: str, workflow: str) -> str:
    """The tag of a run's owner, which its id begins with where there is auth (`contract.md`, "Ids and ownership"), or nothing."""
    tag, owned, _ = run_id.partition(f".{workflow}.")
    return tag if owned else ""
