"""How workflow code leaves its run by other ways than a result or an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class LeavesRun(BaseException):
    """No `Exception`: workflow code must not catch it by the way, and compensate for what is no failure."""


class ContinueAsNew(LeavesRun):
    """Ends the run and starts it again with these arguments."""

    def __init__(self, args: Sequence[Any]) -> None:
        super().__init__("continue as new")
        self.new_args = list(args)


class VersionRemoved(LeavesRun):
    """The code that this run needs is gone: the run waits until it is put back."""
