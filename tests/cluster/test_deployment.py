"""`deploy/` on this machine: three nodes by the very configuration, the image by its own commands, behind the balancer."""

import subprocess
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from mcp_agent.executor.temporal.binary import find_or_make_binary
from tests import skips
from tests.cluster.cluster import Postgres, free_ports
from tests.cluster.deployed import DEPLOY, Image, Nodes, Processes, balancer_config, compose_service, processes
from tests.cluster.programs import Programs, haproxy
from tests.deploy.configurations import A_KEY
from tests.support import call, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1_500)]

ADDRESSES = ["127.0.0.41", "127.0.0.42", "127.0.0.43"]
SCRIPT = 'agents: {processor: [{text: "Improved."}]}'
PARTS = ("server", "second-server", "worker", "codec-server")


@pytest.fixture(scope="module")
def folder() -> Generator[Path, None, None]:
    # Not in pytest's folders, where nobody else may look: PostgreSQL does not run as root.
    with TemporaryDirectory(prefix="mcp-agent-cluster-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def started(folder: Path) -> Generator[Processes, None, None]:
    with processes(folder / "logs") as made:
        yield made


@pytest.fixture(scope="module")
async def nodes(folder: Path, started: Processes, cluster_programs: Programs) -> AsyncGenerator[Nodes, None]:
    (port,) = free_ports(1)
    postgres = Postgres(folder / "pg", cluster_programs.postgres, port)
    temporal = await find_or_make_binary(None, print)
    made = Nodes(folder / "programs", cluster_programs, temporal, postgres, ADDRESSES)
    made.link_programs()
    try:
        postgres.start()
        for _ in range(2):  # the second time finds everything there
            done = made.script("schema.sh")
            assert done.returncode == 0, done.stdout[-800:] + done.stderr[-800:]
        made.start(started)
        yield made
        ended = started.stop(*(f"node-{address}" for address in ADDRESSES))
        assert set(ended.values()) == {0}
    finally:
        started.kill()
        postgres.stop()


@pytest.mark.promise("issue 7: the server binary starts on the very configuration files, as three nodes of one cluster")
async def test_three_nodes_are_one_cluster_by_the_files_of_deploy(nodes: Nodes, started: Processes):
    for address in ADDRESSES:  # the namespace that the first one has made is there for all
        nodes.make_namespace(address)
    started.check()


def test_temporal_knows_every_key_of_the_dynamic_configuration(cluster_programs: Programs):
    command = [cluster_programs.server, "validate-dynamic-config", DEPLOY / "temporal" / "dynamic.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "warning" not in done.stdout


@pytest.fixture(scope="module")
def image(folder: Path) -> Image:
    made = Image(folder / "image")
    made.build()
    return made


@pytest.fixture(scope="module")
async def address(folder: Path, image: Image, nodes: Nodes, started: Processes) -> AsyncGenerator[str, None]:
    """The balancer's, before two servers from the image, with a worker and a codec server beside them. They must end in order."""
    program = haproxy()
    if program is None:
        pytest.skip(skips.NO_HAPROXY)
    (folder / "script.yaml").write_text(SCRIPT)
    (folder / "mcp_agent.config.yaml").write_text((DEPLOY / "compose" / "mcp_agent.config.yaml").read_text())
    balancer, *ports = free_ports(1 + 3 * len(PARTS))
    at = {part: ports[3 * n : 3 * n + 3] for n, part in enumerate(PARTS)}
    for part in PARTS:
        http, metrics, health = at[part]
        settings = {
            "MCP_AGENT_CONFIG": str(folder / "mcp_agent.config.yaml"),
            "MCP_AGENT__TEMPORAL__HOST": ADDRESSES[PARTS.index(part) % 3],
            "MCP_AGENT__SERVER__PORT": str(http),
            "MCP_AGENT__SERVER__PUBLIC_URL": f"http://127.0.0.1:{balancer}",
            "MCP_AGENT__OBSERVABILITY__METRICS__PORT": str(metrics),
            "MCP_AGENT__OBSERVABILITY__HEALTH__PORT": str(health),
            "MCP_AGENT__SCRIPTED__FILE": str(folder / "script.yaml"),
            **dict.fromkeys(("CODEC_KEY", "STATE_KEY", "OPERATOR_TOKEN"), A_KEY),
        }
        command = compose_service(part.removeprefix("second-"))["command"]
        arguments = [str(http) if argument == "8081" else argument for argument in command]
        started.start(part, [image.entry_point, *arguments], image.environment(settings), cwd=image.app)
    (folder / "haproxy.cfg").write_text(balancer_config(balancer, [at["server"][0], at["second-server"][0]]))
    started.start("balancer", [program, "-f", folder / "haproxy.cfg"], {})
    ready = [f"http://127.0.0.1:{at[part][0]}/readyz" for part in ("server", "second-server")]
    ready += [f"http://127.0.0.1:{at['worker'][2]}/readyz", f"http://127.0.0.1:{at['codec-server'][0]}/health"]
    ready += [f"http://127.0.0.1:{at['worker'][1]}/metrics", f"http://127.0.0.1:{balancer}/readyz"]
    await all_answer(ready, started)
    yield f"http://127.0.0.1:{balancer}"
    ended = await anyio.to_thread.run_sync(started.stop, *PARTS)
    assert ended == dict.fromkeys(PARTS, 0), [started.said(part)[-800:] for part in PARTS]


async def all_answer(urls: list[str], started: Processes) -> None:
    async with httpx2.AsyncClient() as client:

        async def answers() -> bool:
            started.check()
            try:
                return all([(await client.get(url)).status_code == 200 for url in urls])
            except httpx2.TransportError:
                return False

        await until(answers)


@pytest.mark.promise("issue 7: the image is made by its own commands, and writes nothing but to /tmp")
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_of_either_era_runs_and_answers_through_the_balancer(address: str, image: Image, mode: str):
    before = image.files()
    answers: list[int] = []

    async def note(response: httpx2.Response) -> None:
        answers.append(response.status_code)

    headers = {"Authorization": f"Bearer {A_KEY}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60, event_hooks={"response": [note]}) as http,
        Client(streamable_http_client(f"{address}/mcp", http_client=http), mode=mode) as client,
    ):
        run = await call(client, "workflows-ApprovalWorkflow-run", run_parameters={"document": "Text."}, wait_seconds=1)
        for _ in range(12):
            asked = {"run_id": run["run_id"], "wait_seconds": 1}
            run = await call(client, "workflows-ApprovalWorkflow-get_status", **asked)
        while run["status"] != "waiting_for_input":
            run = await call(client, "workflows-ApprovalWorkflow-get_status", run_id=run["run_id"], wait_seconds=10)
        await call(client, "workflows-ApprovalWorkflow-resume", run_id=run["run_id"], payload="yes")
        while run["status"] != "completed":
            run = await call(client, "workflows-ApprovalWorkflow-get_status", run_id=run["run_id"], wait_seconds=10)
    assert run["result"] == "Improved."
    assert 404 not in answers  # a session that meets another server than its own
    assert image.files() == before


def test_the_environment_of_the_image_has_no_pip(image: Image):
    assert not [path for path in image.files() if path.parts[-2:] == ("bin", "pip") or "site-packages/pip/" in str(path)]
