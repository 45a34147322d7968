"""What `temporal.worker` says, as options of temporalio's `Worker`."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from temporalio.worker import (
    PollerBehavior,
    PollerBehaviorAutoscaling,
    PollerBehaviorSimpleMaximum,
    ResourceBasedSlotConfig,
    WorkerTuner,
)

from mcp_agent.config import PollerSettings, TemporalSettings, TunerSettings, WorkerSettings
from mcp_agent.config_queues import WORKFLOWS, QueueSettings

THREAD_NAME = "mcp-agent-step"
_OF_WORKFLOWS = ("max_concurrent_workflows", "max_cached_workflows", "workflow_pollers")
_OF_STEPS = tuple(name for name in QueueSettings.model_fields if name in WorkerSettings.model_fields)
_BOUNDS = ("max_concurrent_workflow_tasks", "max_concurrent_activities")


def worker_options(settings: TemporalSettings, given: Mapping[str, Any], queue: str = WORKFLOWS) -> dict[str, Any]:
    """The options of the configuration for one of its queues, and those that the code gives, which win."""
    worker, activities = _of_queue(settings, queue)
    options: dict[str, Any] = {
        "max_concurrent_workflow_tasks": worker.max_concurrent_workflows,
        "max_concurrent_activities": activities,
        "max_cached_workflows": worker.max_cached_workflows,
        "max_activities_per_second": worker.max_activities_per_second,
        "max_task_queue_activities_per_second": worker.max_queue_activities_per_second,
        "workflow_task_poller_behavior": _pollers(worker.workflow_pollers),
        "activity_task_poller_behavior": _pollers(worker.activity_pollers),
        "tuner": None if worker.tuner is None or given.keys() & set(_BOUNDS) else _tuner(worker.tuner),
    }
    options = {name: value for name, value in {**options, **given}.items() if value is not None}
    threads = worker.threads or (worker.tuner.maximum_activities if "tuner" in options and worker.tuner else None)
    if threads is not None and "activity_executor" not in options:
        options["activity_executor"] = ThreadPoolExecutor(threads, thread_name_prefix=THREAD_NAME)
    return options


def _of_queue(settings: TemporalSettings, name: str) -> tuple[WorkerSettings, int | None]:
    """What is said of a queue, and how many of its steps run at the same time; what it does not say, the whole section says."""
    if name == WORKFLOWS:
        return settings.worker, settings.max_concurrent_activities
    queue = settings.queues[name]
    said = {option: getattr(queue, option) for option in _OF_STEPS if getattr(queue, option) is not None}
    if queue.max_concurrent_activities is not None:
        said["tuner"] = None
    worker = settings.worker.model_copy(update={**dict.fromkeys(_OF_WORKFLOWS), **said})
    number = queue.max_concurrent_activities or settings.max_concurrent_activities
    return worker, number if worker.tuner is None else None


def _pollers(settings: int | PollerSettings | None) -> PollerBehavior | None:
    if settings is None:
        return None
    if isinstance(settings, int):
        return PollerBehaviorSimpleMaximum(settings)
    return PollerBehaviorAutoscaling(settings.minimum, settings.maximum, settings.initial)


def _tuner(settings: TunerSettings) -> WorkerTuner:
    return WorkerTuner.create_resource_based(
        target_memory_usage=settings.target_memory_usage,
        target_cpu_usage=settings.target_cpu_usage,
        workflow_config=ResourceBasedSlotConfig(maximum_slots=settings.maximum_workflows),
        activity_config=ResourceBasedSlotConfig(maximum_slots=settings.maximum_activities),
    )
