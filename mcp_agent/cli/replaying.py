"""What `replay` does: a line for each run that would break, a summary, and whether all is well."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import sys
import typing
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from mcp_agent.app import MCPApp
from mcp_agent.cli.loading import age
from mcp_agent.errors import ConfigError, MCPAgentError
from mcp_agent.executor.temporal.connection import open_connection
from mcp_agent.executor.temporal.replay_gate import MOST_RUNS, Choice, Gate, Misfit, ReplayGate, Which, misfit_of
from mcp_agent.executor.temporal.replaying import AppReplayer, read_history, workflow_of


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line."""

    files: tuple[Path, ...]
    from_server: bool
    workflows: tuple[str, ...]
    since: str | None
    state: str | None
    limit: int | None
    pinned: bool
    concurrency: int
    as_json: bool

    def check(self) -> None:
        """Raises ConfigError for what has no meaning."""
        if not self.from_server and not self.files:
            raise ConfigError("Say what to replay: files or folders with histories, or `--from-server`.")
        only = {"workflow": self.workflows, "since": self.since, "state": self.state, "limit": self.limit, "pinned": self.pinned}
        lone = [] if self.from_server else [name for name, value in only.items() if value]
        if lone:
            raise ConfigError(f"`--{lone[0]}` chooses among the runs of a server: give `--from-server`, or leave it out.")
        if self.state is not None and self.state not in typing.get_args(Which):
            raise ConfigError(f"`--state` is `{self.state}`: give `open`, `closed` or `all`.")

    @property
    def choice(self) -> Choice:
        since = None if self.since is None else age("--since", self.since)
        which: Any = self.state or "all"
        return Choice(self.workflows, since, which, self.limit or MOST_RUNS, self.pinned)


def replayed(asked: Asked, load: Callable[[], MCPApp]) -> bool:
    """Replays and tells; whether every run fits. Raises MCPAgentError where that cannot be found out."""
    asked.check()
    choice = asked.choice
    with _own_output() as out, _told_once():
        app = load()
        said = _Said(out, asked.as_json)
        gate = Gate()
        asyncio.run(_files(AppReplayer(app), asked.files, gate, said))
        if asked.from_server:
            asyncio.run(_server(app, choice, asked.concurrency, gate, said))
        said.summary(gate)
    return not gate.misfits


@contextlib.contextmanager
def _own_output() -> Generator[TextIO]:
    """What the app's code prints goes to standard error."""
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        yield out


@contextlib.contextmanager
def _told_once() -> Generator[None]:
    """Temporal's library logs each misfit at length."""
    library = logging.getLogger("temporalio")
    level = library.level
    library.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        library.setLevel(level)


class _Said:
    """What is told: lines as they come, or one JSON object at the end."""

    def __init__(self, out: TextIO, as_json: bool) -> None:
        self._out = out
        self._as_json = as_json

    def line(self, text: str) -> None:
        if not self._as_json:
            self._out.write(text + "\n")
            self._out.flush()

    def misfit(self, misfit: Misfit) -> None:
        at = "" if misfit.event_id is None else f" event {misfit.event_id} ({misfit.event_type}):"
        reason = " ".join(misfit.reason.split()).rstrip(".")
        self.line(f"{misfit.workflow} {misfit.run_id}:{at} {reason}. {misfit.fix}".strip())

    def summary(self, gate: Gate) -> None:
        if self._as_json:
            self._out.write(
                json.dumps({**dataclasses.asdict(gate), "replayed": gate.replayed, "left": gate.left}, indent=2) + "\n"
            )
            return
        self.line(f"{gate.replayed} runs replayed: {gate.fits} fit, {len(gate.misfits)} would break{_left_out(gate)}")


def _left_out(gate: Gate) -> str:
    parts = {
        "stay on their own version of the code": gate.pinned,
        "have ended and are of workflows that are gone": gate.unknown,
        "were forgotten meanwhile": gate.gone,
        "are more than `--limit` allows": gate.left,
    }
    return "".join(f"; {number} {why}" for why, number in parts.items() if number)


async def _server(app: MCPApp, choice: Choice, concurrency: int, gate: Gate, said: _Said) -> None:
    if app.settings.execution_engine != "temporal":
        raise ConfigError("`--from-server` needs `execution_engine: temporal`: in-process nothing is recorded.")
    async with open_connection(app, writes=False) as connection:
        where = f"task queue `{connection.task_queue}` of namespace `{connection.client.namespace}`"
        checking = ReplayGate(app, connection.client, connection.task_queue, said.misfit)
        await checking.check(choice, concurrency, gate)
    if gate.matching == 0:
        said.line(f"No runs were found on {where}: nothing was checked.")


async def _files(replayer: AppReplayer, paths: tuple[Path, ...], gate: Gate, said: _Said) -> None:
    for file in _histories(paths):
        gate.matching += 1
        misfit, fits = await _file(replayer, file)
        if misfit is None:
            gate.fits += 1
            said.line(fits)
        else:
            gate.misfits.append(misfit)
            said.misfit(misfit)


async def _file(replayer: AppReplayer, file: Path) -> tuple[Misfit | None, str]:
    """What is wrong with the history in a file, or what is said of one that fits."""
    try:
        history = read_history(file)
        misfit = await misfit_of(replayer, history, workflow_of(history), str(file))
    except MCPAgentError as error:  # no history, or of a workflow that is not there
        return Misfit("", str(file), None, "unreadable", None, None, str(error), ""), ""
    return misfit, f"{file}: ok, {workflow_of(history)}, {len(history.events)} events"


def _histories(paths: tuple[Path, ...]) -> Iterator[Path]:
    """The files, and those in the folders. Raises ConfigError for a folder without any."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(path.rglob("*.json"))
        if not found:
            raise ConfigError(f"`{path}` holds no history: they are files that end in `.json`.")
        yield from found
