"""How workflow code says that its run continues as new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class ContinueAsNew(BaseException):
    """Ends the run and starts it again with these arguments. No `Exception`: workflow code must not catch it by the way."""

    def __init__(self, args: Sequence[Any]) -> None:
        super().__init__("continue as new")
        self.new_args = list(args)
