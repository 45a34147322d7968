"""One piece of what a store keeps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """Args:
    key: Its name.
    size: Bytes.
    used_at: When it was put last, by however many.
    """

    key: str
    size: int
    used_at: datetime
