"""`python -m interop.conformance`: the protocol's official suite against a server. Exits with 1 if a check fails.

The suite calls tools, prompts and resources by name, so it needs a server that has them: `interop/fixture_server.py`, or any
other with `--server-command` or `--url`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from interop import served
from interop.catalogue import LEGACY, MODERN, pins
from interop.environments import CannotInstall, environment, node_of

EXTENSION = "tasks-"
"""The scenarios of the Tasks extension, which no revision requires: they are played in addition."""
ALLOWED: frozenset[tuple[str, str]] = frozenset()
"""Revision and scenario of failures that are known and accepted: none."""
SCENARIO_MS = 30_000


@dataclass(frozen=True)
class Outcome:
    """What came of a scenario. `problems` are the checks that failed, in the suite's words."""

    revision: str
    scenario: str
    passed: int
    skipped: int
    problems: tuple[str, ...]

    @property
    def allowed(self) -> bool:
        return (self.revision, self.scenario) in ALLOWED

    @property
    def word(self) -> str:
        if self.problems:
            return "allowed" if self.allowed else "FAILED"
        return "passed" if self.passed else "skipped"


class Suite:
    """Args:
    folder: Where the suite is installed.
    url: The server.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self._program = [str(node_of(folder)), str(folder / "node_modules" / ".bin" / "conformance")]
        self._url = url

    def play(self, revision: str, results: Path) -> list[Outcome]:
        """All that a revision requires, and with the newest one the Tasks extension. What gives no result has failed."""
        self._server(results, "--requirements", revision)
        wanted = self._listed("--requirements", revision)
        if revision == MODERN:
            extension = [name for name in self._listed() if name.startswith(EXTENSION)]
            for name in sorted(set(extension) - set(read(results, revision))):
                self._server(results, "--scenario", name)
            wanted += extension
        silent = {name: Outcome(revision, name, 0, 0, ("the suite gave no result",)) for name in wanted}
        return list({**silent, **read(results, revision)}.values())

    def _server(self, results: Path, *options: str) -> None:
        given = ("--url", self._url, "--timeout", str(SCENARIO_MS), "--output-dir", str(results))
        self._run("server", *given, *options)

    def _listed(self, *options: str) -> list[str]:
        return listed(self._run("list", "--server", *options))

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([*self._program, *arguments], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return done.stdout


def listed(text: str) -> list[str]:
    """The names of the server scenarios in what the suite lists: `  - tools-list [2025-11-25]`, up to an empty line."""
    section = text.partition("Server scenarios")[2].partition("\n\n")[0]
    return re.findall(r"^\s*-\s+([\w./-]+)", section, re.MULTILINE)


def read(results: Path, revision: str) -> dict[str, Outcome]:
    """What the suite wrote: `server-<scenario>-<time>/checks.json`, by scenario."""
    found: dict[str, Outcome] = {}
    for checks in sorted(results.glob("server-*/checks.json")):
        name = re.sub(r"^server-(.+)-\d{4}-\d\d-\d\dT.*$", r"\1", checks.parent.name)
        found[name] = outcome(revision, name, json.loads(checks.read_text()))
    return found


def outcome(revision: str, name: str, checks: Sequence[dict[str, str]]) -> Outcome:
    """What came of the checks of a scenario."""
    states = [check["status"] for check in checks]
    problems = tuple(f"{c['id']}: {c.get('errorMessage', c.get('description', ''))}" for c in checks if c["status"] == "FAILURE")
    return Outcome(revision, name, states.count("SUCCESS"), states.count("SKIPPED"), problems)


def table(outcomes: Sequence[Outcome]) -> str:
    lines = ["| Revision | Scenario | Passed | Failed | Skipped | |", "|---|---|---|---|---|---|"]
    lines += [f"| {o.revision} | {o.scenario} | {o.passed} | {len(o.problems)} | {o.skipped} | {o.word} |" for o in outcomes]
    return "\n".join(lines)


def problems(outcomes: Sequence[Outcome]) -> str:
    """The failed checks, each shortened to what a terminal shows well."""
    return "\n".join(f"{o.revision} {o.scenario}: {problem[:400]}" for o in outcomes for problem in o.problems)


def played(url: str, revisions: Sequence[str], scratch: Path) -> list[Outcome]:
    """Raises CannotInstall."""
    suite = Suite(environment(pins()["conformance"]), url)
    return [outcome for revision in revisions for outcome in suite.play(revision, scratch / revision)]


async def against(url: str | None, command: str | None, revisions: Sequence[str]) -> list[Outcome]:
    """Plays the suite against a server that runs, or one that is started. Raises CannotInstall or NotServed."""
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="conformance-")))
        if url is None:
            serving = shlex.split(command) if command else [sys.executable, "-m", "interop.fixture_server"]
            server = served.over_http(serving, served.environment(), scratch / "server.log")
            url = f"{await stack.enter_async_context(server)}/mcp"
        return await asyncio.to_thread(played, url, revisions, scratch)


def main(given: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m interop.conformance", description=__doc__)
    parser.add_argument("--url", help="a server that runs, with its path")
    parser.add_argument("--server-command", help="starts a server that tells its address; interop.fixture_server by default")
    parser.add_argument("--requirements", action="append", choices=(LEGACY, MODERN), help="only this revision")
    told = parser.parse_args(given)
    try:
        outcomes = asyncio.run(against(told.url, told.server_command, told.requirements or (LEGACY, MODERN)))
    except (CannotInstall, served.NotServed) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    print(table(outcomes))
    failed = [one for one in outcomes if one.problems and not one.allowed]
    if failed:
        print(f"\n{problems(failed)}")
    print(f"\n{sum(one.passed for one in outcomes)} checks passed, {sum(len(one.problems) for one in outcomes)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
