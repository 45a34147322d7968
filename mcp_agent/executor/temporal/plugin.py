"""What makes a Temporal worker or replayer run the workflows of this package: `Worker(..., plugins=[AgentPlugin(app)])`."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from typing import Any, cast

import temporalio.worker
from temporalio import activity
from temporalio.client import Client, WorkflowHistory
from temporalio.common import HeaderCodecBehavior, RawValue
from temporalio.converter import DataConverter, DefaultFailureConverter
from temporalio.worker import Replayer, ReplayerConfig, Worker, WorkerConfig, WorkflowReplayResult
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from mcp_agent.activities.builtin import AppTasks
from mcp_agent.errors import ConfigError
from mcp_agent.executor.failures import call_plain
from mcp_agent.executor.payloads import decode, json_of, largest_value, reading, round_trip
from mcp_agent.executor.registry import Registry, find_workflow
from mcp_agent.executor.temporal.converter import with_models
from mcp_agent.executor.temporal.encryption import SealedFailureConverter
from mcp_agent.executor.temporal.frozen_code import FrozenCodeRunner
from mcp_agent.executor.temporal.interceptors import AgentInterceptor
from mcp_agent.executor.temporal.limits import LONGEST_THOUGHT
from mcp_agent.executor.temporal.placing import Placing
from mcp_agent.executor.temporal.storing import codec_of, storage_of
from mcp_agent.executor.workflow_task import TaskDefinition
from mcp_agent.observability.telemetry import Telemetry

# What workflow code may import as it is: libraries that hold no state of a run. Everything else is executed anew per run.
PASSTHROUGH = (
    "mcp_agent",
    "annotated_types",
    "anthropic",
    "anyio",
    "cryptography",
    "google.genai",
    "httpcore",
    "httpcore2",
    "httpx",
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
STICKY_TIMEOUT = timedelta(seconds=2)
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
        """Raises ConfigError if the app's settings ask for encryption and the client stores values as they are."""
        given = cast("dict[str, Any]", config)
        client = _fitted(given["client"])
        self._check_stores(client.data_converter)
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

    def _check_stores(self, converter: DataConverter) -> None:
        asked = self._app.settings.temporal
        if converter.payload_codec is None and asked.data_converter is not None and asked.data_converter.encrypts:
            raise ConfigError(
                "The app's `temporal.data_converter` asks for encryption, and the worker's client does not encrypt: connect it "
                "with `data_converter=CompositeConverter(EncryptionConverter(key))`, or use `create_temporal_worker_for_app`."
            )
        if converter.external_storage is None and asked.external_storage is not None:
            raise ConfigError(
                "The app's `temporal.external_storage` says where large values are kept, and the worker's client keeps none: "
                "give it `external_storage` in its data converter, or use `create_temporal_worker_for_app`."
            )

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        _let_think(worker)
        try:
            await next(worker)
        finally:
            if self._own is not None:
                await self._own.aclose()

    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        """Histories are read with the app's key where the replayer is given no codec. Raises ConfigError for a wrong key."""
        converter, asked = with_models(config.get("data_converter")), self._app.settings.temporal
        if converter.payload_codec is None:
            converter = dataclasses.replace(converter, payload_codec=codec_of(asked))
        if converter.external_storage is None:
            converter = dataclasses.replace(converter, external_storage=storage_of(asked, writes=False))
        if converter.failure_converter_class is SealedFailureConverter:  # nothing is stored: what differs is told as it is
            converter = dataclasses.replace(converter, failure_converter_class=DefaultFailureConverter)
        config["data_converter"] = converter
        if converter.payload_codec is not None:
            config["header_codec_behavior"] = HeaderCodecBehavior.CODEC
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
        policies, placing = self._app.settings.retry_policies(), Placing.of(self._app)
        around = partial(self._app.direct_calls, self._tasks)
        largest = largest_value(self._app.settings.temporal.external_storage)
        telemetry = self._app.telemetry if client is not None else Telemetry()  # a replay measures nothing
        return AgentInterceptor(
            client, policies, placing, self._changed, around, self._check_result, self._bind_child, largest, telemetry
        )

    def _check_result(self, workflow: str, result: bytes) -> None:
        """Raises WorkflowApplicationError for a result that is not of the type that the workflow declares."""
        definition = self._app.workflows.get(workflow)
        if definition is not None:
            with reading(f"The result of `{workflow}`"):
                decode(result, definition.result_type)

    def _bind_child(self, workflow: str, args: Sequence[bytes]) -> list[bytes]:
        """Arguments for a child by the types of its `run`, which a run that knows only its name does not see."""
        definition = find_workflow(self._app, workflow)
        return [json_of(value) for value in definition.bind_positional([decode(arg, None) for arg in args])]

    def _runner(self, runner: Any) -> Any:
        """Passes libraries through the sandbox; a runner that is none is the user's own choice."""
        if runner is not None and not isinstance(runner, SandboxedWorkflowRunner):
            return runner
        given = runner or SandboxedWorkflowRunner()
        more: Sequence[str] = self._app.settings.temporal.passthrough_modules
        restrictions = given.restrictions.with_passthrough_modules(*PASSTHROUGH, *more)
        # A zone that was made where the module is restricted could not be put into a datetime.
        members = restrictions.invalid_module_members.with_child_unrestricted("zoneinfo", "ZoneInfo")
        restrictions = dataclasses.replace(restrictions, invalid_module_members=members)
        return FrozenCodeRunner(restrictions=restrictions, runner_class=given.runner_class)


def _let_think(worker: Worker) -> None:
    """Gives workflow code longer between two waits than temporalio's 2 s, for which it has no option."""
    thinking: Any = worker._workflow_worker  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    if thinking is not None and thinking._deadlock_timeout_seconds is not None:  # noqa: SLF001
        thinking._deadlock_timeout_seconds = LONGEST_THOUGHT.total_seconds()  # noqa: SLF001


def _fitted(client: Client) -> Client:
    """A client that reads and writes models where it has Temporal's default converter, and headers through its codec."""
    config = client.config()
    converter, headers = with_models(config["data_converter"]), config["header_codec_behavior"]
    if converter.payload_codec is not None:  # else what a run hands over when it continues as new would be in clear
        headers = HeaderCodecBehavior.CODEC
    if converter is config["data_converter"] and headers == config["header_codec_behavior"]:
        return client
    config["data_converter"], config["header_codec_behavior"] = converter, headers
    return Client(**config)


def _activity(task: TaskDefinition) -> Callable[..., Any]:
    """The task's function as an activity. A wrapper of its own, so that one function may serve under two names."""
    target = task.function

    async def run_async(*args: Any) -> Any:
        return await target(*_typed(task, args))

    def run_in_thread(*args: Any) -> Any:
        return call_plain(target, _typed(task, args))

    run: Any = run_async if inspect.iscoroutinefunction(target) else run_in_thread
    if not task.takes_any_number:
        # Arguments arrive unread: temporalio would try those that do not fit their types again and again.
        raw = {f"argument{number}": RawValue for number in range(len(task.parameter_types))}
        kind = inspect.Parameter.POSITIONAL_ONLY
        run.__signature__ = inspect.Signature([inspect.Parameter(name, kind, annotation=RawValue) for name in raw])
        run.__annotations__ = raw
    return activity.defn(name=task.name)(run)


def _typed(task: TaskDefinition, args: Sequence[Any]) -> list[Any]:
    """Arguments as the task's types. Raises WorkflowApplicationError, type `UnreadableValue`."""
    convert = activity.payload_converter().from_payload
    what = f"An argument of step `{task.name}`"
    with reading(what):
        return [
            convert(arg.payload, type_) if isinstance(arg, RawValue) else round_trip(arg, type_, what)
            for arg, type_ in zip(args, task.types_of(len(args)), strict=True)
        ]
