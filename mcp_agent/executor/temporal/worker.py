"""The worker of an app: its workflows, its tasks and the framework's own steps, on one task queue."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio.worker import Worker

from mcp_agent.activities.builtin import app_tasks
from mcp_agent.executor.registry import Registry
from mcp_agent.executor.temporal.connection import Connection, open_connection
from mcp_agent.executor.temporal.plugin import AgentPlugin
from mcp_agent.executor.temporal.versioning import BuildPlugin, Deployment, build_id
from mcp_agent.executor.workflow_task import TaskDefinition

GRACE = timedelta(seconds=5)


def make_worker(
    connection: Connection,
    registry: Registry,
    tasks: Mapping[str, TaskDefinition],
    *,
    deployment: Deployment | None,
    changed: Callable[[str], None] = lambda run_id: None,
    **options: Any,
) -> Worker:
    """A Temporal worker for an app. `options` go to `temporalio.worker.Worker` as they are."""
    settings = registry.settings.temporal
    plugins: list[Any] = [AgentPlugin(registry, tasks, changed)]
    if deployment is not None:
        plugins.append(BuildPlugin(deployment))
    if settings.max_concurrent_activities is not None:
        options.setdefault("max_concurrent_activities", settings.max_concurrent_activities)
    return Worker(
        connection.client,
        task_queue=connection.task_queue,
        workflows=[definition.cls for definition in registry.workflows.values()],
        graceful_shutdown_timeout=GRACE,
        plugins=plugins,
        **options,
    )


def deployment_of(connection: Connection, registry: Registry) -> Deployment | None:
    """The builds of the app's queue; `None` where workers do not tell them apart."""
    return Deployment(connection.client, connection.task_queue, build_id(registry)) if connection.builds else None


class AppWorker:
    """What `create_temporal_worker_for_app` opens: `run()` serves until it is cancelled."""

    def __init__(self, worker: Worker, stack: AsyncExitStack, task_queue: str) -> None:
        self._worker = worker
        self._stack = stack
        self.task_queue = task_queue

    async def run(self) -> None:
        """Serves runs until cancelled, then stops in order."""
        try:
            await self._worker.run()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Closes what the worker opened; harmless twice."""
        await self._stack.aclose()


class create_temporal_worker_for_app:  # noqa: N801 - the specification's name, used with `await` and `async with`
    """A worker for an app (specification, "Create Worker" and "Worker Scaling").

    `async with create_temporal_worker_for_app(app) as worker: await worker.run()`, or
    `worker = await create_temporal_worker_for_app(app); await worker.run()`.

    Args:
        app: The app.
        task_queue: The configured queue by default.
        max_concurrent_workflows: Runs whose code is executed at the same time.
        max_concurrent_activities: Steps under way at the same time.
        max_cached_workflows: Runs kept in memory between their events.
        activity_executor: Where plain (not async) tasks run.

    Raises:
        ConfigError: The configuration is wrong.
        EngineUnavailable: Temporal cannot be reached or started.
    """

    def __init__(
        self,
        app: Registry,
        *,
        task_queue: str | None = None,
        max_concurrent_workflows: int | None = None,
        max_concurrent_activities: int | None = None,
        max_cached_workflows: int | None = None,
        activity_executor: Any = None,
    ) -> None:
        self._app = app
        self._task_queue = task_queue
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
            worker = make_worker(connection, self._app, tasks, deployment=deployment_of(connection, self._app), **self._options)
            kept = stack.pop_all()
        return AppWorker(worker, kept, connection.task_queue)
