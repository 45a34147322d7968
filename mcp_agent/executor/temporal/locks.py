"""Locks between processes. The kernel frees them with the process that holds them, however it ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from enum import IntEnum
from pathlib import Path

LOOK = 0.05  # seconds; a wait in the kernel could not be cancelled


class Kind(IntEnum):
    SHARED = fcntl.LOCK_SH
    EXCLUSIVE = fcntl.LOCK_EX


@asynccontextmanager
async def locked(path: Path, kind: Kind, waiting: Callable[[], None] | None = None) -> AsyncGenerator[int, None]:
    """Holds the lock of that file in the block, and gives the open file.

    Args:
        path: Made if it is not there, for its owner only.
        kind: Shared with others of that kind, or held alone.
        waiting: Called once if another process has it.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _try_lock(file, kind):
            if waiting is not None:
                waiting()
            await _lock(file, kind)
        yield file
    finally:
        os.close(file)


def is_held(path: Path) -> bool:
    """Whether another process holds the lock alone."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(file, Kind.SHARED)
    finally:
        os.close(file)


async def _lock(file: int, kind: Kind) -> None:
    while True:
        await asyncio.sleep(LOOK)
        if _try_lock(file, kind):
            return


def _try_lock(file: int, kind: Kind) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
