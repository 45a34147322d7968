"""What a process measures: counters, gauges and histograms by name and labels, for Prometheus to read.

Labels are names of things that are there (workflows, steps, models, tools), never ids of runs. What user code or a caller
chooses freely is bounded: beyond 1,000 sets of labels a metric counts what is new under `other`.
"""

from __future__ import annotations

import math
import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[tuple[str, str], ...]

MOST_SERIES = 1_000
LONGEST_LABEL = 200
RESERVED = ("mcp_agent_", "temporal_", "process_", "python_")
"""What the names of metrics begin with that are not user code's own."""
OTHER = "other"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 3_600, 21_600, 86_400)
"""Upper bounds; of durations in seconds."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `labels` are those of this package's own; those of user code differ from value to value."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


RUNS_STARTED = Metric("mcp_agent_runs_started_total", "counter", "Runs that have begun.", ("workflow",))
RUNS_CLOSED = Metric(
    "mcp_agent_runs_closed_total", "counter", "Runs whose code has ended, by how they ended.", ("workflow", "status")
)
RUN_SECONDS = Metric("mcp_agent_run_duration_seconds", "histogram", "From a run's start to its end.", ("workflow", "status"))
STEP_ATTEMPTS = Metric("mcp_agent_step_attempts_total", "counter", "Attempts of steps.", ("workflow", "step", "outcome"))
STEP_SECONDS = Metric("mcp_agent_step_duration_seconds", "histogram", "How long attempts of steps took.", ("step", "outcome"))
_CALLER = ("workflow", "agent", "provider", "model")
MODEL_CALLS = Metric("mcp_agent_model_calls_total", "counter", "Requests to model providers.", (*_CALLER, "outcome"))
MODEL_SECONDS = Metric(
    "mcp_agent_model_call_duration_seconds", "histogram", "How long model providers took.", ("provider", "model", "outcome")
)
MODEL_TOKENS = Metric("mcp_agent_model_tokens_total", "counter", "Tokens that models read and wrote.", (*_CALLER, "kind"))
MODEL_COST = Metric("mcp_agent_model_cost_usd_total", "counter", "What model calls cost, where a price is known.", _CALLER)
WAITS_OPENED = Metric("mcp_agent_waits_opened_total", "counter", "Questions that runs have put to people.", ("workflow", "kind"))
WAITS_ENDED = Metric(
    "mcp_agent_waits_ended_total", "counter", "Questions answered, expired or withdrawn.", ("workflow", "kind", "outcome")
)
WAIT_SECONDS = Metric(
    "mcp_agent_wait_duration_seconds", "histogram", "From a question to its answer or end.", ("workflow", "kind", "outcome")
)
REQUESTS = Metric("mcp_agent_requests_total", "counter", "Requests of MCP clients.", ("method", "tool", "outcome"))
REQUEST_SECONDS = Metric(
    "mcp_agent_request_duration_seconds", "histogram", "How long MCP clients waited for an answer.", ("method", "tool")
)
SESSIONS = Metric("mcp_agent_sessions", "gauge", "Open sessions of MCP clients.", ("transport",))
DOWNSTREAM_CALLS = Metric(
    "mcp_agent_downstream_calls_total", "counter", "Requests to downstream MCP servers.", ("server", "method", "tool", "outcome")
)
DOWNSTREAM_SECONDS = Metric(
    "mcp_agent_downstream_call_duration_seconds",
    "histogram",
    "How long downstream MCP servers took.",
    ("server", "method", "outcome"),
)
BUILD_INFO = Metric("mcp_agent_build_info", "gauge", "1, with what runs here.", ("version", "engine"))

METRICS = (
    RUNS_STARTED,
    RUNS_CLOSED,
    RUN_SECONDS,
    STEP_ATTEMPTS,
    STEP_SECONDS,
    MODEL_CALLS,
    MODEL_SECONDS,
    MODEL_TOKENS,
    MODEL_COST,
    WAITS_OPENED,
    WAITS_ENDED,
    WAIT_SECONDS,
    REQUESTS,
    REQUEST_SECONDS,
    SESSIONS,
    DOWNSTREAM_CALLS,
    DOWNSTREAM_SECONDS,
    BUILD_INFO,
)


class Metrics:
    """Where measurements go. This one drops them: nobody has asked for any."""

    on = False

    def add(self, metric: Metric, amount: float = 1, /, **labels: str) -> None:
        """Adds to a counter."""

    def observe(self, metric: Metric, value: float, /, **labels: str) -> None:
        """Adds a value to a histogram."""

    def record(self, name: str, value: float, labels: Mapping[str, str | int | float | bool]) -> None:
        """Adds a value to a histogram of user code's own, under the nearest name that Prometheus knows."""

    def read(self, metric: Metric, value: Callable[[], float], /, **labels: str) -> None:
        """A gauge is what `value()` gives when it is looked at."""


@dataclass(slots=True)
class Histogram:
    """`counts` are of each bucket by itself, the last one above all bounds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    sum: float = 0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(BUCKETS, value)] += 1
        self.sum += value


@dataclass(slots=True)
class Series:
    """All values of one metric."""

    metric: Metric
    numbers: dict[Labels, float] = field(default_factory=dict[Labels, float])
    histograms: dict[Labels, Histogram] = field(default_factory=dict[Labels, Histogram])

    def keep(self, value: float, labels: Labels) -> None:
        labels = self._bounded(labels)
        if self.metric.kind == "histogram":
            found = self.histograms.get(labels)
            if found is None:
                found = self.histograms[labels] = Histogram()
            found.observe(value)
        elif self.metric.kind == "counter":
            self.numbers[labels] = self.numbers.get(labels, 0) + value
        else:
            self.numbers[labels] = value

    def _bounded(self, labels: Labels) -> Labels:
        known = self.histograms if self.metric.kind == "histogram" else self.numbers
        if labels in known or len(known) < MOST_SERIES:
            return labels
        return tuple((name, OTHER) for name, _ in labels)


class Measurements(Metrics):
    """Keeps them in memory. May be called from any thread."""

    on = True

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._series: dict[str, Series] = {}
        self._gauges: dict[tuple[Metric, Labels], Callable[[], float]] = {}
        self._before: list[Callable[[], None]] = []

    def add(self, metric: Metric, amount: float = 1, /, **labels: str) -> None:
        self.keep(metric, amount, _ordered(metric, labels))

    def observe(self, metric: Metric, value: float, /, **labels: str) -> None:
        self.keep(metric, value, _ordered(metric, labels))

    def record(self, name: str, value: float, labels: Mapping[str, str | int | float | bool]) -> None:
        self.keep(Metric(metric_name(name), "histogram", "Recorded by the app."), value, labels_of(labels))

    def read(self, metric: Metric, value: Callable[[], float], /, **labels: str) -> None:
        self._gauges[metric, _ordered(metric, labels)] = value

    def keep(self, metric: Metric, value: float, labels: Labels) -> None:
        """Adds to a counter or histogram, or sets a gauge. Another metric of that name and kind is the same one."""
        self.keep_all([(metric, value, labels)])

    def keep_all(self, values: Iterable[tuple[Metric, float, Labels]]) -> None:
        """`keep`, for many at a time."""
        with self._lock:
            for metric, value, labels in values:
                series = self._series.get(metric.name) or self._begun(metric)
                if series is not None:
                    series.keep(value, labels)

    def _begun(self, metric: Metric) -> Series | None:
        if len(self._series) >= MOST_SERIES:
            return None
        return self._series.setdefault(metric.name, Series(metric))

    def before_reading(self, act: Callable[[], None]) -> None:
        """Calls `act` before each look at the values."""
        self._before.append(act)

    def snapshot(self) -> list[Series]:
        """All values as they are now."""
        for act in self._before:
            act()
        with self._lock:
            taken = [
                Series(
                    each.metric,
                    dict(each.numbers),
                    {labels: Histogram(list(one.counts), one.sum) for labels, one in each.histograms.items()},
                )
                for each in self._series.values()
            ]
        gauges: dict[str, Series] = {}
        for (metric, labels), value in self._gauges.items():
            gauges.setdefault(metric.name, Series(metric)).numbers[labels] = value()
        return [*taken, *gauges.values()]


def _ordered(metric: Metric, labels: Mapping[str, str]) -> Labels:
    return tuple((name, labels[name]) for name in metric.labels)


def check_record(name: object, value: object, attributes: Mapping[str, object]) -> None:
    """Raises ValueError for what cannot be recorded, also where nothing is: so a run does the same on replay."""
    if not isinstance(name, str) or not name or name.startswith(RESERVED):
        taken = ", ".join(f"`{prefix}`" for prefix in RESERVED)
        raise ValueError(f"`{name}` cannot be recorded: give it a name that begins with none of {taken}.")
    if not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"`{name}` cannot be `{value}`: record a finite number.")
    for attribute, given in attributes.items():
        if not isinstance(given, str | Real):
            raise ValueError(f"Attribute `{attribute}` of `{name}` cannot be `{given}`: give a text, a number or a truth value.")


def metric_name(name: str) -> str:
    """The nearest name that Prometheus knows."""
    return re.sub(r"[^a-zA-Z0-9_:]|^(?=\d)", "_", name)


def labels_of(attributes: Mapping[str, str | int | float | bool]) -> Labels:
    """Attributes as labels, in an order that is always the same."""
    return tuple(sorted({_label(name): str(value)[:LONGEST_LABEL] for name, value in attributes.items()}.items()))


def _label(name: str) -> str:
    found = re.sub(r"^__+", "_", re.sub(r"[^a-zA-Z0-9_]|^(?=\d|$)", "_", name))  # two are for Prometheus itself
    return "_le" if found == "le" else found  # which is the histogram's own
