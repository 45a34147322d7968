"""What the benchmarks share: pairs of measurements, medians, a table."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from mcp import Client
from mcp.client.stdio import StdioServerParameters

from mcp_agent.executor.temporal.binary import find_or_make_binary
from mcp_agent.executor.temporal.dev_server import DATA_VARIABLE, GRACE_VARIABLE

ROOT = Path(__file__).parents[1]
Measure = Callable[[], Awaitable[float]]


@dataclass(frozen=True)
class Row:
    """One line of the table. `target` is what `ratio` may be at most, or at least where `at_least`."""

    what: str
    ours: str
    floor: str
    ratio: float
    target: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.ratio >= self.target if self.at_least else self.ratio <= self.target


def table(rows: list[Row]) -> str:
    lines = ["| What | Ours | Floor | Ratio | Target | |", "|---|---|---|---|---|---|"]
    for row in rows:
        sign = "≥" if row.at_least else "≤"
        met = "met" if row.met else "**missed**"
        lines.append(f"| {row.what} | {row.ours} | {row.floor} | {row.ratio:.2f} | {sign} {row.target:g} | {met} |")
    return "\n".join(lines)


async def pairs(ours: Measure, floor: Measure, times: int, *, warm: int = 1) -> tuple[float, float]:
    """Medians of both, measured in turn, so that a busy moment of the machine meets both."""
    for _ in range(warm):
        await floor()
        await ours()
    measured = [(await floor(), await ours()) for _ in range(times)]
    return statistics.median(o for _, o in measured), statistics.median(f for f, _ in measured)


async def timed(call: Callable[[], Awaitable[object]]) -> float:
    begin = perf_counter()
    await call()
    return perf_counter() - begin


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


@dataclass(frozen=True)
class Served:
    """A server that is another process."""

    url: str
    pid: int

    def cpu(self) -> float:
        """Seconds of processor time that it has used."""
        used = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> int:
        """Bytes of memory that it holds."""
        return resident(self.pid)


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1_000
    raise RuntimeError(f"process {pid} has no VmRSS")


@dataclass(frozen=True)
class Bench:
    """A private folder, and the program."""

    folder: Path
    binary: Path

    def environment(self) -> dict[str, str]:
        return {**os.environ, DATA_VARIABLE: str(self.folder / "data"), GRACE_VARIABLE: "2", "PYTHONPATH": str(ROOT)}

    def ours(self, engine: str = "temporal", app: str = "benchmarks.desk:app") -> StdioServerParameters:
        """This project's server on a benchmark app, over stdio."""
        config = self.folder / f"{engine}.yaml"
        config.write_text(
            f"execution_engine: {engine}\nserver: {{app: '{app}'}}\nlogger: {{transports: [none]}}\n"
            f"temporal: {{binary: '{self.binary}'}}\nscripted: {{file: script.yaml}}\n"
        )
        (self.folder / "script.yaml").write_text("agents: {'*': [{any_turn: true, text: '" + "x" * 5_000 + "'}]}")
        return StdioServerParameters(
            command=sys.executable,
            args=["-m", "mcp_agent.cli", "serve", "--stdio", "--config", str(config)],
            env=self.environment(),
            cwd=ROOT,
        )

    def floor(self, module: str) -> StdioServerParameters:
        """A server written with the bare SDK."""
        return StdioServerParameters(
            command=sys.executable, args=["-m", f"benchmarks.floor.{module}"], env=self.environment(), cwd=ROOT
        )


@asynccontextmanager
async def bench() -> AsyncGenerator[Bench, None]:
    with TemporaryDirectory(prefix="bench-") as folder:
        yield Bench(Path(folder), await find_or_make_binary(None, sys.stderr.write))


async def initialized(target: StdioServerParameters) -> float:
    """Seconds from the start of the process to the answer of `initialize`."""
    begin = perf_counter()
    async with Client(target, mode="legacy"):
        return perf_counter() - begin
