"""The SDK's core and what it measures; `Runtime` objects of user code (specification, "Monitoring and Observability")."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, cast

import temporalio.runtime
from temporalio import workflow
from temporalio.common import MetricAttributes, MetricMeter
from temporalio.runtime import (
    BUFFERED_METRIC_KIND_COUNTER,
    BUFFERED_METRIC_KIND_GAUGE,
    BufferedMetric,
    BufferedMetricUpdate,
    LogForwardingConfig,
    LoggingConfig,
    MetricBuffer,
    MetricBufferDurationFormat,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from mcp_agent.observability.metrics import MOST_SERIES, Labels, Measurements, Metric, Metrics, labels_of, metric_name

BUFFERED = 100_000
"""Values that fit between two times of draining."""
DRAIN_EVERY = 0.5
"""Seconds."""
_GAUGE = BUFFERED_METRIC_KIND_GAUGE


def install() -> None:
    """Lets modules with workflows make a runtime. Done when the Temporal engine is imported.

    Temporal's sandbox executes such a module anew for each run. A second runtime would find the port of the first one taken,
    and no run would begin: so in the sandbox the object stands for nothing.
    """
    make = cast("Any", Runtime).__init__

    @functools.wraps(make)
    def make_outside_of_runs(self: Any, *args: Any, **options: Any) -> None:
        if workflow.unsafe.in_sandbox():
            self._metric_meter = MetricMeter.noop
        else:
            make(self, *args, **options)

    setattr(Runtime, "__init__", make_outside_of_runs)  # noqa: B010 - a method of another package's class


def measuring_default() -> Runtime | None:
    """What the program has given to `Runtime.set_default`, where that measures.

    One that does not is most likely Temporal's own, which it makes by itself for the first client, and which logs to stdout.
    """
    kept: Runtime | None = temporalio.runtime._runtime_ref._default_runtime  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    return kept if kept is not None and kept.metric_meter is not MetricMeter.noop else None


class CoreMetrics:
    """What the SDK's core and the meters of user code measure, put beside the app's own values.

    The names are those that the SDK's own Prometheus endpoint has with `counters_total_suffix`, `unit_suffix` and
    `durations_as_seconds`.
    """

    def __init__(self, measurements: Measurements) -> None:
        self._measurements = measurements
        self._buffer = MetricBuffer(BUFFERED, MetricBufferDurationFormat.SECONDS)
        self._metrics: dict[int, tuple[BufferedMetric, Metric]] = {}
        self._labels: dict[tuple[tuple[str, Any], ...], Labels] = {}
        self.runtime = Runtime(telemetry=TelemetryConfig(logging=core_logging(), metrics=self._buffer))
        measurements.before_reading(self.drain)

    def drain(self) -> None:
        """Takes over what has been measured since the last time."""
        updates = self._buffer.retrieve_updates()
        self._measurements.keep_all(
            (self._metric(update.metric), update.value, self._labels_of(update.attributes)) for update in _last_of_gauges(updates)
        )

    @asynccontextmanager
    async def draining(self) -> AsyncGenerator[None, None]:
        """In the block it is done often enough: what does not fit into the buffer is dropped."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None

        def drain() -> None:
            nonlocal timer
            timer = loop.call_later(DRAIN_EVERY, drain)
            self.drain()

        drain()
        try:
            yield
        finally:
            assert timer is not None
            timer.cancel()
            self.drain()

    def _metric(self, metric: BufferedMetric) -> Metric:
        known = self._metrics.get(id(metric))  # it is the same object each time, as long as somebody holds it
        if known is None:
            if len(self._metrics) >= MOST_SERIES:  # meters of user code make new ones
                self._metrics.clear()
            known = self._metrics[id(metric)] = (metric, _named(metric))
        return known[1]

    def _labels_of(self, attributes: MetricAttributes) -> Labels:
        key = tuple(attributes.items())
        known = self._labels.get(key)
        if known is None:
            if len(self._labels) >= MOST_SERIES:
                self._labels.clear()
            known = self._labels[key] = labels_of(attributes)
        return known


def _last_of_gauges(updates: Sequence[BufferedMetricUpdate]) -> Iterator[BufferedMetricUpdate]:
    """All updates, but of each gauge the last alone: half of what the core measures are gauges."""
    gauges: dict[tuple[int, int], BufferedMetricUpdate] = {}
    for update in reversed(updates):
        if update.metric.kind == _GAUGE:
            gauges.setdefault((id(update.metric), id(update.attributes)), update)
        else:
            yield update
    yield from reversed(gauges.values())


def _named(metric: BufferedMetric) -> Metric:
    name = metric_name(metric.name)
    if metric.kind == BUFFERED_METRIC_KIND_COUNTER:
        return Metric(name if name.endswith("_total") else f"{name}_total", "counter", metric.description or "")
    if metric.kind == _GAUGE:
        return Metric(name, "gauge", metric.description or "")
    seconds = name.endswith("_latency") or (metric.unit == "duration" and not name.endswith("_seconds"))
    return Metric(f"{name}_seconds" if seconds else name, "histogram", metric.description or "")


@lru_cache(maxsize=1)
def core_metrics(measurements: Measurements) -> CoreMetrics:
    """One for all connections of an app: each has threads of its own."""
    return CoreMetrics(measurements)


def core_logging() -> LoggingConfig:
    """Its log lines are in Python's logging: by default they go to stdout."""
    levels = TelemetryFilter(core_level="WARN", other_level="ERROR")
    return LoggingConfig(filter=levels, forwarding=LogForwardingConfig(logger=logging.getLogger("temporalio.core")))


@lru_cache(maxsize=1)
def quiet_runtime() -> Runtime:
    """One for all that is not measured."""
    return Runtime(telemetry=TelemetryConfig(logging=core_logging()))


@asynccontextmanager
async def measured_runtime(metrics: Metrics) -> AsyncGenerator[Runtime, None]:
    """The SDK's core for this process: the program's own where it has set one that measures, else one of this package's."""
    own = measuring_default()
    if own is not None or not isinstance(metrics, Measurements):
        yield own or quiet_runtime()
        return
    core = core_metrics(metrics)
    async with core.draining():
        yield core.runtime
