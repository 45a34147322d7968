"""For pytest, which loads it by itself: plain Temporal workers of tests run this package's workflows as they are.

The specification's time-skipping test makes a `Worker(env.client, workflows=[X])` and nothing else. Under pytest such a
worker gets the app's `AgentPlugin`, and `WorkflowEnvironment.start_time_skipping` a test server where none can be downloaded.
"""

from __future__ import annotations

import functools
import logging
import sys
from datetime import timedelta
from typing import Any, cast

import pytest

_LOGGER = logging.getLogger(__name__)
# The SDK waits for five seconds; on a busy machine Java alone takes them.
_TEST_SERVER_START = timedelta(seconds=60)


@pytest.fixture(autouse=True)
def _mcp_agent_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does nothing for tests that use neither Temporal nor this package."""
    if "temporalio.worker" in sys.modules and "mcp_agent.executor.workflow" in sys.modules:
        _configure_workers(monkeypatch)
    if "temporalio.testing" in sys.modules:
        _find_test_server(monkeypatch)


def _configure_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    from temporalio.worker import Worker  # noqa: PLC0415 - only where the test has imported it

    from mcp_agent.executor.workflow import APP_MARK  # noqa: PLC0415

    make = cast("Any", Worker).__init__

    @functools.wraps(make)
    def make_configured(self: Any, *args: Any, **options: Any) -> None:
        classes: list[type] = list(options.get("workflows", ()))
        apps: set[Any] = {vars(cls)[APP_MARK] for cls in classes if APP_MARK in vars(cls)}
        if apps:
            from mcp_agent.executor.temporal import AgentPlugin  # noqa: PLC0415

            plugins = list(options.get("plugins", ()))
            if not any(isinstance(plugin, AgentPlugin) for plugin in plugins):
                options["plugins"] = [*plugins, *(AgentPlugin(app) for app in apps)]
        make(self, *args, **options)

    monkeypatch.setattr(Worker, "__init__", make_configured)


def _find_test_server(monkeypatch: pytest.MonkeyPatch) -> None:
    from temporalio.testing import WorkflowEnvironment  # noqa: PLC0415 - only where the test has imported it

    start: Any = WorkflowEnvironment.start_time_skipping

    async def start_with_server(*args: Any, **options: Any) -> Any:
        if options.get("test_server_existing_path") is None and options.get("test_server_download_version") is None:
            from mcp_agent.testing.time_skipping import time_skipping_server_path  # noqa: PLC0415

            program = await time_skipping_server_path(_LOGGER.info)
            options["test_server_existing_path"] = str(program)
        options.setdefault("test_server_startup_timeout", _TEST_SERVER_START)
        return await start(*args, **options)

    monkeypatch.setattr(WorkflowEnvironment, "start_time_skipping", staticmethod(start_with_server))
