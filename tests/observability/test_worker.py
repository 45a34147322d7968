"""Workers alone: what they measure, and whether they tell the truth about themselves."""

import asyncio
import re
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from temporalio.client import Client

from mcp_agent.config import Settings
from mcp_agent.errors import ConfigError
from mcp_agent.executor.temporal import create_temporal_worker_for_app, lasting
from mcp_agent.executor.temporal.dev_server import status
from mcp_agent.executor.temporal.health import FIRST_POLL_WITHIN, WorkerHealth
from mcp_agent.executor.temporal.lasting import LastingWorker
from mcp_agent.executor.temporal.renewal import Renewal
from mcp_agent.observability.health import WELL, Health, recent
from tests.observability import observed_app
from tests.observability.collector import read
from tests.support import Desk, desk_in, until
from tests.tcp_balancer import balanced

HERE = Path(__file__).parent
pytestmark = pytest.mark.anyio

CONFIG = """
execution_engine: temporal
temporal: {{data_dir: "{data}", task_queue: "{queue}"}}
server: {{app: "observed_app:app"}}
observability: {{metrics: {{port: 0}}, health: {{port: 0}}}}
"""


@pytest.fixture
async def desk(temporal: Path, tmp_path: Path) -> AsyncGenerator[Desk, None]:
    config = CONFIG.format(data=temporal, queue=tmp_path.name)
    app = (HERE / "observed_app.py").read_text()
    async with desk_in(tmp_path, Path("unused"), config, {"observed_app.py": app}) as made:
        yield made


async def page(desk: Desk, path: str) -> str:
    """Its address, as soon as the worker serves it."""

    async def served() -> str | None:
        found = re.search(rf"http://\S+{path}", (desk.folder / "worker-0.log").read_text())
        return found[0] if found else None

    return await until(served)


async def test_a_worker_has_a_page_of_metrics_and_is_ready_once_it_asks_for_tasks(desk: Desk):
    worker = desk.work()
    ready = await page(desk, "/readyz")

    async def is_ready() -> bool:
        return read(ready).status == 200

    await until(is_ready)
    assert read(await page(desk, "/healthz")).text == "ok\n"
    assert (read(await page(desk, "/metrics")).value("temporal_num_pollers", poller_type="workflow_task") or 0) > 0
    worker.terminate()
    worker.wait()


@pytest.fixture
async def client(temporal: Path) -> Client:
    server = status(temporal)
    assert server is not None
    return await Client.connect(server.address)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Seeming:
    """What a worker says of itself."""

    alive: bool = True
    died: bool = False
    stopping: bool = False
    identity: str = "seeming"


def health_of(client: Client, says: Seeming, clock: Clock | None = None) -> WorkerHealth:
    return WorkerHealth(client, "nobody-asks", cast("LastingWorker", says), clock or Clock())


@pytest.mark.promise("issue: a worker that polls nothing is not alive")
async def test_a_worker_that_asks_for_no_tasks_is_not_alive_after_a_while(client: Client):
    for says, problem in (
        (Seeming(), "the worker of queue `nobody-asks` does not ask for tasks"),
        (Seeming(alive=False), "the worker of queue `nobody-asks` does not run yet"),
    ):
        clock = Clock()
        health = health_of(client, says, clock)
        assert await health() == Health(ready=False, problem=problem)
        clock.now = FIRST_POLL_WITHIN
        assert not (await health()).alive


async def test_a_worker_in_the_place_of_a_dead_one_is_not_alive_before_it_asks_for_tasks(client: Client):
    dead = Health(alive=False, ready=False, problem="the worker of queue `nobody-asks` has died")
    assert await health_of(client, Seeming(alive=False, died=True))() == dead
    assert not (await health_of(client, Seeming(died=True))()).alive


async def test_a_worker_that_stops_in_order_is_alive_and_not_ready(client: Client):
    stopping = Health(ready=False, problem="the worker of queue `nobody-asks` is stopping")
    assert await health_of(client, Seeming(stopping=True))() == stopping


@pytest.mark.promise("issue: a dead worker is rebuilt")
async def test_a_dead_worker_is_not_alive_until_the_next_one_asks_for_tasks(
    client: Client, temporal: Path, monkeypatch: pytest.MonkeyPatch
):
    go_on = asyncio.Event()
    connect = Renewal.reconnect

    async def held(renewal: Renewal) -> None:
        await go_on.wait()
        await connect(renewal)

    monkeypatch.setattr(Renewal, "reconnect", held)
    monkeypatch.setattr(lasting, "FIRST_PAUSE", 0.01)
    observed_app.app.use(Settings(execution_engine="temporal", temporal={"data_dir": temporal, "task_queue": "dies-observed"}))
    async with create_temporal_worker_for_app(observed_app.app) as opened:
        worker = opened._workers.served[0].worker
        health = WorkerHealth(client, "dies-observed", worker)
        assert (await health()).problem == "the worker of queue `dies-observed` does not run yet"
        running = asyncio.create_task(opened.run())

        async def well() -> bool:
            return await health() == WELL

        await until(well)
        tell = worker.current.config().get("on_fatal_error")
        assert tell is not None
        await tell(RuntimeError("refused"))  # as Temporal's core does
        assert await health() == Health(alive=False, ready=False, problem="the worker of queue `dies-observed` has died")
        go_on.set()
        await until(well)
        assert worker.identity == f"{client.identity}#2"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_worker_without_temporal_is_alive_and_not_ready(temporal: Path, monkeypatch: pytest.MonkeyPatch):
    """A restart would mend nothing, and take its cache with it."""
    monkeypatch.setattr("mcp_agent.observability.health.LOOK_WITHIN", 1.0)
    server = status(temporal)
    assert server is not None
    async with balanced([server.address]) as balancer:
        health = recent(health_of(await Client.connect(balancer.address), Seeming()))
    told = await health()
    assert (told.alive, told.ready) == (True, False)
    assert "does not answer" in told.problem


async def test_an_engine_that_does_not_answer_in_time_is_not_ready(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mcp_agent.observability.health.LOOK_WITHIN", 0.01)
    asked = 0

    async def never() -> Health:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()
        return Health()

    look = recent(never)
    assert [(await look()).ready, (await look()).ready] == [False, False]
    assert asked == 1


async def test_the_same_port_for_two_processes_is_an_error_that_names_the_setting(temporal: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        where = {"execution_engine": "temporal", "temporal": {"data_dir": temporal}}
        observed_app.app.use(Settings(**where, observability={"metrics": {"port": port}}))
        with pytest.raises(ConfigError, match=rf"Port `{port}` .* `observability.metrics.port`, or 0"):
            await create_temporal_worker_for_app(observed_app.app)
