"""What is in a span when it leaves the process."""

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mcp_agent.activities.llm import LLMActivities
from mcp_agent.config import Settings
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.observability.logging import Redact
from mcp_agent.observability.telemetry import Telemetry
from mcp_agent.observability.tracing import Sealing, ToldOnce, TracedSpans
from mcp_agent.workflows.llm.messages import LLMRequest, LLMSetup, Message, RequestParams
from mcp_agent.workflows.llm.providers.base import ProviderError

pytestmark = pytest.mark.anyio


class Fake:
    """A provider that fails, or never answers what is asked here."""

    timeout_seconds, streams = 5.0, False

    async def open(self) -> None: ...

    async def generate(self, *_: object) -> None:
        raise ProviderError("quotes planted-prompt", type="RateLimitError", status=429)

    def secrets(self) -> list[str]:
        return []

    async def aclose(self) -> None: ...


def traced(record_content: bool) -> tuple[Telemetry, Callable[[], ReadableSpan]]:
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Sealing(kept, Redact(["planted-key"]), record_content)))
    return Telemetry(spans=TracedSpans(provider.get_tracer("test"), record_content)), lambda: kept.get_finished_spans()[-1]


async def ask(telemetry: Telemetry, settings: Settings, provider: str = "openai") -> None:
    models = LLMActivities(settings, telemetry=telemetry, clients={"fake": Fake()})  # type: ignore[dict-item]
    setup = LLMSetup(instruction="Never say planted-key.")
    new = [Message.user("planted-prompt with planted-key")]
    request = LLMRequest(
        conversation="", agent="writer", provider=provider, new=new, setup=setup, params=RequestParams(model="m-1", max_tokens=9)
    )
    await models.generate(request)


async def test_what_was_said_is_in_a_span_only_where_content_is_recorded_and_secrets_never(tmp_path):
    script = tmp_path / "script.yaml"
    script.write_text("agents: {writer: [{text: planted-answer, any_turn: true}]}")
    settings = Settings(scripted={"file": script})
    telemetry, last = traced(record_content=True)
    await ask(telemetry, settings)
    told = dict(last().attributes or {})
    assert json.loads(str(told["gen_ai.input.messages"]))[0]["content"][0]["text"] == "planted-prompt with ***"
    assert told["gen_ai.system_instructions"] == "Never say ***."
    assert "planted-answer" in str(told["gen_ai.output.messages"])
    telemetry, last = traced(record_content=False)
    await ask(telemetry, settings)
    span = last()
    assert "planted" not in span.to_json()
    assert span.name == "chat m-1"
    assert (span.attributes or {})["gen_ai.request.max_tokens"] == 9


async def test_a_failed_model_call_names_its_error_and_quotes_nothing():
    telemetry, last = traced(record_content=False)
    with pytest.raises(WorkflowApplicationError):
        await ask(telemetry, Settings(), "fake")
    span = last()
    assert (span.attributes or {})["error.type"] == "RateLimitError"
    assert not span.status.is_ok
    assert "planted" not in span.to_json()


def test_the_text_of_an_error_leaves_the_process_only_where_content_is_recorded():
    for record_content in (True, False):
        telemetry, last = traced(record_content)
        with pytest.raises(ValueError, match="planted"), telemetry.spans.run("Writes", "run-1", None):
            raise ValueError("planted-text with planted-key")
        span = last()
        assert ("planted-text with ***" in span.to_json()) == record_content
        assert "planted-key" not in span.to_json()
        assert (span.events[0].attributes or {})["exception.type"] == "ValueError"


def test_a_collector_that_takes_no_traces_is_told_of_once_and_when_it_takes_them_again(caplog: pytest.LogCaptureFixture):
    results = iter([SpanExportResult.FAILURE, SpanExportResult.FAILURE, SpanExportResult.SUCCESS, SpanExportResult.FAILURE])

    class Exporter(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            return next(results)

    exporter = ToldOnce(Exporter(), "http://user:password@collector/v1/traces")
    news: list[bool] = []
    for _ in range(4):
        news.append(exporter.is_news(logging.makeLogRecord({})))
        exporter.export([])
    assert news == [True, False, False, True]
    dropped = "traces are dropped: `http://collector/v1/traces` (`observability.tracing.endpoint`) does not take them"
    assert caplog.messages == [dropped, "traces are sent again", dropped]


HANGING = """
from mcp_agent.config_observability import TracingSettings
from mcp_agent.observability.tracing import open_spans

with open_spans(TracingSettings(endpoint="{endpoint}"), "app", "asyncio", []).run("Writes", "run-1", None):
    pass
"""


def test_the_end_of_a_process_waits_for_a_collector_that_hangs_but_not_for_long():
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        program = HANGING.format(endpoint=f"http://127.0.0.1:{hanging.getsockname()[1]}")
        environment = {**os.environ, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "600"}
        # OpenTelemetry would wait for 30 s.
        subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=30)
        hanging.settimeout(30)
        hanging.accept()[0].close()  # it was asked
