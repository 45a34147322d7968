"""A collector of traces, as OTLP over HTTP sends them, and a reader of what Prometheus would read."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families


@dataclass
class Collector:
    endpoint: str = ""
    spans: list[Span] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    raw: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def take(self, body: bytes, headers: dict[str, str]) -> None:
        self.raw.append(body)
        self.headers.append(headers)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.services |= {a.value.string_value for a in resource.resource.attributes if a.key == "service.name"}
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def trace_of(self, name: str) -> list[Span]:
        """The spans of the newest trace that has one of that name."""
        traces = [span.trace_id for span in self.spans if span.name == name]
        return [span for span in self.spans if traces and span.trace_id == traces[-1]]


@contextmanager
def collector() -> Iterator[Collector]:
    made = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            made.take(self.rfile.read(int(self.headers["content-length"])), dict(self.headers.items()))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    made.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def attributes(span: Span) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        kind = value.WhichOneof("value")
        found = getattr(value, kind)
        return [plain(one) for one in found.values] if kind == "array_value" else found

    return {each.key: plain(each.value) for each in span.attributes}


def path_to(spans: list[Span], name: str) -> list[str]:
    """The names of a span and of those above it, from the outside to the inside."""
    by_id = {span.span_id: span for span in spans}
    span: Span | None = next(span for span in spans if span.name == name)
    path: list[str] = []
    while span is not None:
        path.insert(0, span.name)
        span = by_id.get(span.parent_span_id)
    return path


@dataclass
class Page:
    status: int
    content_type: str
    text: str

    def values(self) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        """By sample's name and labels."""
        found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for family in text_string_to_metric_families(self.text):
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
        return found

    def value(self, name: str, **labels: str) -> float | None:
        """The only sample of that name with these labels, whatever others it has."""
        samples = self.values().get(name, {})
        hits = [value for given, value in samples.items() if labels.items() <= dict(given).items()]
        assert len(hits) < 2, samples
        return hits[0] if hits else None


def read(url: str, accept: str = "text/plain", **headers: str) -> Page:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept, **headers})) as answer:
            return Page(answer.status, answer.headers["content-type"], answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Page(error.code, error.headers["content-type"], error.read().decode())
