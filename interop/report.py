"""The table of what was played, for the terminal and for `docs/interop.md`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from interop.catalogue import SCENARIOS, TRANSPORTS, Pins, Tried
from interop.matrix import Cell

HEAD = ("Client", "Version", "Revision", "Transport", *SCENARIOS)

PAGE = """# Clients that were tried

Clients that nobody here wrote, each in an environment of its own from its registry, against `mcp-agent serve` (`make interop`).
This page is written by `make interop PAGE=docs/interop.md`; last on {day}.

{table}

| Column | What the client does |
|---|---|
| `list` | lists the tools; the Inspector also finds their schemas portable (`--strict`) |
| `run` | starts a run and has its result: as `data` (structured content), or as `text` where its framework passes on texts only |
| `person` | a run asks a person: the client is `asked` while its call waits, or `resume`s the run with the tool of that name |
| `cancel` | cancels a run, twice |
| `drop` | gives up a call in mid-wait; the same key finds the run again, which goes on |
| `large` | a result above 50 KB: `read` whole as a resource, or its `handle` where the client reads only listed resources |
| `error` | refused calls and failed runs are errors whose text says what is wrong |
| `agent` | the framework's own agent, with a scripted model, starts a run, asks about it, signals it and reads its end |
| `task` | a call becomes a task, and the task is the run |

Not played (`n/a`):

{reasons}
"""


def lines_of(cells: Sequence[Cell], clients: Sequence[Tried], pins: Mapping[str, Pins]) -> list[tuple[str, ...]]:
    """A line for each client and transport that has a cell which was played."""
    by_key = {(cell.client, cell.transport, cell.scenario): cell for cell in cells}
    lines: list[tuple[str, ...]] = []
    for tried in clients:
        for transport in TRANSPORTS:
            row = [by_key.get((tried.name, transport, scenario)) for scenario in SCENARIOS]
            if any(cell is not None and cell.state != "n/a" for cell in row):
                version = pins[tried.environment].version
                lines.append((tried.name, version, tried.revision_on(transport), transport, *(word(cell) for cell in row)))
    return lines


def word(cell: Cell | None) -> str:
    if cell is None:
        return ""
    return {"ok": cell.detail, "n/a": "n/a", "failed": "**FAILED**"}[cell.state]


def table(lines: Sequence[tuple[str, ...]]) -> str:
    """As Markdown, in columns that also read well as they are."""
    widths = [max(len(line[column]) for line in (HEAD, *lines)) for column in range(len(HEAD))]
    rows = [HEAD, tuple("-" * width for width in widths), *lines]
    return "\n".join("| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in rows)


def reasons(cells: Sequence[Cell]) -> str:
    """Why cells were not played, each reason once."""
    found: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        if cell.state == "n/a":
            where = found.setdefault((cell.client, cell.detail), [])
            if cell.scenario not in where:
                where.append(cell.scenario)
    clients: dict[tuple[str, str], list[str]] = {}
    for (client, reason), scenarios in found.items():
        what = "SSE" if set(scenarios) == set(SCENARIOS) else ", ".join(scenarios)
        clients.setdefault((what, reason), []).append(client)
    return "\n".join(f"- {what}: {', '.join(names)}: {reason}." for (what, reason), names in clients.items())


def page(cells: Sequence[Cell], clients: Sequence[Tried], pins: Mapping[str, Pins], day: date) -> str:
    return PAGE.format(day=day.isoformat(), table=table(lines_of(cells, clients, pins)), reasons=reasons(cells))
