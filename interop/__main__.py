"""`python -m interop [CLIENT ...]`: tries clients out and prints the table. Exits with 1 if one cannot do what it should."""

from __future__ import annotations

import argparse
import asyncio
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from interop import report
from interop.catalogue import CLIENTS, TRANSPORTS, Tried, chosen, pins
from interop.environments import CannotInstall, environment
from interop.matrix import Cell, rows


def arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m interop", description=__doc__)
    parser.add_argument("clients", nargs="*", help=f"which; all by default: {', '.join(tried.name for tried in CLIENTS)}")
    parser.add_argument("--transport", action="append", choices=TRANSPORTS, help="only on this one")
    parser.add_argument("--page", type=Path, help="write the table to this page; only of all clients")
    parser.add_argument("--at-once", type=int, default=2, help="how many clients play at the same time")
    read = parser.parse_args(given)
    if read.page is not None and (read.clients or read.transport):
        parser.error("`--page` takes the whole matrix: leave out clients and transports.")
    try:
        read.clients = chosen(read.clients)
    except ValueError as error:
        parser.error(str(error))
    return read


def installed(clients: list[Tried]) -> dict[str, Path]:
    """The folders of the clients' environments, made two at a time. Raises CannotInstall."""
    known = pins()
    wanted = [known[name] for name in sorted({tried.environment for tried in clients})]
    with ThreadPoolExecutor(2) as pool:
        return {pins.name: folder for pins, folder in zip(wanted, pool.map(environment, wanted), strict=True)}


def told(cells: list[Cell]) -> None:
    """Progress, and all there is to know of a failure."""
    words = " ".join(f"{cell.scenario}={report.word(cell)}" for cell in cells if cell.state != "n/a")
    sys.stderr.write(f"{cells[0].client} {cells[0].transport}: {words or 'n/a'}\n")
    for cell in cells:
        if cell.state == "failed":
            sys.stderr.write(f"  {cell.scenario}: {cell.detail}\n")
    output = next((cell.output for cell in cells if cell.output), "")
    sys.stderr.writelines(f"    {line}\n" for line in output.splitlines()[-60:])


def main(given: list[str]) -> int:
    read = arguments(given)
    try:
        folders = installed(read.clients)
    except CannotInstall as error:
        sys.stderr.write(f"{error}\n")
        return 1
    with TemporaryDirectory(prefix="interop-") as scratch:
        playing = rows(
            read.clients,
            read.transport or list(TRANSPORTS),
            lambda tried: folders[tried.environment],
            Path(scratch),
            at_once=read.at_once,
            tell=told,
        )
        cells = asyncio.run(playing)
    print(report.table(report.lines_of(cells, read.clients, pins())))
    if read.page is not None:
        read.page.write_text(report.page(cells, read.clients, pins(), date.today()))
    failed = sum(cell.state == "failed" for cell in cells)
    print(f"\n{sum(cell.state == 'ok' for cell in cells)} played, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main(sys.argv[1:]))
