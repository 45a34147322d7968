"""Which version of the code runs what continues a run, and its children, after another version was promoted."""

import asyncio
import itertools
import math
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from temporalio.api.enums.v1 import RoutingConfigUpdateState

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import NotFound
from mcp_agent.executor.temporal import deployments
from mcp_agent.executor.temporal.deployments import Deployments
from mcp_agent.executor.temporal.executor import TemporalExecutor
from mcp_agent.executor.temporal.versioning import serving
from mcp_agent.executor.versions import Versioning
from mcp_agent.executor.workflow import Workflow
from tests.support import until

pytestmark = pytest.mark.anyio
v1, v2 = MCPApp("v1"), MCPApp("v2")
V1, V2 = "v1, step of v1", "v2, step of v2"


@v1.workflow_task(name="pinned.step")
async def old_step() -> str:
    return "v1"


@v2.workflow_task(name="pinned.step")
async def new_step() -> str:
    return "v2"


class Journey(Workflow[list[str]]):
    """Tells of each of its legs whose code it was on: `how` is to go on alone, as a continued run, or as a child of that name."""

    code: ClassVar[str]

    def __init__(self) -> None:
        self.going = False

    @workflow.signal
    def go(self) -> None:
        self.going = True

    async def travel(self, step: Callable[[], Awaitable[str]], how: str, legs: list[str]) -> Any:
        await workflow.wait_condition(lambda: self.going)
        legs = [*legs, f"{self.code}, step of {await step()}"]
        if how == "continued" and len(legs) == 1:
            workflow.continue_as_new(args=[how, legs])
        kind, _, child = how.partition(" ")
        if not child:
            return legs
        heir = await workflow.start_child_workflow(
            child, args=["alone", legs], id=f"{self.id}.child", parent_close_policy="abandon"
        )
        return legs if kind == "leaves" else (await heir.result()).value


@v1.workflow(name="Order", versioning="pinned")
class OldOrder(Journey):
    code = "v1"

    @v1.workflow_run
    async def run(self, how: str, legs: list[str]) -> list[str]:
        return await self.travel(old_step, how, legs)


@v2.workflow(name="Order", versioning="pinned")
class NewOrder(Journey):
    code = "v2"

    @v2.workflow_run
    async def run(self, how: str, legs: list[str]) -> list[str]:
        return await self.travel(new_step, how, legs)


@v1.workflow(name="Report")
class OldReport(Journey):
    code = "v1"

    @v1.workflow_run
    async def run(self, how: str, legs: list[str]) -> list[str]:
        return await self.travel(old_step, how, legs)


@v2.workflow(name="Report")
class NewReport(Journey):
    code = "v2"

    @v2.workflow_run
    async def run(self, how: str, legs: list[str]) -> list[str]:
        return await self.travel(new_step, how, legs)


@dataclass
class Rollout:
    """Both versions at work, the first of them promoted. `pinned` and `loose` are the names of the workflows that are so."""

    executor: TemporalExecutor
    pinned: str
    loose: str

    async def promote(self, version: str) -> None:
        queue = self.executor.task_queue

        async def known() -> bool:
            workers = (await serving(self.executor.client, queue)).workers
            return any(worker.version is not None and worker.version.build_id == version for worker in workers)

        await until(known)
        await Deployments(self.executor.client, queue, queue).promote(version)

    def behavior(self, name: str) -> Versioning:
        return "pinned" if name == self.pinned else "auto_upgrade"

    async def begun(self, *journeys: tuple[str, str]) -> dict[tuple[str, str], str]:
        """Runs of these workflows, in these ways, that have begun on `v1` and wait to be told to go on."""

        async def one(name: str, how: str) -> str:
            handle = await self.executor.start_workflow(name, how, [])
            await self.on(handle.id, "v1", self.behavior(name))
            return handle.id

        return dict(zip(journeys, await asyncio.gather(*(one(*journey) for journey in journeys)), strict=True))

    async def on(self, run_id: str, build: str | None, behavior: Versioning, after: str | None = None) -> None:
        """Until the run is on that version, or on any, and has told Temporal whether it stays there.

        `after`: Temporal's own id of the run that it continues.
        """

        async def there() -> bool:
            try:
                state = await self.executor.describe_run(run_id)
            except NotFound:
                return False
            version = state.version
            told = version is not None and version.versioning == behavior and build in (None, version.build_id)
            return told and state.engine_run_id != after

        await until(there)

    async def go(self, run_id: str) -> None:
        await self.executor.get_handle(run_id).signal("go")

    async def end(self, run_id: str) -> Any:
        await self.go(run_id)
        return (await self.executor.get_handle(run_id).result()).value


BY_CODE: dict[str, Any] = {"pinned": "Order", "loose": "Report", "configured": {}}
BY_CONFIGURATION: dict[str, Any] = {
    "pinned": "Report",
    "loose": "Order",
    "configured": {"Report": "pinned", "Order": "auto_upgrade"},
}


@pytest.fixture(params=[BY_CODE, BY_CONFIGURATION], ids=["by the code", "by the configuration"])
async def rollout(temporal: Path, request: pytest.FixtureRequest) -> AsyncGenerator[Rollout, None]:
    queue = f"pinned-{uuid.uuid4().hex}"
    async with AsyncExitStack() as stack:
        for app in (v1, v2):
            versioning = {
                "deployment_name": queue,
                "build_id": app.name,
                "promote": False,
                "workflows": request.param["configured"],
            }
            section = {"data_dir": temporal, "task_queue": queue, "worker_versioning": versioning}
            app.use(Settings.model_validate({"execution_engine": "temporal", "temporal": section}))
            executor = await stack.enter_async_context(app.open_executor(worker=True))
        assert isinstance(executor, TemporalExecutor)
        made = Rollout(executor, request.param["pinned"], request.param["loose"])
        await made.promote("v1")
        yield made


@pytest.mark.promise("issue 7: worker versioning in production (pinned or auto-upgrade by workflow)")
async def test_a_pinned_run_ends_on_its_version_and_what_continues_it_begins_on_the_current_one(rollout: Rollout):
    pinned, loose = rollout.pinned, rollout.loose
    runs = await rollout.begun(*itertools.product((pinned, loose), ("alone", "continued")))
    await rollout.promote("v2")
    for name in (pinned, loose):
        run_id = runs[name, "continued"]
        before = (await rollout.executor.describe_run(run_id)).engine_run_id
        await rollout.go(run_id)
        await rollout.on(run_id, "v2", rollout.behavior(name), after=before)
    ends = {run: await rollout.end(run_id) for run, run_id in runs.items()}
    assert ends == {
        (pinned, "alone"): [V1],
        (pinned, "continued"): [V1, V2],
        (loose, "alone"): [V2],
        (loose, "continued"): [V2, V2],
    }


@pytest.mark.promise("issue 7: worker versioning in production (pinned or auto-upgrade by workflow)")
@pytest.mark.parametrize("rollout", [BY_CODE], indirect=True, ids=["by the code"])
async def test_a_child_begins_on_the_version_of_its_parent_and_stays_there_if_it_is_pinned_too(rollout: Rollout):
    pinned, loose = rollout.pinned, rollout.loose
    expected = {
        (pinned, f"has {pinned}"): [V1, V1],
        (pinned, f"has {loose}"): [V1, V2],
        (pinned, f"leaves {pinned}"): [V1, V1],
        (pinned, f"leaves {loose}"): [V1, V2],
        (loose, f"has {pinned}"): [V2, V2],
    }
    runs = await rollout.begun(*expected)
    await rollout.promote("v2")

    async def hand_over(how: str, run_id: str) -> None:
        kind, child = how.split()
        await rollout.go(run_id)
        await rollout.on(f"{run_id}.child", None, rollout.behavior(child))
        if kind == "leaves":
            await rollout.executor.get_handle(run_id).result()

    await asyncio.gather(*(hand_over(how, run_id) for (_, how), run_id in runs.items()))
    assert {family: await rollout.end(f"{run_id}.child") for family, run_id in runs.items()} == expected
    for (name, how), run_id in runs.items():
        parent = (await rollout.executor.get_handle(run_id).result()).value
        assert parent == (expected[name, how] if how.startswith("has") else [V1])


@pytest.mark.parametrize("rollout", [BY_CODE], indirect=True, ids=["by the code"])
async def test_a_promotion_ends_though_temporal_says_for_ever_that_it_is_under_way(
    rollout: Rollout, monkeypatch: pytest.MonkeyPatch
):
    asked = Deployments._info

    async def under_way(self: Deployments) -> Any:
        info = await asked(self)
        info.routing_config_update_state = RoutingConfigUpdateState.ROUTING_CONFIG_UPDATE_STATE_IN_PROGRESS
        return info

    monkeypatch.setattr(Deployments, "_info", under_way)
    monkeypatch.setattr(deployments, "ROUTED_WITHIN", math.inf)
    monkeypatch.setattr(deployments, "FOLLOWED_WITHIN", 0.5)
    await rollout.promote("v2")
    new = await rollout.executor.start_workflow(rollout.pinned, "alone", [])
    assert await rollout.end(new.id) == [V2]
