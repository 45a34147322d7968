"""When a version makes itself the current one."""

import asyncio
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion

from mcp_agent.config_versioning import VersioningSettings
from mcp_agent.executor.temporal import versioning
from mcp_agent.executor.temporal.versioning import Asking, Deployment, Serving

pytestmark = pytest.mark.anyio

OLD, NEW = (WorkerDeploymentVersion("app", build) for build in ("old", "new"))


def looks(current: WorkerDeploymentVersion | None, *served: WorkerDeploymentVersion) -> Serving:
    return Serving(current, None, tuple(Asking(version.build_id, version) for version in served))


BEGIN = [looks(NEW, NEW, OLD), looks(OLD, NEW, OLD)]


@pytest.mark.parametrize(
    ("then", "promoted"),
    [
        ([looks(NEW, OLD), looks(NEW, NEW, OLD), looks(NEW, OLD), looks(NEW, NEW, OLD)], [0]),
        ([looks(NEW, OLD), looks(NEW, OLD)], [0, 3]),
        ([looks(NEW, NEW, OLD), looks(NEW, OLD), looks(OLD, OLD), looks(NEW, OLD)], [0]),
        ([looks(None, OLD)], [0, 2]),
    ],
    ids=["not seen yet", "gone", "another each time", "none is current"],
)
async def test_a_version_is_taken_for_gone_when_it_was_not_seen_twice(
    monkeypatch: pytest.MonkeyPatch, then: list[Serving], promoted: list[int]
):
    """One look may meet a version that was promoted before Temporal shows its worker."""
    told, made, over = [*BEGIN, *then], list[int](), asyncio.Event()
    looked = -1

    async def serving(*_: Any, **__: Any) -> Serving:
        nonlocal looked
        looked += 1
        if looked == len(told):
            over.set()
            await asyncio.Event().wait()
        return told[looked]

    async def make_current(_: Any, version: WorkerDeploymentVersion) -> None:
        assert version == OLD
        made.append(looked)

    monkeypatch.setattr(versioning, "serving", serving)
    monkeypatch.setattr(versioning, "make_current", make_current)
    monkeypatch.setattr(versioning, "CHECK", 0)
    keeping = asyncio.create_task(Deployment(cast("Client", None), "app", OLD, VersioningSettings())._keep_current())
    await over.wait()
    keeping.cancel()
    assert made == promoted
