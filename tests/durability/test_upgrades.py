"""The runbook of docs/upgrades.md is executed: two versions of an app as two workers, and the commands that the page names."""

import asyncio
import json
import re
import shlex
import signal
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from mcp_agent.app import MCPApp
from mcp_agent.cli.replaying import Asked, replayed
from mcp_agent.config import Settings
from mcp_agent.errors import ConfigError, EngineUnavailable, MCPAgentError, NotFound
from mcp_agent.executor.executor import WorkflowHandle
from mcp_agent.executor.temporal.executor import TemporalExecutor
from mcp_agent.executor.temporal.service import LiveService
from mcp_agent.executor.temporal.versioning import serving
from tests.durability.gate_app import after, before
from tests.support import Desk, desk_in, until

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "upgrades.md"
CODE = """
from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow

app = MCPApp(name="shop")


class Waits(Workflow[str]):
    def __init__(self) -> None:
        self.going = False

    @workflow.signal
    def go(self) -> None:
        self.going = True

    async def answer(self, wording: int) -> str:
        await workflow.wait_condition(lambda: self.going)
        return f"code of v1, wording {wording}"


@app.workflow(versioning="pinned")
class Order(Waits):
    @app.workflow_run
    async def run(self) -> str:
        return await self.answer(1)


@app.workflow
class Report(Waits):
    @app.workflow_run
    async def run(self) -> str:
        return await self.answer(1)
"""
PATCHED = CODE.replace("code of v1", "code of v2").replace(
    "class Report(Waits):\n    @app.workflow_run\n    async def run(self) -> str:\n        return await self.answer(1)",
    "class Report(Waits):\n    @app.workflow_run\n    async def run(self) -> str:\n"
    '        return await self.answer(workflow.get_version("wording", 1, 2))',
)
CONFIG = """
execution_engine: temporal
server: {{app: "shop:app"}}
temporal:
  data_dir: {data_dir}
  binary: {binary}
  task_queue: shop
  worker_versioning: {{deployment_name: shop, build_id: "${{IMAGE_TAG}}", promote: false}}
"""


def settings_in(temporal: Path, task_queue: str, **more: Any) -> Settings:
    return Settings.model_validate(
        {"execution_engine": "temporal", "temporal": {"data_dir": temporal, "task_queue": task_queue, **more}}
    )


class Shop:
    """The operator's place: workers, and the commands of the page in their order."""

    def __init__(self, desk: Desk, executor: TemporalExecutor) -> None:
        self.desk = desk
        self.executor = executor
        blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
        self._commands = iter(re.findall(r"^mcp-agent .*$", "\n".join(blocks), re.MULTILINE))

    def work(self, version: str) -> subprocess.Popen[str]:
        self.desk.environment["IMAGE_TAG"] = version
        return self.desk.work()

    async def as_written(self, expected: str) -> subprocess.CompletedProcess[str]:
        """The next command of the page, which must be the expected one."""
        command = next(self._commands)
        assert command.startswith(expected), command
        return await self.desk.run(*shlex.split(command)[1:], within=120)

    def all_done(self) -> bool:
        return next(self._commands, None) is None

    async def known(self, version: str) -> None:
        """Until Temporal has seen a worker of it ask for work."""

        async def asks() -> bool:
            now = await serving(self.executor.client, self.executor.task_queue)
            return any(worker.version and worker.version.build_id == version for worker in now.workers)

        await until(asks)

    async def begun(self, name: str) -> WorkflowHandle[Any]:
        """A run that waits, and has told its version."""
        handle = await self.executor.start_workflow(name)

        async def told() -> bool:
            return (await handle.describe()).version is not None

        await until(told)
        return handle

    async def listed(self, which: str, number: int) -> None:
        """Until a search, which is behind by a moment, finds so many runs."""

        async def found() -> bool:
            return (await self.executor.client.count_workflows(f"TaskQueue = 'shop' AND {which}")).count == number

        await until(found)

    async def version(self, handle: WorkflowHandle[Any]) -> tuple[str, str]:
        version = (await handle.describe()).version
        assert version is not None
        return version.build_id, version.versioning

    async def end(self, handle: WorkflowHandle[Any]) -> Any:
        await handle.signal("go")
        return (await handle.result()).value


@pytest.fixture
async def shop(tmp_path: Path, temporal: Path, binary: Path) -> AsyncGenerator[Shop, None]:
    config = CONFIG.format(data_dir=temporal, binary=binary)
    app = MCPApp("shop", settings=settings_in(temporal, "shop"))
    async with desk_in(tmp_path, binary, config, {"shop.py": CODE}) as desk, app.open_executor() as executor:
        assert isinstance(executor, TemporalExecutor)
        yield Shop(desk, executor)


@pytest.mark.promise("issue: a runbook executed by a test: two versions, old runs finish on the old, new on the new, roll back")
async def test_the_runbook_of_the_page(shop: Shop):
    old = shop.work("v1")
    await shop.known("v1")
    assert (await shop.desk.run("deployment", "promote", "v1")).returncode == 0
    order, other, report = [await shop.begun(name) for name in ("Order", "Order", "Report")]
    assert await shop.version(order) == ("v1", "pinned")
    assert await shop.version(report) == ("v1", "auto_upgrade")

    (shop.desk.folder / "shop.py").write_text(PATCHED)
    shop.desk.environment["IMAGE_TAG"] = "v2"
    await shop.listed("TemporalWorkflowVersioningBehavior = 'Pinned'", 2)
    gate = await shop.as_written("mcp-agent replay --from-server")
    assert gate.returncode == 0, gate.stdout + gate.stderr
    assert "1 runs replayed: 1 fit, 0 would break; 2 stay on their own version of the code" in gate.stdout

    shop.work("v2")
    await shop.known("v2")
    share = await shop.as_written("mcp-agent deployment promote v2 --percentage 10")
    assert "v2  ramping 10 %" in share.stdout, share.stdout + share.stderr
    assert "v2  current" in (await shop.as_written("mcp-agent deployment promote v2")).stdout
    new = await shop.begun("Order")
    assert await shop.version(new) == ("v2", "pinned")
    assert await shop.end(report) == "code of v2, wording 1"
    assert await shop.end(other) == "code of v1, wording 1"

    assert "v1  current" in (await shop.as_written("mcp-agent deployment rollback")).stdout
    back = await shop.begun("Order")
    assert await shop.end(back) == "code of v1, wording 1"
    assert await shop.end(new) == "code of v2, wording 1"
    assert "v2  current" in (await shop.desk.run("deployment", "promote")).stdout  # that of IMAGE_TAG

    await shop.listed("TemporalWorkerDeploymentVersion = 'shop:v1' AND ExecutionStatus = 'Running'", 1)
    shown = await shop.as_written("mcp-agent deployment show")
    assert re.search(r"v1  draining  1 worker  1 pinned run under way: its workers must go on", shown.stdout), shown.stdout
    assert await shop.end(order) == "code of v1, wording 1"
    assert "its workers may end" in (await shop.as_written("mcp-agent deployment drained v1")).stdout
    old.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(old.wait, 60) == 0
    assert await shop.end(await shop.begun("Report")) == "code of v2, wording 2"

    await shop.listed("ExecutionStatus = 'Completed'", 6)
    kept = await shop.as_written("mcp-agent export")
    assert kept.stdout.startswith("6 runs written"), kept.stdout + kept.stderr
    assert len(list((shop.desk.folder / "archive" / "histories").iterdir())) == 6
    records = [json.loads(file.read_text()) for file in (shop.desk.folder / "archive" / "runs").iterdir()]
    assert {record["result"] for record in records} >= {"code of v1, wording 1", "code of v2, wording 2"}
    assert shop.all_done()


class Gate:
    """The command, in this process: what it says, and with which status it would end."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    async def __call__(self, app: MCPApp, **asked: Any) -> tuple[bool, str]:
        given: dict[str, Any] = {
            "files": (), "from_server": True, "workflows": (), "since": None, "state": None, "limit": None,
            "pinned": False, "concurrency": 2, "as_json": False,
        }  # fmt: skip
        self._capsys.readouterr()
        fits = await asyncio.to_thread(replayed, Asked(**{**given, **asked}), lambda: app)
        return fits, self._capsys.readouterr().out


@pytest.fixture
def gate(capsys: pytest.CaptureFixture[str]) -> Gate:
    return Gate(capsys)


@pytest.mark.promise("issue: mcp-agent replay --from-server over recent runs as a gate before a rollout")
async def test_the_gate_tells_each_run_that_would_break_and_changes_nothing(
    temporal: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    for app in (before, after):
        app.use(settings_in(temporal, "gate"))
    fits, said = await gate(before)
    assert fits
    assert said.startswith("No runs were found on task queue `gate` of namespace `default`")
    async with before.open_executor(worker=True) as executor:
        assert isinstance(executor, TemporalExecutor)
        parcel = await executor.start_workflow("Parcel", False)
        await parcel.result()
        same = await executor.start_workflow("Same")
        await same.result()
        withdrawn = await executor.start_workflow("Withdrawn")
        open_ = await executor.start_workflow("Parcel", True)

        async def asked() -> bool:
            listed = (await executor.client.count_workflows("TaskQueue = 'gate'")).count
            return listed == 4 and (await open_.describe()).status == "waiting_for_input"

        await until(asked)
        history = (await open_.temporal.fetch_history()).to_json()
    called: set[str] = set()
    once = LiveService._once  # pyright: ignore[reportPrivateUsage]

    async def noting(self: LiveService, rpc: str, *arguments: Any, **options: Any) -> Any:
        called.add(rpc)
        return await once(self, rpc, *arguments, **options)

    monkeypatch.setattr(LiveService, "_once", noting)
    assert (await gate(before))[0]
    fits, said = await gate(after)
    assert not fits
    lines = sorted(said.splitlines()[:-1])
    assert len(lines) == 3
    for run, line in zip(sorted([parcel.id, open_.id]), lines, strict=False):
        assert line.startswith(f"Parcel {run}: event 11 (ACTIVITY_TASK_SCHEDULED): [TMPRL1100]"), line
        assert "guard the change with `workflow.get_version`" in line
    assert lines[2].startswith(f"Withdrawn {withdrawn.id}: the app no longer has this workflow")
    assert said.splitlines()[-1] == "4 runs replayed: 1 fit, 3 would break"
    fits, said = await gate(after, as_json=True, workflows=("Parcel",), state="closed", limit=1)
    told = json.loads(said)
    assert not fits
    assert [(misfit["run_id"], misfit["event_id"], misfit["code"]) for misfit in told["misfits"]] == [
        (parcel.id, 11, "code_differs")
    ]
    assert await gate(after, workflows=("Same",), since="1h") == (True, "1 runs replayed: 1 fit, 0 would break\n")
    assert called <= {
        "count_workflow_executions",
        "list_workflow_executions",
        "get_workflow_execution_history",
        "describe_namespace",
    }

    folder = tmp_path / "histories"
    folder.mkdir()
    (folder / "open.json").write_text(history)
    assert (await gate(before, files=(folder,), from_server=False))[0]
    assert not (await gate(after, files=(folder,), from_server=False))[0]
    await withdrawn.terminate()


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"workflows": ("Parcle",)}, NotFound, "`Parcel`"),
        ({"since": "soon"}, ConfigError, "`--since` is `soon`"),
        ({"state": "ajar"}, ConfigError, "`--state` is `ajar`"),
        ({"from_server": False}, ConfigError, "--from-server"),
        (
            {"from_server": False, "files": (Path("x.json"),), "limit": 5},
            ConfigError,
            "`--limit` chooses among the runs of a server",
        ),
    ],
)
async def test_the_gate_refuses_what_cannot_be_meant(
    temporal: Path, gate: Gate, asked: dict[str, Any], error: type[MCPAgentError], said: str
):
    before.use(settings_in(temporal, "gate"))
    with pytest.raises(error, match=re.escape(said)):
        await gate(before, **asked)


async def test_a_gate_without_its_server_says_so(gate: Gate):
    app = MCPApp("far")
    app.use(Settings.model_validate({"execution_engine": "temporal", "temporal": {"host": "127.0.0.1", "port": 9}}))
    with pytest.raises(EngineUnavailable, match="nothing listens there"):
        await gate(app)
