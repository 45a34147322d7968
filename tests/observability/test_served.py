"""What a server that is watched tells: read over HTTP by a scraper and a collector of the test."""

import json
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from mcp_agent.observability.metrics import METRICS, Metric
from tests.observability.collector import Collector, Page, attributes, collector, path_to, read
from tests.support import Desk, HttpServer, call, call_text, desk_in, until

HERE = Path(__file__).parent
DASHBOARD = json.loads((HERE.parents[1] / "deploy/grafana/durable-mcp-agent.json").read_text())
pytestmark = pytest.mark.anyio

CONFIG = """
execution_engine: {engine}
temporal: {{data_dir: "{data}"}}
server: {{app: "observed_app:app", limits: {{calls_per_minute: 40}}}}
scripted: {{file: script.yaml}}
logger: {{format: json}}
observability:
  metrics: {{port: 0}}
  tracing: {{endpoint: "{endpoint}", service_name: desk, headers: {{x-key: planted-log-key}}, record_content: {content}}}
mcp:
  servers:
    archive:
      command: ${{PYTHON}}
      args: [archive_server.py]
      cwd: ${{CONFIG_DIR}}
      env: {{DESK_FOLDER: "${{CONFIG_DIR}}"}}
"""
SCRIPT = """
agents:
  writer:
    - tool_calls: [{name: archive_file, arguments: {}}]
      usage: {input_tokens: 11, output_tokens: 3}
    - text: "planted-answer: {last_tool_result}"
      usage: {input_tokens: 20, output_tokens: 5}
"""


@dataclass
class Watched:
    """A server that is watched, and what watches it."""

    engine: str
    desk: Desk
    http: HttpServer
    collector: Collector
    run: dict[str, Any] = field(default_factory=dict)

    @property
    def log(self) -> str:
        return (self.desk.folder / "serve-0.log").read_text()

    def scraped(self, accept: str = "text/plain") -> Page:
        found = re.search(r"http://\S+/metrics", self.log)
        assert found is not None
        return read(found[0], accept)

    @property
    def url(self) -> str:
        return self.http.url


@pytest.fixture(scope="module", params=["asyncio", "temporal"])
async def watched(
    request: pytest.FixtureRequest, temporal: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Watched, None]:
    folder = tmp_path_factory.mktemp("watched")
    files = {name: (HERE / name).read_text() for name in ("observed_app.py", "archive_server.py")}
    with collector() as traces:
        config = CONFIG.format(engine=request.param, data=temporal, endpoint=traces.endpoint, content="false")
        async with desk_in(folder, Path("unused"), config, {**files, "script.yaml": SCRIPT}) as desk:
            desk.environment["OTEL_BSP_SCHEDULE_DELAY"] = "100"
            yield Watched(request.param, desk, await desk.serve(), traces)


@pytest.fixture(scope="module")
async def written(watched: Watched) -> Watched:
    """A server that has run one workflow to its end."""
    async with Client(watched.url) as client:
        watched.run = run = await call(client, "workflows-Writes-run", run_parameters={"topic": "planted-topic"}, wait_seconds=20)
        assert run["status"] == "completed", run
        assert run["usage"]["input_tokens"] == 31
        await client.call_tool("workflows-Fails-run", {"run_parameters": {}})
        asking = await call(client, "workflows-Asks-run", run_parameters={}, wait_seconds=20)
        answer = {"run_id": asking["run_id"], "payload": "red"}
        await call(client, "workflows-Asks-resume", **answer)
        done = await call(client, "workflows-Asks-get_status", run_id=asking["run_id"], wait_seconds=20)
        assert done["result"] == "red", done
    return watched


async def test_runs_steps_model_calls_and_downstream_calls_are_counted(written: Watched):
    page = written.scraped()
    assert page.value("mcp_agent_runs_started_total", workflow="Writes") == 1
    assert page.value("mcp_agent_runs_closed_total", workflow="Writes", status="completed") == 1
    assert page.value("mcp_agent_run_duration_seconds_count", workflow="Writes", status="completed") == 1
    assert page.value("mcp_agent_step_attempts_total", workflow="Writes", step="observed.weigh", outcome="completed") == 1
    assert page.value("mcp_agent_step_duration_seconds_count", step="mcp_agent.llm.generate", outcome="completed") == 2
    caller = {"workflow": "Writes", "agent": "writer", "provider": "scripted"}
    assert page.value("mcp_agent_model_calls_total", **caller, outcome="completed") == 2
    assert page.value("mcp_agent_model_tokens_total", **caller, kind="input") == 31
    assert page.value("mcp_agent_model_tokens_total", **caller, kind="output") == 8
    assert page.value("mcp_agent_downstream_calls_total", server="archive", method="tools/call", outcome="completed") == 1
    assert page.value("mcp_agent_build_info", engine=written.engine) == 1


async def test_waits_for_people_are_counted_and_timed(written: Watched):
    page = written.scraped()
    assert page.value("mcp_agent_waits_opened_total", workflow="Asks", kind="elicitation") == 1
    assert page.value("mcp_agent_waits_ended_total", workflow="Asks", outcome="answered") == 1
    assert (page.value("mcp_agent_wait_duration_seconds_sum", workflow="Asks", outcome="answered") or 0) > 0
    assert page.value("mcp_agent_runs_closed_total", workflow="Fails", status="failed") == 1


async def test_what_a_run_records_is_a_histogram_with_its_labels(written: Watched):
    page = written.scraped()
    assert page.value("topic_length_sum", workflow="Writes", language="en") == len("planted-topic")
    assert page.value("topic_length_count", workflow="Writes", language="en") == 1


async def test_requests_of_clients_are_counted_by_tool_and_outcome_and_made_up_names_are_not_labels(written: Watched):
    async with Client(written.url) as client:
        assert await call_text(client, "greet", name="Ann") == "Hello Ann"
        await client.call_tool("workflows-Writes-get_status", {"run_id": "nobody's"})
        with pytest.raises(Exception, match="There is no tool"):
            await client.call_tool("made-up", {})
        for _ in range(60):
            await client.call_tool("greet", {"name": "Ann"})
    page = written.scraped()
    assert (page.value("mcp_agent_requests_total", method="tools/call", tool="greet", outcome="ok") or 0) > 1
    assert page.value("mcp_agent_requests_total", tool="workflows-Writes-get_status", outcome="not_found") == 1
    assert page.value("mcp_agent_requests_total", method="tools/call", tool="other", outcome="invalid_params") == 1
    assert (page.value("mcp_agent_requests_total", tool="greet", outcome="rate_limited") or 0) > 10
    assert (page.value("mcp_agent_request_duration_seconds_count", method="tools/call", tool="greet") or 0) > 60
    assert "made-up" not in page.text


async def test_no_id_of_a_run_is_in_a_label(written: Watched):
    assert not re.search(r"Writes\.\w{26}", written.scraped().text)


async def test_the_page_holds_what_the_process_needs_and_what_temporal_s_sdk_measures(written: Watched):
    page = written.scraped("application/openmetrics-text; version=1.0.0")
    assert page.content_type.startswith("application/openmetrics-text")
    assert "process_resident_memory_bytes" in page.text
    if written.engine == "temporal":
        assert page.value("temporal_activity_execution_latency_seconds_count", activity_type="observed.weigh") == 1
        assert page.value("temporal_workflow_completed_total", workflow_type="Writes") == 1


async def spans_of(written: Watched, *names: str) -> list:
    async def sent() -> list | None:
        spans = written.collector.trace_of("RunWorkflow:Writes")
        return spans if set(names) <= {span.name for span in spans} else None

    try:
        return await until(sent, 20)
    except TimeoutError:
        raise AssertionError(sorted({span.name for span in written.collector.spans})) from None


async def test_one_trace_goes_from_the_client_s_request_to_the_model_and_to_the_downstream_server(written: Watched):
    request = "tools/call workflows-Writes-run"
    spans = await spans_of(written, request, "RunWorkflow:Writes", "RunActivity:observed.weigh", "chat")
    run = [request, "StartWorkflow:Writes", "RunWorkflow:Writes"]
    assert path_to(spans, "RunActivity:observed.weigh") == [*run, "StartActivity:observed.weigh", "RunActivity:observed.weigh"]
    step = [*run, "StartActivity:mcp_agent.llm.generate", "RunActivity:mcp_agent.llm.generate"]
    assert path_to(spans, "chat") == [*step, "chat"]
    called = next(name for name in (span.name for span in spans) if name.endswith("tools/call file"))
    assert path_to(spans, called)[:-1] == [*run, "StartActivity:mcp_agent.mcp.call_tool", "RunActivity:mcp_agent.mcp.call_tool"]
    (traceparent,) = written.desk.noted()
    assert traceparent.split("-")[1] == spans[0].trace_id.hex()


async def test_model_spans_follow_the_conventions_of_generative_ai(written: Watched):
    spans = [span for span in await spans_of(written, "chat") if span.name == "chat"]
    told = attributes(spans[0])
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.provider.name"] == "scripted"
    assert told["gen_ai.agent.name"] == "writer"
    assert told["gen_ai.usage.input_tokens"] == 11
    assert [attributes(span)["gen_ai.response.finish_reasons"] for span in spans] == [["tool_use"], ["end_turn"]]


async def test_neither_content_nor_error_texts_nor_secrets_are_in_traces(written: Watched):
    async def failed() -> bool:
        return any(span.name == "RunWorkflow:Fails" for span in written.collector.spans)

    await until(failed, 20)
    (run,) = [span for span in written.collector.spans if span.name == "RunWorkflow:Fails"]
    assert run.status.code == Status.STATUS_CODE_ERROR
    assert b"planted" not in b"".join(written.collector.raw)
    assert written.collector.services == {"desk"}
    assert written.collector.headers[0]["x-key"] == "planted-log-key"


async def test_log_lines_are_json_with_the_ids_of_run_step_and_trace_and_without_secrets(written: Watched):
    lines = [json.loads(line) for line in written.log.splitlines() if line.startswith("{")]
    (begun,) = [line for line in lines if line["message"] == "begins"]
    (step,) = [line for line in lines if line["logger"] == "observed"]
    assert begun["workflow"] == "Writes"
    assert step["run_id"] == begun["run_id"]
    assert (step["step"], step["attempt"]) == ("observed.weigh", 1)
    assert step["trace_id"] == (await spans_of(written, "chat"))[0].trace_id.hex()
    assert step["message"] == "weighing for ***"


async def test_a_server_is_alive_and_ready_and_the_probes_need_no_known_name(written: Watched):
    for path in ("/healthz", "/readyz"):
        page = read(written.http.base + path, host="10.1.2.3:8000")
        assert (page.status, page.text) == (200, "ok\n")
    assert read(f"{written.http.base}/metrics").status == 404


async def test_a_run_is_linked_to_its_page_in_temporal_s_ui(written: Watched):
    if written.engine != "temporal":
        assert "temporal_url" not in written.run
        return
    names = f"/namespaces/default/workflows/{written.run['run_id']}/{written.run['temporal_run_id']}/history"
    assert written.run["temporal_url"].endswith(names)
    assert read(written.run["temporal_url"]).status == 200


@pytest.mark.promise("issue: a Grafana dashboard file checked against the metric names that exist")
async def test_the_dashboard_asks_for_nothing_but_metrics_and_labels_that_exist(written: Watched):
    served = written.scraped("application/openmetrics-text; version=1.0.0").values()
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    queries += [variable["query"]["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
    own = {name for metric in METRICS for name in samples_of(metric)}
    for query in queries:
        names = set(re.findall(r"\b(?:mcp_agent|temporal|process)_\w+", query))
        assert names, query
        assert {name for name in names if name.startswith("mcp_agent_")} <= own
        if written.engine == "temporal":
            assert {name for name in names if not name.startswith("mcp_agent_")} <= set(served)
    labels = {label for metric in METRICS for label in metric.labels}
    grouped = {label for query in queries for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(", ")}
    assert grouped - labels <= {"le", "operation", "poller_type", "task_queue", "worker_type"}


def samples_of(metric: Metric) -> list[str]:
    """The names of its samples."""
    suffixes = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
    return [metric.name + suffix for suffix in suffixes]
