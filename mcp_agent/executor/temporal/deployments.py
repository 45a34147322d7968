"""The versions of an app's code, seen by who operates them: what serves, promotion, rollback, what may be ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.deployment.v1 import RoutingConfig, WorkerDeploymentInfo
from temporalio.api.enums.v1 import RoutingConfigUpdateState
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentRequest, SetWorkerDeploymentRampingVersionRequest
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode

from mcp_agent.errors import NotFound, NotWaiting
from mcp_agent.executor.problems import did_you_mean
from mcp_agent.executor.temporal.calls import reaching
from mcp_agent.executor.temporal.client import RPC_TIMEOUT
from mcp_agent.executor.temporal.history import time_of
from mcp_agent.executor.temporal.versioning import Asking, make_current, serving, version_in

VersionStatus = Literal["current", "ramping", "draining", "drained", "unused"]
_Share = tuple[VersionStatus, float | None]
LOOK = 0.2
# Runs are found by a search, which is behind by some seconds, as is the routing of what was started just before.
SETTLED = timedelta(seconds=5)
ROUTED_WITHIN = 30.0
FOLLOWED_WITHIN = 5.0  # by all parts of a queue of which one has it


@dataclass(frozen=True, slots=True)
class VersionState:
    """One version of the code.

    Attributes:
        status: `current` and `ramping` ones get new runs. `draining`: runs are pinned to it; `drained`: none is any more, and its
            workers may end. `unused`: it never got a run.
        percentage: Of new runs, and of those that are not pinned, for a ramping one.
        workers: Processes that ask for work now, on the app's task queue.
        pinned_runs: Under way.
        created_at: When its first worker asked for work.
        last_current_at: When it became the current one, the last time.
        changed_at: When what it gets has changed the last time.
    """

    build_id: str
    status: VersionStatus
    percentage: float | None
    workers: int
    pinned_runs: int
    created_at: datetime
    last_current_at: datetime | None
    changed_at: datetime | None

    @property
    def needed_by_none(self) -> bool:
        """Whether its workers may end."""
        return self.status in ("drained", "unused")


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """The versions of an app, the newest first."""

    name: str
    task_queue: str
    versions: Sequence[VersionState]

    @property
    def current(self) -> VersionState | None:
        return next((version for version in self.versions if version.status == "current"), None)

    @property
    def ramping(self) -> VersionState | None:
        return next((version for version in self.versions if version.status == "ramping"), None)

    def version(self, build_id: str) -> VersionState:
        """Raises NotFound, which names near ones."""
        known = {version.build_id: version for version in self.versions}
        if build_id not in known:
            raise NotFound(f"Deployment `{self.name}` has no version `{build_id}`. {did_you_mean(build_id, known)}")
        return known[build_id]


class Deployments:
    """Args:
    client: Temporal's.
    task_queue: The app's.
    name: What the versions have in common.
    """

    def __init__(self, client: Client, task_queue: str, name: str) -> None:
        self._client = client
        self._queue = task_queue
        self._name = name

    async def show(self) -> DeploymentState:
        """Raises NotFound before any worker with a version has asked for work, and EngineUnavailable."""
        info = await self._info()
        async with reaching("task queue"):
            asking = (await serving(self._client, self._queue, retry=True)).workers
        routed = _shares(info.routing_config)
        states = [await self._state(summary, asking, routed) for summary in info.version_summaries]
        return DeploymentState(self._name, self._queue, sorted(states, key=lambda state: state.created_at, reverse=True))

    async def _state(self, summary: Any, asking: Sequence[Asking], routed: Mapping[str, _Share]) -> VersionState:
        version = WorkerDeploymentVersion(self._name, summary.deployment_version.build_id)
        pinned = await self._pinned_runs(version)
        settled = datetime.now(UTC) - time_of(summary.routing_update_time) > SETTLED
        ended: VersionStatus = "drained" if not pinned and settled else "draining"
        status, percentage = routed.get(
            version.build_id, (ended if summary.HasField("first_activation_time") else "unused", None)
        )
        return VersionState(
            build_id=version.build_id,
            status=status,
            percentage=percentage,
            workers=len({worker.identity for worker in asking if worker.version == version}),
            pinned_runs=pinned,
            created_at=time_of(summary.create_time),
            last_current_at=_time(summary, "last_current_time"),
            changed_at=_time(summary, "routing_update_time"),
        )

    async def promote(self, build_id: str, percentage: float | None = None, *, idle: bool = False) -> DeploymentState:
        """Has all new runs, and those that are not pinned, go to a version, or a share of them.

        Args:
            build_id: The version.
            percentage: The share, in percent; all by default, which ends another version's share.
            idle: Also if no worker of it asks for work.

        Raises:
            NotFound: There is no such version.
            NotWaiting: No worker of it asks for work, or it is the current one already and cannot get a share.
        """
        before = await self.show()
        version = before.version(build_id)
        if version.workers == 0 and not idle:
            raise NotWaiting(
                f"No worker of version `{build_id}` asks for work on task queue `{self._queue}`: start some first, or add "
                "`--without-workers`. Nothing was changed."
            )
        async with reaching(f"version `{build_id}`"):
            if percentage is None:
                await make_current(self._client, WorkerDeploymentVersion(self._name, build_id))
                if before.ramping is not None and before.ramping.build_id != build_id:
                    await self._ramp("", 0)
            elif version.status == "current":
                raise NotWaiting(f"Version `{build_id}` is the current one: it gets what no other gets. Nothing was changed.")
            else:
                await self._ramp(build_id, percentage)
        return await self._routed()

    async def rollback(self, *, idle: bool = False) -> DeploymentState:
        """Ends the share of a ramping version; where there is none, makes the version current that was it before.

        Raises:
            NotWaiting: There is none, or it has no workers.
        """
        before = await self.show()
        if before.ramping is not None:
            async with reaching("deployment"):
                await self._ramp("", 0)
            return await self._routed()
        earlier = [(version.last_current_at, version.build_id) for version in before.versions if version != before.current]
        known = [(when, build_id) for when, build_id in earlier if when is not None]
        if not known:
            raise NotWaiting(f"Deployment `{self._name}` had no other current version before. Nothing was changed.")
        return await self.promote(max(known)[1], idle=idle)

    async def drained(self, build_id: str, wait: timedelta) -> VersionState:
        """The version as soon as no run needs its workers any more, else at the end of the wait. Raises NotFound."""
        end = time.monotonic() + wait.total_seconds()
        while True:
            version = (await self.show()).version(build_id)
            if version.needed_by_none or time.monotonic() >= end:
                return version
            await asyncio.sleep(min(1, max(end - time.monotonic(), 0)))

    async def _info(self) -> WorkerDeploymentInfo:
        request = DescribeWorkerDeploymentRequest(namespace=self._client.namespace, deployment_name=self._name)
        try:
            answer = await self._client.workflow_service.describe_worker_deployment(request, retry=True, timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise NotFound(
                    f"There is no deployment `{self._name}`: no worker with `temporal.worker_versioning` has asked for work."
                ) from None
            async with reaching(f"deployment `{self._name}`"):
                raise
        return answer.worker_deployment_info

    async def _pinned_runs(self, version: WorkerDeploymentVersion) -> int:
        name = f"{version.deployment_name}:{version.build_id}"
        query = (
            f"TemporalWorkerDeploymentVersion = '{name}' AND TemporalWorkflowVersioningBehavior = 'Pinned' "
            "AND ExecutionStatus = 'Running'"
        )
        async with reaching("listing"):
            return (await self._client.count_workflows(query, rpc_timeout=RPC_TIMEOUT)).count

    async def _ramp(self, build_id: str, percentage: float) -> None:
        request = SetWorkerDeploymentRampingVersionRequest(
            namespace=self._client.namespace,
            deployment_name=self._name,
            build_id=build_id,
            percentage=percentage,
            identity=self._client.identity,
            ignore_missing_task_queues=True,
        )
        await self._client.workflow_service.set_worker_deployment_ramping_version(request, retry=True, timeout=RPC_TIMEOUT)

    async def _routed(self) -> DeploymentState:
        """The state as soon as all of Temporal goes by it: before, a run that starts may still get what was before.

        Temporal may lose its own word of that, and say for ever that it is under way (temporalio/temporal#11842). Then it is
        enough that the task queue goes by it, and some seconds more.
        """
        end = time.monotonic() + ROUTED_WITHIN
        under_way = RoutingConfigUpdateState.ROUTING_CONFIG_UPDATE_STATE_IN_PROGRESS
        while time.monotonic() < end:
            info = await self._info()
            if info.routing_config_update_state != under_way:
                break
            if await self._queue_goes_by(info.routing_config):
                end = min(end, time.monotonic() + FOLLOWED_WITHIN)
            await asyncio.sleep(LOOK)
        return await self.show()

    async def _queue_goes_by(self, config: RoutingConfig) -> bool:
        async with reaching("task queue"):
            now = await serving(self._client, self._queue, retry=True)
        asked = (version_in(config.current_deployment_version), version_in(config.ramping_deployment_version))
        return (now.current, now.ramping) == asked


def _shares(config: RoutingConfig) -> dict[str, _Share]:
    """What gets new runs, by build id."""
    found: dict[str, _Share] = {}
    ramping, current = version_in(config.ramping_deployment_version), version_in(config.current_deployment_version)
    if ramping is not None:
        found[ramping.build_id] = ("ramping", round(config.ramping_version_percentage, 2))
    if current is not None:
        found[current.build_id] = ("current", None)
    return found


def _time(message: Any, field: str) -> datetime | None:
    stamp: Timestamp = getattr(message, field)
    return time_of(stamp) if message.HasField(field) else None
