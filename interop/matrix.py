"""Every client over every transport through every scenario: who plays what, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from interop import served
from interop.catalogue import HERE, SCENARIOS, TRANSPORTS, Tried
from interop.environments import node_of, python_of

SECONDS = 60.0
"""What one scenario may take."""
GRACE = 20.0
"""What a client's program may take in addition, to start and to give up."""

State = Literal["ok", "n/a", "failed"]


@dataclass(frozen=True)
class Cell:
    """What came of one scenario.

    Args:
        client: Who played it.
        transport: On what.
        scenario: Which.
        state: Whether it went well.
        detail: The word for the table, why it was not played, or what went wrong.
        output: What the client's program wrote, where it failed.
    """

    client: str
    transport: str
    scenario: str
    state: State
    detail: str = ""
    output: str = ""


@dataclass(frozen=True)
class Place:
    """Where a client finds the server, and its own packages."""

    address: str
    stdio: list[str]
    folder: Path


def plan(tried: Tried, transport: str) -> tuple[list[str], list[Cell]]:
    """The scenarios to play, and the cells that are not played."""
    reasons = {scenario: tried.why_not(transport, scenario) for scenario in SCENARIOS}
    played = [scenario for scenario, reason in reasons.items() if reason is None]
    return played, [Cell(tried.name, transport, scenario, "n/a", reason) for scenario, reason in reasons.items() if reason]


def target(tried: Tried, transport: str, place: Place, scenarios: list[str], seconds: float) -> dict[str, Any]:
    """What a client's script is told, see `clients/scenarios.py`. Node finds packages beside a script: it gets copies there."""
    options: dict[str, Any] = {**tried.options, "revision": tried.revision_on(transport), "folder": str(place.folder)}
    if (place.folder / "node_modules").exists():
        options["node"] = str(node_of(place.folder))
        for module in (HERE / "clients").glob("*.mjs"):
            shutil.copy(module, place.folder)
    return {
        "transport": transport,
        "command": place.stdio,
        "environment": served.environment(),
        "url": place.address,
        "scenarios": scenarios,
        "seconds": seconds,
        "options": options,
    }


async def play(tried: Tried, transport: str, place: Place, seconds: float = SECONDS) -> list[Cell]:
    """The row of a client on a transport."""
    scenarios, cells = plan(tried, transport)
    if scenarios:
        told = json.dumps(target(tried, transport, place, scenarios, seconds))
        program = [str(python_of(place.folder)), str(HERE / "clients" / tried.script), told]
        outcomes, output = await _outcomes(program, scenarios, seconds + GRACE)
        cells += [_cell(tried, transport, scenario, outcomes.get(scenario), output) for scenario in scenarios]
    return sorted(cells, key=lambda cell: SCENARIOS.index(cell.scenario))


def _cell(tried: Tried, transport: str, scenario: str, outcome: dict[str, Any] | None, output: str) -> Cell:
    if outcome is None:
        return Cell(tried.name, transport, scenario, "failed", "gave no outcome", output)
    state: State = {True: "ok", False: "failed", None: "n/a"}[outcome["ok"]]  # type: ignore[assignment]
    return Cell(tried.name, transport, scenario, state, outcome["detail"], output if state == "failed" else "")


async def _outcomes(program: list[str], scenarios: list[str], seconds: float) -> tuple[dict[str, dict[str, Any]], str]:
    """What a program tells, line by line, and what else it writes. One that is silent for too long is ended."""
    process = await asyncio.create_subprocess_exec(
        *program,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=_clean(os.environ),
        limit=16 * 1024 * 1024,
        start_new_session=True,
    )
    assert process.stdout is not None
    outcomes: dict[str, dict[str, Any]] = {}
    rest: list[str] = []
    try:
        while line := await asyncio.wait_for(process.stdout.readline(), seconds):
            text = line.decode(errors="replace")
            outcome = _outcome(text)
            if outcome is None:
                rest.append(text)
            else:
                outcomes[outcome["scenario"]] = outcome
                if len(outcomes) == len(scenarios):
                    break
    except TimeoutError:
        rest.append(f"silent for {seconds:g} s\n")
    finally:
        await _ended(process)
    return outcomes, "".join(rest)


def _clean(variables: Mapping[str, str]) -> dict[str, str]:
    """Without what would let a client import this project, or reach a model."""
    dropped = ("PYTHON", "VIRTUAL_ENV", "NODE_", "OPENAI_", "ANTHROPIC_", "GOOGLE_")
    kept = {name: value for name, value in variables.items() if not name.startswith(dropped)}
    return {**kept, "PYTHONWARNINGS": "ignore"}


def _outcome(line: str) -> dict[str, Any] | None:
    """The outcome that a line tells, if it does: programs and their frameworks also write other things."""
    if not line.startswith('{"scenario"'):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Ends a program with all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def rows(
    clients: list[Tried],
    transports: list[str],
    folder_of: Callable[[Tried], Path],
    scratch: Path,
    *,
    at_once: int = 2,
    tell: Callable[[list[Cell]], None] = lambda _: None,
) -> list[Cell]:
    """The whole matrix, on one server over HTTP and one a connection over stdio.

    Args:
        clients: Who plays.
        transports: On what.
        folder_of: A client's environment.
        scratch: For configuration and logs of the servers.
        at_once: How many clients play at the same time.
        tell: Gets each row as it is done.
    """
    gate = asyncio.Semaphore(at_once)
    stdio = served.command(scratch, "--stdio")
    serving = served.command(scratch, "--port", "0")

    async def row(tried: Tried, transport: str, address: str) -> list[Cell]:
        async with gate:
            cells = await play(tried, transport, Place(address, stdio, folder_of(tried)))
        tell(cells)
        return cells

    async with served.over_http(serving, served.environment(), scratch / "server.log") as address:
        played = await asyncio.gather(*(row(one, way, address) for one in clients for way in TRANSPORTS if way in transports))
    return [cell for cells in played for cell in cells]
