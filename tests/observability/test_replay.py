"""Being watched changes no run: not when a run is replayed, and not when it is turned on or off under way."""

import re
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from tests.observability.collector import Collector, Page, collector, path_to, read
from tests.support import Desk, HttpServer, call, desk_in, until

HERE = Path(__file__).parent
pytestmark = pytest.mark.anyio

PLAIN = """
execution_engine: temporal
temporal: {{data_dir: "{data}", task_queue: watched-and-not}}
server: {{app: "observed_app:app"}}
"""
FORGETFUL = ', worker: {{max_cached_workflows: 1}}, data_converter: {{encryption_key: "' + "a" * 43 + '="}}}}'
WATCHED = PLAIN + "observability: {{metrics: {{port: 0}}, tracing: {{endpoint: '{endpoint}'}}}}\n"


async def served(desk: Desk, config: str) -> HttpServer:
    (desk.folder / "mcp_agent.config.yaml").write_text(config)
    return await desk.serve()


async def ask(server: HttpServer) -> str:
    async with Client(server.url) as client:
        run = await call(client, "workflows-Asks-run", run_parameters={}, wait_seconds=20)
    assert run["status"] == "waiting_for_input"
    return run["run_id"]


async def answered(server: HttpServer, run_id: str) -> dict[str, Any]:
    async with Client(server.url) as client:
        await call(client, "workflows-Asks-resume", run_id=run_id, payload="red")
        return await call(client, "workflows-Asks-get_status", run_id=run_id, wait_seconds=20)


def metrics_of(desk: Desk) -> Page:
    """The page of the newest server."""
    found = re.search(r"http://\S+/metrics", (desk.folder / f"serve-{len(desk.processes) - 1}.log").read_text())
    assert found is not None
    return read(found[0])


async def told(traces: Collector, name: str, count: int) -> None:
    async def there() -> bool:
        return [span.name for span in traces.spans].count(name) >= count

    await until(there, 20)
    assert [span.name for span in traces.spans].count(name) == count


@pytest.mark.promise("issue: OpenTelemetry traces from the request through workflow and activities, replay-safe")
async def test_runs_go_on_where_watching_is_turned_on_or_off_and_are_told_of_once(temporal: Path, tmp_path: Path):
    plain = PLAIN.format(data=temporal)
    with collector() as traces:
        watched = WATCHED.format(data=temporal, endpoint=traces.endpoint)
        async with desk_in(tmp_path, Path("unused"), plain, {"observed_app.py": (HERE / "observed_app.py").read_text()}) as desk:
            desk.environment["OTEL_BSP_SCHEDULE_DELAY"] = "100"
            first = await served(desk, plain)
            begun_plain = await ask(first)
            first.kill()

            second = await served(desk, watched)
            assert (await answered(second, begun_plain))["result"] == "red"
            page = metrics_of(desk)
            assert page.value("mcp_agent_runs_started_total", workflow="Asks") is None
            assert page.value("mcp_agent_waits_opened_total", workflow="Asks") is None
            assert page.value("mcp_agent_runs_closed_total", workflow="Asks", status="completed") == 1
            await told(traces, "RunWorkflow:Asks", 1)
            begun_watched, begun_both = await ask(second), await ask(second)
            second.kill()

            third = await served(desk, watched)
            assert (await answered(third, begun_both))["result"] == "red"
            await told(traces, "RunWorkflow:Asks", 2)
            third.kill()

            fourth = await served(desk, plain)
            assert (await answered(fourth, begun_watched))["result"] == "red"


@pytest.mark.promise("issue: OpenTelemetry traces from the request through workflow and activities, replay-safe")
async def test_encrypted_runs_that_were_forgotten_and_are_read_again_are_told_of_once(temporal: Path, tmp_path: Path):
    """Under way by a worker that keeps one run in memory, and after their end for their log."""
    with collector() as traces:
        forgetful = WATCHED.replace("watched-and-not}}", "forgetful" + FORGETFUL)
        config = forgetful.format(data=temporal, endpoint=traces.endpoint)
        async with desk_in(tmp_path, Path("unused"), config, {"observed_app.py": (HERE / "observed_app.py").read_text()}) as desk:
            desk.environment["OTEL_BSP_SCHEDULE_DELAY"] = "100"
            server = await served(desk, config)
            runs = [await ask(server) for _ in range(3)]
            for run in runs:
                assert (await answered(server, run))["result"] == "red"
            async with Client(server.url) as client:
                for run in runs:
                    await client.read_resource(f"run://{run}/log")
            assert (await answered(server, await ask(server)))["result"] == "red"
            for name in ("RunWorkflow:Asks", "HandleUpdate:mcp_agent.answer"):
                await told(traces, name, 4)
            path = ["tools/call workflows-Asks-run", "StartWorkflow:Asks", "RunWorkflow:Asks"]
            assert path_to(traces.trace_of("RunWorkflow:Asks"), "RunWorkflow:Asks") == path
            page = metrics_of(desk)
    assert page.value("mcp_agent_runs_started_total", workflow="Asks") == 4
    assert page.value("mcp_agent_waits_opened_total", workflow="Asks") == 4
    assert page.value("mcp_agent_waits_ended_total", workflow="Asks", outcome="answered") == 4
    assert page.value("mcp_agent_runs_closed_total", workflow="Asks", status="completed") == 4
