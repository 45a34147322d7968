"""Measurements as Prometheus reads them. Importing this imports `prometheus_client`."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from mcp_agent.observability.metrics import BUCKETS, Histogram, Labels, Measurements, Series


class Exposition(Collector):
    """The page: what the app measures, and what the process needs (`process_*`, `python_*`)."""

    def __init__(self, measurements: Measurements) -> None:
        self._measurements = measurements
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._registry.register(self)

    def describe(self) -> list[Family]:
        return []  # names come and go with what is measured

    def collect(self) -> Iterator[Family]:
        for series in self._measurements.snapshot():
            yield _family(series)

    def page(self, accept: str) -> tuple[str, bytes]:
        """The content type and the page, in the newest format that `accept` names."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)


def _family(series: Series) -> Family:
    metric = series.metric
    name = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
    family = Family(name, metric.help, metric.kind)
    for labels, value in series.numbers.items():
        family.add_sample(metric.name, dict(labels), value)
    for labels, histogram in series.histograms.items():
        _add_histogram(family, labels, histogram)
    return family


def _add_histogram(family: Family, labels: Labels, histogram: Histogram) -> None:
    total = 0
    for bound, count in zip((*map(str, map(float, BUCKETS)), "+Inf"), histogram.counts, strict=True):
        total += count
        family.add_sample(f"{family.name}_bucket", {**dict(labels), "le": bound}, total)
    family.add_sample(f"{family.name}_sum", dict(labels), histogram.sum)
    family.add_sample(f"{family.name}_count", dict(labels), total)
