"""Traces by OpenTelemetry. Importing this imports its SDK and the exporter."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue
from pydantic_core import to_json

from mcp_agent import __version__
from mcp_agent.config_observability import TracingSettings
from mcp_agent.errors import ConfigError
from mcp_agent.observability.logging import Redact
from mcp_agent.observability.spans import ModelAnswer, ModelRequest, ModelSpan, Span, Spans

logger = logging.getLogger(__name__)

CLOSE_WITHIN = 3
"""Seconds that the last spans may take at the end of the process."""
_TRACER = "mcp_agent"
_PROVIDERS = {"azure": "azure.ai.openai", "google": "gcp.gemini"}
_TEXTS_OF_ERRORS = ("exception.message", "exception.stacktrace")


def open_spans(settings: TracingSettings, app: str, engine: str, secrets: Iterable[str]) -> Spans:
    """Sets up this process, unless another app in it has done so. Raises ConfigError where somebody else has."""
    there = trace.get_tracer_provider()
    if getattr(there, "_mcp_agent", False):
        return TracedSpans(trace.get_tracer(_TRACER, __version__), settings.record_content)
    if not isinstance(there, trace.ProxyTracerProvider):
        raise ConfigError(
            f"`observability.tracing` cannot be done: this process has a `{type(there).__name__}` of OpenTelemetry already. "
            "Leave the section out, or what sets up the other."
        )
    provider = _provider(settings, app, engine)
    exporter = ToldOnce(OTLPSpanExporter(settings.endpoint, headers=_headers(settings)), settings.endpoint)
    provider.add_span_processor(Batches(Sealing(exporter, Redact(secrets), settings.record_content)))
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # not each of its tries
    logging.getLogger(OTLPSpanExporter.__module__).addFilter(exporter.is_news)
    provider._mcp_agent = True  # noqa: SLF001 - a mark
    trace.set_tracer_provider(provider)
    return TracedSpans(trace.get_tracer(_TRACER, __version__), settings.record_content)


def _provider(settings: TracingSettings, app: str, engine: str) -> Any:
    resource = Resource.create({"service.name": settings.service_name or app, "service.version": __version__})
    sampler = ParentBased(TraceIdRatioBased(settings.sample_ratio))
    if engine != "temporal":
        return TracerProvider(sampler=sampler, resource=resource)
    # Spans in workflow code need ids that are the same on replay.
    contrib = import_module("temporalio.contrib.opentelemetry")
    return _keeping_tracers(contrib.create_tracer_provider(sampler=sampler, resource=resource))


def _keeping_tracers(provider: Any) -> Any:
    """Makes each tracer once: Temporal's interceptors ask for theirs at every span, and the SDK takes its time."""
    make = provider.get_tracer
    made: dict[tuple[str | None, ...], trace.Tracer] = {}

    def get_tracer(name: str, version: str | None = None, schema_url: str | None = None, attributes: Any = None) -> trace.Tracer:
        if attributes:
            return make(name, version, schema_url, attributes)
        key = (name, version, schema_url)
        if key not in made:
            made[key] = make(name, version, schema_url)
        return made[key]

    provider.get_tracer = get_tracer
    return provider


def _headers(settings: TracingSettings) -> dict[str, str] | None:
    return {name: value.get_secret_value() for name, value in settings.headers.items()} or None


class Batches(BatchSpanProcessor):
    """Sends spans from a thread of its own; what a slow collector does not take is dropped. Its end is bounded."""

    def shutdown(self) -> None:
        self._batch_processor.shutdown(timeout_millis=CLOSE_WITHIN * 1000)


class ToldOnce(SpanExporter):
    """Says once that the collector takes no spans, and when it takes them again; the SDK would say so every few seconds.

    Args:
        exporter: Sends them.
        endpoint: Where to.
    """

    def __init__(self, exporter: SpanExporter, endpoint: str) -> None:
        self._exporter = exporter
        self._endpoint = re.sub(r"//[^/@]*@", "//", endpoint)  # without a password
        self._away = False

    def is_news(self, _: logging.LogRecord) -> bool:
        """For the SDK's own logger: its reasons are told the first time."""
        return not self._away

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        away = result is not SpanExportResult.SUCCESS
        if away and not self._away:
            logger.warning("traces are dropped: `%s` (`observability.tracing.endpoint`) does not take them", self._endpoint)
        elif self._away and not away:
            logger.warning("traces are sent again")
        self._away = away
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class Sealing(SpanExporter):
    """Takes out of spans, before they leave the process, what is not to be read elsewhere: secrets, and the texts of errors,
    which quote values, unless content is recorded.
    """

    def __init__(self, exporter: SpanExporter, redact: Redact, record_content: bool) -> None:
        self._exporter = exporter
        self._redact = redact
        self._texts = record_content

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([self._sealed(span) for span in spans])

    def _sealed(self, span: ReadableSpan) -> ReadableSpan:
        if self._is_harmless(span):
            return span
        status = span.status
        return ReadableSpan(
            name=self._redact.masked(span.name),
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=self._attributes(span.attributes),
            events=[Event(event.name, self._attributes(event.attributes), event.timestamp) for event in span.events],
            links=span.links,
            kind=span.kind,
            status=Status(status.status_code, self._text(status.description)),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _is_harmless(self, span: ReadableSpan) -> bool:
        """Most are: a look at all of a span's texts together is quicker than a copy of it."""
        if span.events or span.status.description is not None:
            return False
        texts = "\n".join((span.name, *map(_text_of, (span.attributes or {}).values())))
        return self._redact.masked(texts) == texts

    def _text(self, text: str | None) -> str | None:
        return self._redact.masked(text) if text is not None and self._texts else None

    def _attributes(self, attributes: Mapping[str, AttributeValue] | None) -> dict[str, Any]:
        return {
            name: self._masked(value) for name, value in (attributes or {}).items() if self._texts or name not in _TEXTS_OF_ERRORS
        }

    def _masked(self, value: AttributeValue) -> Any:
        if isinstance(value, str):
            return self._redact.masked(value)
        return [self._masked(one) for one in value] if isinstance(value, Sequence) else value

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _text_of(value: AttributeValue) -> str:
    return "\n".join(map(str, value)) if isinstance(value, tuple) else str(value)


class TracedSpans(Spans):
    """Args:
    tracer: Makes the spans.
    record_content: Whether they hold what was said.
    """

    on = True

    def __init__(self, tracer: trace.Tracer, record_content: bool) -> None:
        self._record_content = record_content
        self._tracer = tracer

    def interceptors(self) -> list[Any]:
        return [import_module("temporalio.contrib.opentelemetry").OpenTelemetryInterceptor(add_temporal_spans=True)]

    def starting(self, workflow: str, run_id: str) -> contexts.Context:
        return self._point(f"StartWorkflow:{workflow}", {"temporalWorkflowID": run_id})

    def scheduling(self, step: str) -> contexts.Context:
        return self._point(f"StartActivity:{step}", {})

    def _point(self, name: str, attributes: Mapping[str, str]) -> contexts.Context:
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        span.end()
        return trace.set_span_in_context(span)

    @contextmanager
    def run(self, workflow: str, run_id: str, parent: Any) -> Generator[Span, None, None]:
        with self._tracer.start_as_current_span(
            f"RunWorkflow:{workflow}", parent, SpanKind.SERVER, {"temporalWorkflowID": run_id}
        ) as span:
            yield TracedSpan(span)

    @contextmanager
    def attempt(self, step: str, run_id: str, number: int, parent: Any) -> Generator[None, None, None]:
        attributes = {"temporalWorkflowID": run_id, "mcp_agent.attempt": number}
        with self._tracer.start_as_current_span(f"RunActivity:{step}", parent, SpanKind.SERVER, attributes):
            yield

    @contextmanager
    def model_call(self, request: ModelRequest) -> Generator[ModelSpan, None, None]:
        name = f"chat {request.model}" if request.model else "chat"
        # Its errors are told by `failed`: their texts may quote what the model was asked.
        with self._tracer.start_as_current_span(
            name, kind=SpanKind.CLIENT, attributes=_asked(request), record_exception=False, set_status_on_exception=False
        ) as span:
            yield TracedModelSpan(span, self._record_content)


def _asked(request: ModelRequest) -> dict[str, Any]:
    """OpenTelemetry's semantic conventions for generative AI."""
    given = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(request.provider, request.provider),
        "gen_ai.request.model": request.model,
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.top_p": request.top_p,
        "gen_ai.agent.name": request.agent,
        "gen_ai.conversation.id": request.run_id or None,
    }
    return {name: value for name, value in given.items() if value is not None}


class TracedSpan(Span):
    """A span of OpenTelemetry's."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def failed(self, kind: str) -> None:
        self._span.set_attribute("error.type", kind)
        self._span.set_status(StatusCode.ERROR)


class TracedModelSpan(TracedSpan, ModelSpan):
    """Args:
    span: OpenTelemetry's.
    records_content: Whether what was said goes into it.
    """

    def __init__(self, span: trace.Span, records_content: bool) -> None:
        super().__init__(span)
        self.records_content = records_content

    def asked(self, system: str | None, messages: Sequence[Any]) -> None:
        if system:
            self._span.set_attribute("gen_ai.system_instructions", system)
        self._span.set_attribute("gen_ai.input.messages", to_json(messages).decode())

    def answered(self, answer: ModelAnswer, message: Any) -> None:
        self._span.set_attributes(
            {
                "gen_ai.response.model": answer.model,
                "gen_ai.response.finish_reasons": [answer.stop_reason],
                "gen_ai.usage.input_tokens": answer.input_tokens,
                "gen_ai.usage.output_tokens": answer.output_tokens,
                "gen_ai.usage.cache_read.input_tokens": answer.cached_input_tokens,
            }
        )
        if self.records_content:
            self._span.set_attribute("gen_ai.output.messages", to_json([message]).decode())
