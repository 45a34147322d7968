import asyncio
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest

from mcp_agent.errors import EngineUnavailable
from mcp_agent.executor.temporal.binary import find_or_make_binary
from mcp_agent.executor.temporal.dev_server import GRACE_VARIABLE, data_dir, ensure, status
from mcp_agent.executor.temporal.making import CannotMake
from mcp_agent.testing.time_skipping import time_skipping_server_path
from tests.fakes import aimock_program
from tests.support import until_gone


def pytest_configure() -> None:
    """A shell that starts the tests in the background has SIGINT ignored, and every program that they start inherits it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Gets the programs that tests use before any test's clock runs: on a new machine one is built, which takes minutes."""
    if hasattr(session.config, "workerinput"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    say: Callable[[str], None] = print if reporter is None else reporter.write_line
    wanted: list[Callable[[], Awaitable[Path]]] = [
        lambda: find_or_make_binary(None, say),
        lambda: time_skipping_server_path(say),
        lambda: aimock_program(say),
    ]
    for get in wanted:
        try:
            asyncio.run(_awaited(get))
        except (EngineUnavailable, CannotMake) as error:
            say(f"tests that need it fail or are skipped: {error}")


async def _awaited(get: Callable[[], Awaitable[Path]]) -> Path:
    return await get()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Path, None]:
    """The data folder of an embedded Temporal that tests share."""
    folder = tmp_path_factory.mktemp("temporal")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(GRACE_VARIABLE, "1")
        async with ensure(data_dir(folder), await find_or_make_binary(None, print), print):
            server = status(folder)
            yield folder
    assert server is not None
    await until_gone(server.keeper_pid, server.server_pid)
