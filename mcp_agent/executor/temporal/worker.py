"""The workers of an app: its workflows, its tasks and the framework's own steps, on its task queues."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio.worker import Worker

from mcp_agent.activities.builtin import app_tasks
from mcp_agent.config_queues import WORKFLOWS
from mcp_agent.executor.registry import Registry
from mcp_agent.executor.temporal.connection import Connection, open_connection
from mcp_agent.executor.temporal.lasting import LastingWorker, OnFatalError
from mcp_agent.executor.temporal.placing import StepQueues
from mcp_agent.executor.temporal.plugin import AgentPlugin
from mcp_agent.executor.temporal.service import service_of
from mcp_agent.executor.temporal.versioning import VersionPlugin, Work, deployment_of
from mcp_agent.executor.temporal.worker_options import worker_options
from mcp_agent.executor.temporal.workers import Served, Workers
from mcp_agent.executor.workflow_task import TaskDefinition
from mcp_agent.observability.endpoints import endpoints


def make_workers(
    connection: Connection,
    registry: Registry,
    tasks: Mapping[str, TaskDefinition],
    *,
    queues: Collection[str] | None = None,
    changed: Callable[[str], None] = lambda run_id: None,
    **given: Any,
) -> Workers:
    """The workers of an app, one for each of its queues. All know all steps, so that one which was scheduled before the
    configuration changed finds its worker.

    Args:
        connection: Where the app's runs live.
        registry: The app.
        tasks: Its steps.
        queues: Those of `temporal.queues` to serve, `workflows` for that of the workflows; all by default.
        changed: Told the id of a run in this process whose public state changes; called from any thread.
        given: Options for `temporalio.worker.Worker`, of each queue.

    Raises:
        ConfigError: There is no such queue, or a configured one is none.
        DefinitionError: A workflow, or one of its handlers, takes or gives what cannot be sent.
    """
    for definition in registry.workflows.values():
        definition.check_types()
    placing = StepQueues(registry.settings.temporal.queues)
    placing.check_used(tasks.values())
    deployment = deployment_of(connection.client, registry, connection.task_queue)
    served: list[Served] = []
    for name, task_queue in placing.served(connection.task_queue, queues).items():
        work: Work = "workflows" if name == WORKFLOWS else "steps"
        plugins: list[Any] = [AgentPlugin(registry, tasks, changed)]
        if deployment is not None:
            plugins.append(VersionPlugin(deployment if work == "workflows" else deployment.of_steps(task_queue)))
        options = {
            **worker_options(registry.settings.temporal, given, name),
            "task_queue": task_queue,
            "workflows": [definition.cls for definition in registry.workflows.values()] if work == "workflows" else [],
            "plugins": plugins,
        }
        served.append(Served(name, task_queue, work, _lasting(connection, registry, options)))
    return Workers(connection.client, served)


def _lasting(connection: Connection, registry: Registry, options: Mapping[str, Any]) -> LastingWorker:
    client, grace = connection.client, timedelta(seconds=registry.settings.server.grace_seconds)

    def make(identity: str, on_fatal_error: OnFatalError) -> Worker:
        return Worker(client, identity=identity, graceful_shutdown_timeout=grace, on_fatal_error=on_fatal_error, **options)

    return LastingWorker(make, client.identity, service_of(client), connection.reconnect, grace)


class AppWorker:
    """What `create_temporal_worker_for_app` opens: `run()` serves until it is cancelled, or until SIGTERM.

    Attributes:
        task_queue: Of the workflows.
        task_queues: All that are served, by their names in `temporal.queues`; `workflows` is that of the workflows.
    """

    def __init__(self, workers: Workers, stack: AsyncExitStack, task_queue: str) -> None:
        self._workers = workers
        self._stack = stack
        self.task_queue = task_queue
        self.task_queues = workers.task_queues

    async def run(self) -> None:
        """Serves runs until cancelled or until SIGTERM, then stops in order: steps under way get `server.grace_seconds`."""
        try:
            with _at_sigterm(self._workers.shutdown):
                await self._workers.run()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Closes what the worker opened; harmless twice."""
        await self._stack.aclose()


@contextmanager
def _at_sigterm(act: Callable[[], None]) -> Generator[None, None, None]:
    """Calls `act` at SIGTERM, where the program does nothing about it itself."""
    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    loop = asyncio.get_running_loop()
    if mine:
        loop.add_signal_handler(signal.SIGTERM, act)
    try:
        yield
    finally:
        if mine:
            loop.remove_signal_handler(signal.SIGTERM)


class create_temporal_worker_for_app:  # noqa: N801 - the specification's name, used with `await` and `async with`
    """A worker for an app (specification, "Create Worker" and "Worker Scaling").

    `async with create_temporal_worker_for_app(app) as worker: await worker.run()`, or
    `worker = await create_temporal_worker_for_app(app); await worker.run()`.

    Args:
        app: The app.
        task_queue: Of the workflows; the configured one by default.
        queues: Which of `temporal.queues` it serves, with `workflows` for that of the workflows; all by default.
        max_concurrent_workflows: Runs whose code is executed at the same time.
        max_concurrent_activities: Steps under way at the same time.
        max_cached_workflows: Runs kept in memory between their events.
        activity_executor: Where plain (not async) tasks run.

    Raises:
        ConfigError: The configuration is wrong.
        DefinitionError: A workflow, or one of its handlers, takes or gives what cannot be sent.
        EngineUnavailable: Temporal cannot be reached or started.
    """

    def __init__(
        self,
        app: Registry,
        *,
        task_queue: str | None = None,
        queues: Collection[str] | None = None,
        max_concurrent_workflows: int | None = None,
        max_concurrent_activities: int | None = None,
        max_cached_workflows: int | None = None,
        activity_executor: Any = None,
    ) -> None:
        self._app = app
        self._task_queue = task_queue
        self._queues = queues
        given = {
            "max_concurrent_workflow_tasks": max_concurrent_workflows,
            "max_concurrent_activities": max_concurrent_activities,
            "max_cached_workflows": max_cached_workflows,
            "activity_executor": activity_executor,
        }
        self._options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self._opened: AppWorker | None = None

    def __await__(self) -> Generator[Any, Any, AppWorker]:
        return self._open().__await__()

    async def __aenter__(self) -> AppWorker:
        self._opened = await self._open()
        return self._opened

    async def __aexit__(self, *error: object) -> None:
        if self._opened is not None:
            await self._opened.aclose()

    async def _open(self) -> AppWorker:
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(open_connection(self._app))
            tasks = await stack.enter_async_context(app_tasks(self._app))
            connection = replace(connection, task_queue=self._task_queue or connection.task_queue)
            workers = make_workers(connection, self._app, tasks, queues=self._queues, **self._options)
            settings, metrics = self._app.settings.observability, self._app.telemetry.metrics
            await stack.enter_async_context(endpoints(settings, metrics, workers.health))
            kept = stack.pop_all()
        return AppWorker(workers, kept, connection.task_queue)
