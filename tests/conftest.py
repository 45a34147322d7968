import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mcp_agent.errors import EngineUnavailable
from mcp_agent.executor.temporal.binary import find_or_make_binary
from mcp_agent.testing.time_skipping import time_skipping_server_path


def pytest_sessionstart(session: pytest.Session) -> None:
    """Gets the programs that tests use before any test's clock runs: on a new machine one is built, which takes minutes."""
    if hasattr(session.config, "workerinput"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    say: Callable[[str], None] = print if reporter is None else reporter.write_line
    wanted: list[Callable[[], Awaitable[Path]]] = [
        lambda: find_or_make_binary(None, say),
        lambda: time_skipping_server_path(say),
    ]
    for get in wanted:
        try:
            asyncio.run(_awaited(get))
        except EngineUnavailable as error:
            say(f"tests that need it will fail: {error}")


async def _awaited(get: Callable[[], Awaitable[Path]]) -> Path:
    return await get()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
