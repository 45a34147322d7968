"""The embedded Temporal: shared by processes, kept by its keeper, gone after the last of them."""

import asyncio
import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowExecutionStatus

from mcp_agent.errors import EngineUnavailable
from mcp_agent.executor.temporal import dev_server
from mcp_agent.executor.temporal.dev_server import DevServer, data_dir, ensure, run_page, status, stop
from tests import skips
from tests.executor.temporal.conftest import GRACE, Folder
from tests.support import alive, until, until_gone

pytestmark = pytest.mark.anyio


def quiet(_: str) -> None:
    """Takes the progress that a test does not look at."""


async def answers(server: DevServer) -> bool:
    try:
        await Client.connect(server.address)
    except RuntimeError:
        return False
    return True


async def start_run(server: DevServer, name: str) -> str:
    """A run that no worker serves. Gives Temporal's id of it."""
    client = await Client.connect(server.address)
    return (await client.start_workflow("Anything", id=name, task_queue="nobody")).first_execution_run_id or ""


async def is_running(server: DevServer, name: str) -> bool:
    client = await Client.connect(server.address)
    return (await client.get_workflow_handle(name).describe()).status == WorkflowExecutionStatus.RUNNING


async def successor(folder: Path, before: DevServer) -> DevServer:
    """The server that comes after `before`, as soon as it answers."""

    async def another() -> DevServer | None:
        server = status(folder)
        up = server is not None and server.server_pid != before.server_pid and await answers(server)
        return server if up else None

    server = await until(another)
    assert server is not None
    return server


@pytest.mark.promise("design: every process that uses it holds a shared lock for life; the kernel frees it on kill -9")
async def test_two_processes_share_one_server_and_the_death_of_one_does_not_end_it(keeper_folder: Folder):
    killed, kept = keeper_folder.client(), keeper_folder.client()
    server = killed.server()
    assert kept.server() == server
    killed.kill()
    await anyio.sleep(4 * GRACE)  # the time in which it must not end
    assert status(keeper_folder.path) == server
    assert await answers(server)
    assert kept.leave() == ""
    await until_gone(server.keeper_pid, server.server_pid)
    assert status(keeper_folder.path) is None
    assert not (keeper_folder.path / "server.json").exists()


@pytest.mark.promise("design: never two servers on one database")
async def test_four_processes_at_once_start_exactly_one(keeper_folder: Folder):
    clients = [keeper_folder.client() for _ in range(4)]
    servers = {client.server() for client in clients}
    assert len(servers) == 1
    for client in clients:
        client.leave()
    server = servers.pop()
    await until_gone(server.keeper_pid, server.server_pid)
    assert keeper_folder.starts == 1


async def test_a_port_is_never_used_for_two_things(keeper_folder: Folder):
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    keeper_folder.path.mkdir(mode=0o700, exist_ok=True)
    (keeper_folder.path / "ports.json").write_text(json.dumps({"port": port, "ui_port": port}))
    async with ensure(keeper_folder.path, keeper_folder.binary, quiet) as server:
        assert server.address.endswith(f":{port}")
        assert not server.ui_url.endswith(f":{port}")
    await until_gone(server.keeper_pid, server.server_pid)


@pytest.mark.promise("design: the keeper stops Temporal when nobody uses it any more")
async def test_the_kill_of_the_last_client_ends_the_keeper_and_temporal(keeper_folder: Folder):
    client = keeper_folder.client()
    server = client.server()
    client.kill()
    await until_gone(server.keeper_pid, server.server_pid)


async def test_who_comes_back_within_the_grace_time_finds_the_same_server(keeper_folder: Folder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(dev_server.GRACE_VARIABLE, "60")
    async with ensure(keeper_folder.path, keeper_folder.binary, quiet) as first:
        pass
    async with ensure(keeper_folder.path, keeper_folder.binary, quiet) as second:
        assert second == first


@pytest.mark.promise("design: the keeper restarts Temporal on a crash")
async def test_temporal_that_was_killed_is_back_on_its_port_with_its_runs(keeper_folder: Folder):
    async with ensure(keeper_folder.path, keeper_folder.binary, quiet) as before:
        await start_run(before, "kept")
        os.kill(before.server_pid, signal.SIGKILL)
        with anyio.fail_after(10):
            after = await successor(keeper_folder.path, before)
        assert (after.address, after.ui_url, after.keeper_pid) == (before.address, before.ui_url, before.keeper_pid)
        assert await is_running(after, "kept")


@pytest.mark.promise("design: the keeper is replaced when it was killed")
async def test_a_client_replaces_a_keeper_that_was_killed(keeper_folder: Folder):
    async with ensure(keeper_folder.path, keeper_folder.binary, quiet) as before:
        await start_run(before, "kept")
        os.kill(before.keeper_pid, signal.SIGKILL)
        after = await successor(keeper_folder.path, before)
        assert after.keeper_pid != before.keeper_pid
        assert after.address == before.address
        assert await is_running(after, "kept")
        assert not alive(before.server_pid)


@pytest.mark.skipif(sys.platform != "linux", reason=skips.KEEPER_IS_LINUX)
async def test_temporal_ends_with_its_keeper_when_nobody_is_left(keeper_folder: Folder):
    client = keeper_folder.client()
    server = client.server()
    client.process.send_signal(signal.SIGSTOP)  # it cannot start another one
    os.kill(server.keeper_pid, signal.SIGKILL)
    await until_gone(server.keeper_pid, server.server_pid)


@pytest.mark.promise("design: never two servers on one database")
async def test_a_temporal_without_a_keeper_is_ended_before_another_starts(keeper_folder: Folder):
    lock = os.open(keeper_folder.path / "temporal.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    database = str(keeper_folder.path / "temporal.db")
    orphan = await asyncio.create_subprocess_exec(
        *(keeper_folder.binary, "server", "start-dev", "--headless", "--port", "0", "--db-filename", database),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(lock,),
    )
    os.write(lock, str(orphan.pid).encode())
    os.close(lock)
    async with ensure(keeper_folder.path, keeper_folder.binary, quiet) as server:
        assert orphan.returncode is not None or not alive(orphan.pid)
        assert await answers(server)
    await orphan.wait()


@pytest.mark.promise("design: nothing but the lock and the cluster id is believed")
async def test_a_stale_announcement_is_not_believed(keeper_folder: Folder):
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        address = f"127.0.0.1:{foreign.getsockname()[1]}"
        said = {"address": address, "ui_url": "http://127.0.0.1:1", "keeper_pid": os.getpid(), "server_pid": os.getpid()}
        (keeper_folder.path / "server.json").write_text(json.dumps(said))
        assert status(keeper_folder.path) is None
        assert not stop(keeper_folder.path)
        async with ensure(keeper_folder.path, keeper_folder.binary, quiet) as server:
            assert server.address != address
            assert await answers(server)


@pytest.mark.promise("design: nothing but the lock and the cluster id is believed")
async def test_another_temporal_at_the_address_is_not_taken_for_ours(
    keeper_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    other = Folder(data_dir(tmp_path / "other"), keeper_folder.binary)
    try:
        async with (
            ensure(keeper_folder.path, keeper_folder.binary, quiet),
            ensure(other.path, other.binary, quiet),
        ):
            (keeper_folder.path / "server.json").write_text((other.path / "server.json").read_text())
            monkeypatch.setattr(dev_server, "STARTS_WITHIN", 1.0)
            with pytest.raises(EngineUnavailable):
                async with ensure(keeper_folder.path, keeper_folder.binary, quiet):
                    pytest.fail("it was believed")
    finally:
        other.clear()


async def test_a_database_that_was_removed_is_made_anew(keeper_folder: Folder):
    async with ensure(keeper_folder.path, keeper_folder.binary, quiet) as before:
        pass
    await until_gone(before.keeper_pid, before.server_pid)
    for file in keeper_folder.path.glob("temporal.db*"):
        file.unlink()
    async with ensure(keeper_folder.path, keeper_folder.binary, quiet) as server:
        assert await answers(server)
        assert server.ui_url == before.ui_url


@pytest.mark.promise("design: the namespace keeps runs for 30 days, and each has its page")
async def test_runs_are_kept_for_thirty_days_and_have_a_page(keeper_folder: Folder):
    async with ensure(keeper_folder.path, keeper_folder.binary, quiet) as server:
        client = await Client.connect(server.address)
        described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
        assert described.config.workflow_execution_retention_ttl.ToTimedelta() == timedelta(days=30)
        page = run_page(server.ui_url, "default", "a", await start_run(server, "a"))

        async def shown() -> bool:
            try:
                with await asyncio.to_thread(urllib.request.urlopen, page) as response:
                    return response.status == 200 and "html" in response.headers["content-type"]
            except OSError:
                return False

        await until(shown)


async def test_a_page_s_address_is_quoted():
    assert run_page("http://u", "a b", "Order/7?x", "r") == "http://u/namespaces/a%20b/workflows/Order%2F7%3Fx/r/history"


@pytest.mark.promise("design: tasks are handed out at once, and timers below a second are kept")
async def test_temporal_is_started_with_fast_settings_on_loopback_below_the_ephemeral_ports(
    keeper_folder: Folder, tmp_path: Path
):
    program = tmp_path / "temporal"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{tmp_path}/arguments"\nexec "{keeper_folder.binary}" "$@"\n')
    program.chmod(0o755)
    async with ensure(keeper_folder.path, program, quiet) as server:
        arguments = (tmp_path / "arguments").read_text().splitlines()
        assert [after for before, after in pairwise(arguments) if before == "--dynamic-config-value"] == [
            "history.transferProcessorMaxPollRPS=1000",
            'history.timerProcessorMaxTimeShift="10ms"',
            "system.enableActivityEagerExecution=true",
        ]
        host, _, port = server.address.partition(":")
        assert host == "127.0.0.1"
        assert int(port) < 32768


@pytest.mark.skipif(sys.platform != "linux", reason=skips.PROC_IS_LINUX)
@pytest.mark.promise("design: secrets stay on the worker")
async def test_the_keeper_and_temporal_do_not_keep_the_client_s_secrets(keeper_folder: Folder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    async with ensure(keeper_folder.path, keeper_folder.binary, quiet) as server:
        for pid in (server.keeper_pid, server.server_pid):
            assert b"sk-very-secret" not in Path(f"/proc/{pid}/environ").read_bytes()


async def test_stop_ends_temporal_and_a_client_that_needs_it_brings_it_back_where_it_was(keeper_folder: Folder):
    async with ensure(keeper_folder.path, keeper_folder.binary, quiet) as before:
        assert stop(keeper_folder.path)
        await until_gone(before.keeper_pid, before.server_pid)
        after = await successor(keeper_folder.path, before)
        assert after.address == before.address


async def test_a_program_that_fails_is_told_with_its_words_of_this_time(keeper_folder: Folder, tmp_path: Path):
    (keeper_folder.path / "log").write_text("an older failure\n")
    program = tmp_path / "temporal"
    program.write_text("#!/bin/sh\necho no such luck >&2\nexit 3\n")
    program.chmod(0o755)
    with anyio.fail_after(10), pytest.raises(EngineUnavailable) as told:
        async with ensure(keeper_folder.path, program, quiet):
            pytest.fail("it started")
    assert "no such luck" in str(told.value)
    assert "an older failure" not in str(told.value)
    assert str(keeper_folder.path / "log") in str(told.value)
    assert status(keeper_folder.path) is None


async def test_waiting_for_a_keeper_that_ends_may_be_cancelled(keeper_folder: Folder):
    with (keeper_folder.path / "clients.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with anyio.move_on_after(0.2) as scope:
            async with ensure(keeper_folder.path, keeper_folder.binary, quiet):
                pytest.fail("two hold the lock")
        assert scope.cancelled_caught


@pytest.mark.promise("design: a directory in the user's data folder (0700)")
async def test_the_data_folder_is_its_owner_s_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "wide").mkdir(mode=0o755)
    monkeypatch.setenv(dev_server.DATA_VARIABLE, str(tmp_path / "from-variable"))
    for folder in (data_dir(tmp_path / "wide"), data_dir(tmp_path / "a" / "new"), data_dir()):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert data_dir() == (tmp_path / "from-variable").resolve()


async def test_a_data_folder_that_cannot_be_is_an_error_that_names_it(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineUnavailable, match=r"file/data.*temporal\.data_dir"):
        data_dir(tmp_path / "file" / "data")
