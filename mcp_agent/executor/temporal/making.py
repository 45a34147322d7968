"""Makes programs that are not installed and keeps them in the user's cache folder, outside of any checkout."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

Report = Callable[[str], None]

CACHE_VARIABLE = "MCP_AGENT_CACHE_DIR"
PROGRESS_EVERY = 30.0
_LONGEST_EXCERPT = 400


class CannotMake(Exception):
    """One way of getting a program did not work; the text says why."""


def cache_dir() -> Path:
    """Where what was made is kept: the variable MCP_AGENT_CACHE_DIR, else the user's cache folder. It is made if need be.

    Raises:
        CannotMake: There cannot be such a folder.
    """
    if os.environ.get(CACHE_VARIABLE):
        folder = Path(os.environ[CACHE_VARIABLE])
    elif sys.platform == "darwin":
        folder = Path("~/Library/Caches/durable-mcp-agent")
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "durable-mcp-agent"
    try:
        folder = folder.expanduser().absolute()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        raise CannotMake(f"the cache folder `{folder}` cannot be used ({error}): set {CACHE_VARIABLE}") from error
    return folder


def is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def emptied(folder: Path) -> Path:
    """That folder, made if need be, without what an earlier try has left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True, slots=True)
class Command:
    """A command that makes something.

    Args:
        arguments: The program and its arguments.
        folder: Where it works.
        within: Seconds after which it is ended.
        stalled: Seconds after which it is ended if nothing in its folder grows; None for a command whose folder tells nothing.
        environment: Variables on top of this process's own.
        hold: An open lock file that stays locked until the command has ended, even if this process ends before.
    """

    arguments: Sequence[str | Path]
    folder: Path
    within: float
    stalled: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    hold: Sequence[int] = ()

    async def run(self, report: Report) -> str:
        """Runs it with nothing of ours on its streams, and says now and then that it still runs. Gives what it printed.

        Raises:
            CannotMake: It failed or took too long; the text has what it printed, shortened.
        """
        with tempfile.TemporaryFile() as output:
            process = await self._start(output)
            try:
                await self._until_ended(process, report)
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    await process.wait()
            output.seek(0)
            printed = output.read().decode(errors="replace").strip()
        if process.returncode != 0:
            raise CannotMake(_excerpt(printed) or f"it ended with {process.returncode}")
        return printed

    async def _start(self, output: IO[bytes]) -> Process:
        try:
            return await asyncio.create_subprocess_exec(
                *self.arguments,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=self.hold,
            )
        except OSError as error:
            raise CannotMake(str(error)) from error

    async def _until_ended(self, process: Process, report: Report) -> None:
        name = Path(self.arguments[0]).name
        ending = asyncio.create_task(process.wait())
        size = grew = told = 0.0
        for second in range(1, int(self.within) + 1):
            if (await asyncio.wait([ending], timeout=1.0))[0]:
                return
            if second - told >= PROGRESS_EVERY:
                told = second
                report(f"still at work: `{name}`, {second} s")
            if self.stalled is not None:
                size, before = _size(self.folder), size
                grew = second if size > before else grew
                if second - grew >= self.stalled:
                    raise CannotMake(f"nothing came for {self.stalled:g} s")
        raise CannotMake(f"it took longer than {self.within:g} s")


def _size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _excerpt(printed: str) -> str:
    """The begin and the end: some programs give the cause first, some last."""
    half = _LONGEST_EXCERPT // 2
    return printed if len(printed) <= _LONGEST_EXCERPT else f"{printed[:half]} ... {printed[-half:]}"
