"""A run that no worker takes says which version of the code it needs, and what to do."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError
from temporalio.api.workflow.v1 import WorkflowExecutionVersioningInfo as VersioningInfo
from temporalio.common import WorkerDeploymentVersion as Version
from temporalio.service import RPCError, RPCStatusCode

from mcp_agent.app import MCPApp
from mcp_agent.config import Settings, TemporalSettings
from mcp_agent.errors import ConfigError, DefinitionError
from mcp_agent.executor.temporal import states
from mcp_agent.executor.temporal import unserved as module
from mcp_agent.executor.temporal.service import LiveService
from mcp_agent.executor.temporal.unserved import unserved, version_of
from mcp_agent.executor.temporal.versioning import Asking, Serving, app_version, deployment_of
from mcp_agent.executor.workflow import Workflow

pytestmark = pytest.mark.anyio
V1, V2 = Version("shop", "v1"), Version("shop", "v2")
LONG = timedelta(minutes=1)


def info(version: Version | None, *, pinned: bool = False, override: Version | None = None) -> VersioningInfo:
    made = VersioningInfo(behavior=1 if pinned else 2 if version else 0)  # type: ignore[arg-type]
    if version is not None:
        made.deployment_version.CopyFrom(version._to_proto())  # pyright: ignore[reportPrivateUsage]
    if override is not None:
        made.versioning_override.pinned.version.CopyFrom(override._to_proto())  # pyright: ignore[reportPrivateUsage]
    return made


@pytest.mark.parametrize(
    ("run", "current", "ramping", "workers", "said"),
    [
        (info(None), None, None, [], "No worker serves task queue `q`"),
        (info(None), None, None, [None], None),
        (info(None), V1, None, [V1], None),
        (info(V1, pinned=True), V2, None, [V2], "pinned to version `v1`"),
        (info(V1, pinned=True), V2, None, [V1, V2], None),
        (info(V1), V2, None, [V1], "No worker of the current version `v2`"),
        (info(V1), V2, None, [V1, V2], None),
        (info(V1, override=V2), V1, None, [V1], "pinned to version `v2`"),
        (info(None), None, None, [V1], "make one current with `mcp-agent deployment promote`"),
        (info(None), V1, V2, [V1], "end its share with `mcp-agent deployment rollback`"),
    ],
)
async def test_what_is_said(
    monkeypatch: pytest.MonkeyPatch,
    run: VersioningInfo,
    current: Version | None,
    ramping: Version | None,
    workers: list[Version | None],
    said: str | None,
):
    async def served(*_: Any, **__: Any) -> Serving:
        return Serving(current, ramping, tuple(Asking(str(n), version) for n, version in enumerate(workers)))

    monkeypatch.setattr(module, "serving", served)
    description: Any = SimpleNamespace(task_queue="q", raw_info=SimpleNamespace(versioning_info=run))
    told = await unserved(None, description, LONG)  # type: ignore[arg-type]
    assert (told is None) if said is None else said in (told or "")


@pytest.mark.promise("issue 7: an RPC error is never reported as a run's: a lost connection while it is asked why a run waits")
async def test_why_a_run_waits_is_asked_again_where_the_connection_was_lost(temporal: Path, monkeypatch: pytest.MonkeyPatch):
    app = MCPApp("alone")

    @app.workflow
    class Waits(Workflow[str]):
        @app.workflow_run
        async def run(self) -> str:
            return ""

    lost: list[str] = []
    once = LiveService._once  # pyright: ignore[reportPrivateUsage]

    async def losing(self: LiveService, rpc: str, *arguments: Any, **options: Any) -> Any:
        if rpc not in lost:
            lost.append(rpc)
            raise RPCError("operation was canceled", RPCStatusCode.CANCELLED, b"")
        return await once(self, rpc, *arguments, **options)

    app.use(Settings(execution_engine="temporal", temporal=TemporalSettings(data_dir=temporal, task_queue="nobody-s")))
    async with app.open_executor() as executor:
        handle = await executor.start_workflow("Waits")
        monkeypatch.setattr(states, "UNTAKEN", timedelta(0))
        monkeypatch.setattr(LiveService, "_once", losing)
        state = await executor.describe_run(handle.id)
        await executor.terminate_run(handle.id, None)
    assert "No worker serves task queue `nobody-s`" in (state.blocked or "")
    assert {"describe_workflow_execution", "describe_task_queue"} <= set(lost)


def test_the_version_of_a_run_is_told_once_it_has_one():
    assert version_of(info(None)) is None
    told = version_of(info(V1, override=V2))
    assert told is not None
    assert (told.deployment, told.build_id, told.versioning) == ("shop", "v2", "pinned")


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"deployment_name": "my.shop"}, "`my.shop` is no name of a deployment"),
        ({"build_id": "v'1"}, "is no build id"),
        ({"build_id": ""}, "at least 1 character"),
        ({"workflows": {"Order": "stuck"}}, "workflows.VersioningSettings.workflows.Order|pinned"),
        ({"promoted": True}, "promoted"),
        ("perhaps", "bool"),
    ],
)
def test_versions_that_cannot_be_meant_are_refused(section: Any, said: str):
    with pytest.raises(ValidationError, match=said):
        TemporalSettings(worker_versioning=section)


@pytest.mark.parametrize("versioning", ["true", "{promote: false}"])
def test_an_image_s_tag_from_the_environment_is_the_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, versioning: str):
    config = tmp_path / "mcp_agent.config.yaml"
    config.write_text(f"temporal: {{worker_versioning: {versioning}}}")
    monkeypatch.setenv("MCP_AGENT__TEMPORAL__WORKER_VERSIONING__BUILD_ID", "registry/shop:1.2.3")
    app = MCPApp("shop", settings=config)
    assert app_version(app, "my.queue") == Version("my-queue", "registry/shop:1.2.3")


def test_a_workflow_that_is_not_there_cannot_be_pinned():
    app = MCPApp("shop")

    @app.workflow(versioning="pinned")
    class Order(Workflow[str]):
        @app.workflow_run
        async def run(self) -> str:
            return ""

    app.use(Settings.model_validate({"temporal": {"worker_versioning": {"workflows": {"Ordre": "pinned"}}}}))
    with pytest.raises(ConfigError, match=r"`temporal\.worker_versioning\.workflows\.Ordre`.*Did you mean `Order`"):
        deployment_of(None, app, "q")  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="`stuck`"):
        app.workflow(versioning="stuck")  # type: ignore[call-overload]
