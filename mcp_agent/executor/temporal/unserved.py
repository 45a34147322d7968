"""Why nobody takes a run's workflow tasks, and what to do: no worker, or none of the version of the code that it needs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from temporalio.api.workflow.v1 import WorkflowExecutionVersioningInfo as VersioningInfo
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion

from mcp_agent.executor.runs import CodeVersion
from mcp_agent.executor.temporal.behaviors import VERSIONINGS
from mcp_agent.executor.temporal.versioning import TAKE_OVER_WITHIN, Serving, serving, version_in

# A worker whose version is not the current one has made it that by then, where it is the one that was started last.
BECOMES_CURRENT = timedelta(seconds=15)
_START = "start the server, or `mcp-agent worker`"


async def unserved(client: Client, description: WorkflowExecutionDescription, waited: timedelta) -> str | None:
    """Why nobody takes a run's workflow tasks; `None` if somebody does, or is about to. Raises RPCError.

    Args:
        client: For who serves.
        description: Of the run.
        waited: How long it has waited.
    """
    queue, pinned = description.task_queue, pinned_to(description.raw_info.versioning_info)
    now = await serving(client, queue, retry=True)
    if pinned is not None:
        return None if now.served_by(pinned) else _pinned(queue, pinned)
    if not now.workers:
        return f"No worker serves task queue `{queue}`: {_START}. The run goes on then."
    if waited < BECOMES_CURRENT:
        return None
    return _out_of_service(queue, now)


def _pinned(queue: str, pinned: WorkerDeploymentVersion) -> str:
    return (
        f"The run is pinned to version `{pinned.build_id}` of the code, and no worker of it serves task queue `{queue}`: "
        f"{_START}, with that version. The run goes on then."
    )


def _out_of_service(queue: str, now: Serving) -> str | None:
    others = _builds(worker.version for worker in now.workers)
    if now.current is None:
        if now.served_by(None):
            return None
        return (
            f"No version of the code is current on task queue `{queue}`; there are workers of {others}: make one current with "
            "`mcp-agent deployment promote`. The run goes on then."
        )
    if not now.served_by(now.current):
        return (
            f"No worker of the current version `{now.current.build_id}` serves task queue `{queue}`, only some of {others}: "
            f"{_START}, with that version, or make another current with `mcp-agent deployment promote`. Where versions promote "
            f"themselves, one takes over within {TAKE_OVER_WITHIN:g} s."
        )
    if now.ramping is not None and not now.served_by(now.ramping):
        return (
            f"Version `{now.ramping.build_id}` of the code gets a share of the runs of task queue `{queue}`, and has no worker: "
            f"{_START}, with that version, or end its share with `mcp-agent deployment rollback`. The run goes on then."
        )
    return None


def _builds(versions: Iterable[WorkerDeploymentVersion | None]) -> str:
    names = sorted({"no version" if version is None else f"`{version.build_id}`" for version in versions})
    return ", ".join(names)


def pinned_to(info: VersioningInfo) -> WorkerDeploymentVersion | None:
    """The version that a run stays on, by its workflow or because it was moved there; `None` if it goes where others go."""
    if info.HasField("versioning_override"):
        return version_in(info.versioning_override.pinned.version)
    return version_in(info.deployment_version) if info.behavior == VersioningBehavior.PINNED.value else None


def version_of(info: VersioningInfo) -> CodeVersion | None:
    """The version that a run has got to; `None` before its first task, and without versions."""
    pinned = pinned_to(info)
    version, said = pinned or version_in(info.deployment_version), VERSIONINGS.get(info.behavior)
    if version is None or (pinned is None and said is None):
        return None
    return CodeVersion(
        deployment=version.deployment_name,
        build_id=version.build_id,
        versioning="pinned" if pinned is not None else "auto_upgrade",
    )
