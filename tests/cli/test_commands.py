"""The command line, as a process: what is wrong is told in one line, and nothing is started."""

import asyncio
import json
import socket
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from mcp import Client

from mcp_agent.executor.temporal.binary import find_or_make_binary
from mcp_agent.executor.temporal.dev_server import GRACE_VARIABLE
from tests.support import Desk, call, desk_in, until, until_file, until_gone

pytestmark = pytest.mark.anyio

APP = """
import os, sys
print("printed at import")
os.write(1, b"written to the descriptor at import\\n")
sys.stdout.write("half a line")

from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow

app = MCPApp(name="chatty")


@app.workflow
class Chatty(Workflow[str]):
    @app.workflow_run
    async def run(self, name: str) -> str:
        print("printed in run")
        return await chat(name)


@app.workflow_task(name="chat")
async def chat(name: str) -> str:
    print("printed in a step", flush=True)
    os.write(1, b"written to the descriptor in a step\\n")
    os.system("echo printed by a child")
    return f"hello {name}"


@app.tool
def loud() -> str:
    \"\"\"Prints.\"\"\"
    print("printed in a tool")
    return "quiet"
"""
CONFIG = "execution_engine: {engine}\nserver: {{app: 'chatty:app'}}\ntemporal: {{binary: {binary}}}\n"


@pytest.fixture(params=["asyncio", "temporal"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Desk, None]:
    binary = await find_or_make_binary(None, print)
    config = CONFIG.format(engine=request.param, binary=binary)
    async with desk_in(tmp_path, binary, config, {"chatty.py": APP}) as made:
        yield made


@pytest.fixture
async def asyncio_desk(tmp_path: Path) -> AsyncGenerator[Desk, None]:
    async with desk_in(tmp_path, Path("unused"), CONFIG.format(engine="asyncio", binary="unused"), {"chatty.py": APP}) as made:
        yield made


@pytest.mark.promise("fault: a print in user code at import and in run")
async def test_what_user_code_prints_never_reaches_the_protocol(desk: Desk):
    process = subprocess.Popen(
        desk.command("serve", "--stdio"),
        cwd=desk.folder,
        env=desk.env(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    requests = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "loud", "arguments": {}}},
        {
            "jsonrpc": "2.0",
            "id": 3,
            "method": "tools/call",
            "params": {"name": "workflows-Chatty-run", "arguments": {"run_parameters": {"name": "you"}}},
        },
    ]

    def talk() -> list[dict[str, object]]:
        assert process.stdin is not None
        assert process.stdout is not None
        answers: list[dict[str, object]] = []
        for request in requests:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            while "id" in request:
                answers.append(json.loads(process.stdout.readline()))
                if answers[-1].get("id") == request["id"]:
                    break
        rest, errors = process.communicate(timeout=30)
        assert rest == ""
        for text in ("printed at import", "printed in run", "printed in a step", "printed by a child", "printed in a tool"):
            assert text in errors
        return answers

    answers = await asyncio.to_thread(talk)
    assert all(answer["jsonrpc"] == "2.0" for answer in answers)
    assert "hello you" in json.dumps(answers[-1])
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--port", "99999"], "`99999` is no port"), (["--stdio", "--port", "8000"], "no meaning with `--stdio`")],
)
async def test_an_address_that_cannot_be_meant_is_an_error_of_one_line(asyncio_desk: Desk, options: list[str], said: str):
    done = await asyncio_desk.run("serve", *options)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.promise("fault: a port in use")
async def test_a_port_in_use_is_told_before_anything_is_started(desk: Desk):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = await desk.run("serve", "--port", port)
    assert done.returncode == 2
    assert port in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert desk.server() is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["serve", "--app", "nowhere:app"], "there is no module `nowhere`"),
        (["serve", "--app", "chatty:missing"], "`chatty:missing` is no MCPApp"),
        (["serve", "--app", ".chatty:app"], "`.chatty` is no name of a module"),
        (["serve", "--config", "none.yaml"], "none.yaml"),
        (["serve", "--prot", "5"], "--prot"),
        (["serve", "--port", "many"], "'--port'"),
        (["serv"], "serv"),
        (["worker"], "execution_engine: temporal"),
        (["deployment", "show"], "execution_engine: temporal"),
    ],
)
async def test_what_is_wrong_is_told_in_the_last_line_without_a_traceback(asyncio_desk: Desk, arguments: list[str], told: str):
    done = await asyncio_desk.run(*arguments)
    assert done.returncode == 2
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.promise("fault: a configuration with an unknown key, over stdio")
async def test_a_wrong_configuration_ends_the_server_with_all_that_is_wrong(asyncio_desk: Desk):
    (asyncio_desk.folder / "mcp_agent.config.yaml").write_text("execution_engin: temporal\nserver: {port: many, app: 'x:y'}\n")
    done = await asyncio_desk.run("serve", "--stdio")
    assert done.returncode == 2
    assert done.stdout == ""
    for part in ("execution_engin", "`execution_engine`", "server.port", "many"):
        assert part in done.stderr


@pytest.mark.parametrize("desk", ["temporal"], indirect=True)
async def test_a_worker_of_a_queue_that_is_not_configured_starts_nothing(desk: Desk):
    done = await desk.run("worker", "--queues", "models,workflow")
    assert done.returncode == 2
    assert "`--queues models,workflow`: There is no queue `models`" in done.stderr.splitlines()[-1]
    assert desk.server() is None


async def test_help_names_every_command(asyncio_desk: Desk):
    done = await asyncio_desk.run("--help")
    assert done.returncode == 0
    for command in ("serve", "worker", "dev"):
        assert command in done.stdout


@pytest.mark.parametrize(("stdin", "told"), [(subprocess.PIPE, True), (subprocess.DEVNULL, False)])
async def test_a_client_that_starts_a_server_and_does_not_say_stdio_is_told(asyncio_desk: Desk, stdin: int, told: bool):
    process, errors = asyncio_desk.start("serve", "--port", "0", stdin=stdin)
    await until_file(errors, "tools at")
    process.terminate()
    process.communicate(timeout=30)
    assert ("needs `--stdio`" in errors.read_text()) is told


@pytest.mark.parametrize("desk", ["temporal"], indirect=True)
async def test_a_worker_alone_serves_the_runs_that_another_process_starts(desk: Desk):
    worker, errors = desk.start("worker", "--queues", "workflows")
    await until_file(errors, "a worker for 1 workflows")
    (desk.folder / "mcp_agent.config.yaml").write_text(
        (desk.folder / "mcp_agent.config.yaml").read_text().replace("'chatty:app'", "'chatty:app', worker: false")
    )
    server = await desk.serve()
    async with Client(server.url) as client:
        assert (await call(client, "workflows-Chatty-run", run_parameters={"name": "you"}))["result"] == "hello you"
    assert "printed in a step" in errors.read_text()
    worker.terminate()
    assert await asyncio.to_thread(worker.wait, 20) == 0


@pytest.mark.parametrize("desk", ["temporal"], indirect=True)
async def test_the_embedded_temporal_is_shown_and_stopped(desk: Desk):
    config = ["--config", str(desk.folder / "mcp_agent.config.yaml")]
    assert (await desk.run("dev", "status", *config)).returncode == 1
    desk.environment[GRACE_VARIABLE] = "60"  # it is stopped by the command, and not because nobody uses it
    server = await desk.serve()

    async def shown() -> str | None:
        done = await desk.run("dev", "status", *config)
        return done.stdout if done.returncode == 0 else None

    temporal = None
    text = await until(shown)
    temporal = desk.server()
    assert temporal is not None
    assert temporal.address in text
    assert temporal.ui_url in text
    server.kill()
    assert (await desk.run("dev", "stop", *config)).stdout == "stopping\n"
    await until_gone(temporal.keeper_pid, temporal.server_pid)
    assert (await desk.run("dev", "stop", *config)).stdout == "not running\n"


async def test_sigterm_ends_the_server_in_order(desk: Desk):
    server = await desk.serve()
    async with Client(server.url) as client:
        await client.list_tools()
    server.process.terminate()
    assert await asyncio.to_thread(server.process.wait, 20) == 0


@pytest.mark.promise("issue: mcp-agent replay exits non-zero")
async def test_replay_tells_for_each_file(asyncio_desk: Desk):
    history = asyncio_desk.folder / "no-history.json"
    history.write_text("{}")
    config = str(asyncio_desk.folder / "mcp_agent.config.yaml")
    done = await asyncio_desk.run("replay", str(history), "nowhere.json", "--config", config)
    assert done.returncode == 1
    assert "no-history.json` is no workflow history" in done.stdout
    assert "`nowhere.json` cannot be read" in done.stdout
    assert (await asyncio_desk.run("replay", "--config", config)).returncode == 2
