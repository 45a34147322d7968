"""Gets Temporal's test server, which skips the time that workflows wait, for `WorkflowEnvironment.start_time_skipping`."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from mcp_agent.errors import EngineUnavailable
from mcp_agent.executor.temporal.locks import Kind, locked
from mcp_agent.executor.temporal.making import CannotMake, Command, Report, cache_dir, emptied, is_program

SERVER_VARIABLE = "MCP_AGENT_TIME_SKIPPING_SERVER"
VERSION = "1.38.0"
DOWNLOAD_WITHIN = 600.0
DOWNLOAD_STALLED = 30.0
MAVEN_WITHIN = 600.0

# The SDK downloads the program to start it: hence a process of its own.
_DOWNLOAD = """
import asyncio, sys
from temporalio.testing import WorkflowEnvironment

async def main():
    environment = await WorkflowEnvironment.start_time_skipping(download_dest_dir=sys.argv[1])
    await environment.shutdown()
    await asyncio.sleep(0.3)  # an interpreter that ends right after the shutdown may crash (sdk-python issue 300)

try:
    asyncio.run(main())
except RuntimeError as error:
    sys.exit(str(error))
"""

_PROJECT = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>durable-mcp-agent</groupId>
  <artifactId>time-skipping</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>io.temporal</groupId>
      <artifactId>temporal-test-server</artifactId>
      <version>{VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""

_SCRIPT = """#!/bin/sh
exec java -cp "$(dirname "$0")/lib/*" io.temporal.testserver.TestServer "$@"
"""


async def time_skipping_server_path(report: Report) -> Path:
    """The test server's program, for `WorkflowEnvironment.start_time_skipping(test_server_existing_path=)`.

    The one in the variable MCP_AGENT_TIME_SKIPPING_SERVER, else one that was got before, else the SDK's own download, else
    Maven's artifact, which needs Java. What is got is kept in the user's cache folder.

    Args:
        report: Told, in a line at a time, what is under way when it takes long.

    Raises:
        EngineUnavailable: It cannot be had; names what was tried and what to do.
    """
    given = os.environ.get(SERVER_VARIABLE)
    if given:
        if not is_program(Path(given)):
            raise EngineUnavailable(f"`{given}` (`{SERVER_VARIABLE}`) is no program that can be run: correct the path.")
        return Path(given).absolute()
    tried: list[str] = []
    try:
        return await _made(report, tried)
    except CannotMake as failure:
        tried.append(str(failure))
    raise EngineUnavailable(
        f"There is no Temporal test server. Tried: {'; '.join(tried)}. Install Java and Maven (`java` and `mvn` on PATH), "
        f"or name the program in the variable {SERVER_VARIABLE}."
    )


async def _made(report: Report, tried: list[str]) -> Path:
    """The one in the cache. One process gets it; others wait for that one."""
    home = cache_dir() / f"time-skipping-{VERSION}"
    program = home / "start"
    if is_program(program):
        return program
    waiting = "another process is getting the test server: waiting for it"
    async with locked(cache_dir() / "time-skipping.lock", Kind.EXCLUSIVE, lambda: report(waiting)) as lock:
        if is_program(program):
            return program
        for name, way in (("the SDK's download", _download), ("Maven", _copy_from_maven)):
            part = emptied(home.with_name(f"{home.name}.part"))
            try:
                await way(part, lock, report)
            except CannotMake as failure:
                tried.append(f"{name}: {failure}")
            else:
                shutil.rmtree(home, ignore_errors=True)
                part.rename(home)
                return program
    raise CannotMake("nothing else is left to try")


async def _download(folder: Path, lock: int, report: Report) -> None:
    report("getting Temporal's test server: trying the SDK's download")
    arguments = [sys.executable, "-c", _DOWNLOAD, folder]
    await Command(arguments, folder, DOWNLOAD_WITHIN, DOWNLOAD_STALLED, hold=[lock]).run(report)
    program = next((path for path in folder.iterdir() if is_program(path)), None)
    if program is None:
        raise CannotMake("it left no program")
    program.rename(folder / "start")


async def _copy_from_maven(folder: Path, lock: int, report: Report) -> None:
    missing = [program for program in ("java", "mvn") if shutil.which(program) is None]
    if missing:
        raise CannotMake(f"{' and '.join(f'`{program}`' for program in missing)} not on PATH")
    report(f"getting Temporal's test server {VERSION} with Maven")
    (folder / "pom.xml").write_text(_PROJECT)
    arguments = ["mvn", "--batch-mode", "--no-transfer-progress", "-Dstyle.color=never", "dependency:copy-dependencies"]
    arguments += ["-DincludeScope=runtime", f"-DoutputDirectory={folder / 'lib'}"]
    await Command(arguments, folder, MAVEN_WITHIN, hold=[lock]).run(report)
    (folder / "start").write_text(_SCRIPT)
    (folder / "start").chmod(0o755)
