"""What makes a Temporal worker or replayer run the workflows of this package: `Worker(..., plugins=[AgentPlugin(app)])`."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, cast

import temporalio.worker
from temporalio import activity
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer, ReplayerConfig, Worker, WorkerConfig, WorkflowReplayResult
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from mcp_agent.activities.builtin import AppTasks
from mcp_agent.executor.failures import call_plain
from mcp_agent.executor.registry import Registry
from mcp_agent.executor.temporal.converter import with_models
from mcp_agent.executor.temporal.frozen_code import FrozenCodeRunner
from mcp_agent.executor.temporal.interceptors import AgentInterceptor
from mcp_agent.executor.workflow_task import TaskDefinition

# What workflow code may import as it is: libraries that hold no state of a run. Everything else is executed anew per run.
PASSTHROUGH = (
    "mcp_agent",
    "annotated_types",
    "anthropic",
    "anyio",
    "google.genai",
    "httpcore2",
    "httpx2",
    "jsonschema",
    "mcp",
    "mcp_types",
    "openai",
    "opentelemetry",
    "pydantic",
    "pydantic_core",
    "pydantic_settings",
    "sniffio",
    "typing_extensions",
    "typing_inspection",
    "yaml",
)
STICKY_TIMEOUT = timedelta(seconds=1)
HEARTBEAT_THROTTLE = timedelta(milliseconds=500)
SYNC_STEP_THREADS = 32
_DEFAULTS: dict[str, Any] = {
    "sticky_queue_schedule_to_start_timeout": STICKY_TIMEOUT,
    "max_heartbeat_throttle_interval": HEARTBEAT_THROTTLE,
    "default_heartbeat_throttle_interval": HEARTBEAT_THROTTLE,
}


class AgentPlugin(temporalio.worker.Plugin):
    """Adds an app's steps, and what runs of its workflows stand on.

    Args:
        app: The app.
        tasks: Its steps where they are open already; else the plugin opens and closes them with the worker.
        changed: Told the id of a run in this process whose public state changes; called from any thread.
    """

    def __init__(
        self,
        app: Registry,
        tasks: Mapping[str, TaskDefinition] | None = None,
        changed: Callable[[str], None] = lambda run_id: None,
    ) -> None:
        self._app = app
        self._own = None if tasks is not None else AppTasks(app)
        self._tasks = tasks if tasks is not None else self._own.tasks if self._own is not None else {}
        self._changed = changed

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        given = cast("dict[str, Any]", config)
        client = _with_models(given["client"])
        activities: list[Any] = list(given.get("activities") or ())
        own = {activity._Definition.must_from_callable(function).name for function in activities}  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        activities += [_activity(task) for name, task in self._tasks.items() if name not in own]
        given |= {
            **_DEFAULTS,
            "client": client,
            "activities": activities,
            "interceptors": [*(given.get("interceptors") or ()), self._interceptor(client)],
            "workflow_runner": self._runner(given.get("workflow_runner")),
        }
        if given.get("activity_executor") is None:
            threads = max(SYNC_STEP_THREADS, given.get("max_concurrent_activities") or 0)
            given["activity_executor"] = ThreadPoolExecutor(threads, thread_name_prefix="mcp-agent-step")
        return config

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        try:
            await next(worker)
        finally:
            if self._own is not None:
                await self._own.aclose()

    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        config["data_converter"] = with_models(config.get("data_converter"))
        config["interceptors"] = [*(config.get("interceptors") or ()), self._interceptor(None)]
        config["workflow_runner"] = self._runner(config.get("workflow_runner"))
        return config

    def run_replayer(
        self,
        replayer: Replayer,
        histories: AsyncIterator[WorkflowHistory],
        next: Callable[
            [Replayer, AsyncIterator[WorkflowHistory]],
            AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]],
        ],
    ) -> AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]]:
        return next(replayer, histories)

    def _interceptor(self, client: Client | None) -> AgentInterceptor:
        policies = self._app.settings.retry_policies()
        return AgentInterceptor(client, policies, self._changed, lambda: self._app.direct_calls(self._tasks))

    def _runner(self, runner: Any) -> Any:
        """Passes libraries through the sandbox; a runner that is none is the user's own choice."""
        if runner is not None and not isinstance(runner, SandboxedWorkflowRunner):
            return runner
        given = runner or SandboxedWorkflowRunner()
        more: Sequence[str] = self._app.settings.temporal.passthrough_modules
        restrictions = given.restrictions.with_passthrough_modules(*PASSTHROUGH, *more)
        return FrozenCodeRunner(restrictions=restrictions, runner_class=given.runner_class)


def _with_models(client: Client) -> Client:
    """A client that reads and writes models, where it has Temporal's default converter."""
    config = client.config()
    converter = with_models(config["data_converter"])
    if config["data_converter"] is converter:
        return client
    config["data_converter"] = converter
    return Client(**config)


def _activity(task: TaskDefinition) -> Callable[..., Any]:
    """The task's function as an activity. A wrapper of its own, so that one function may serve under two names."""
    target = task.function

    async def run_async(*args: Any) -> Any:
        return await target(*args)

    def run_in_thread(*args: Any) -> Any:
        return call_plain(target, args)

    run: Any = run_async if inspect.iscoroutinefunction(target) else run_in_thread
    run.__wrapped__ = target  # signature and types are the function's
    run.__annotations__ = getattr(target, "__annotations__", {})
    return activity.defn(name=task.name)(run)
