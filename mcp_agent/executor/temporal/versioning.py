"""Which version of an app's code runs its workflows, where several serve one queue (`design.md`, "The embedded engine").

New runs, and those that are not pinned, go to the current version. Where versions promote themselves that is the one that
was started last; workers of others wait, and take over when no worker of the current one is left.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.plugin import SimplePlugin
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import WorkerConfig, WorkerDeploymentConfig

from mcp_agent.config_versioning import VersioningSettings
from mcp_agent.errors import ConfigError
from mcp_agent.executor.problems import did_you_mean
from mcp_agent.executor.registry import Registry
from mcp_agent.executor.temporal.behaviors import BEHAVIORS, VersionedRunner
from mcp_agent.executor.temporal.build_id import build_id
from mcp_agent.executor.temporal.client import RPC_TIMEOUT
from mcp_agent.executor.temporal.history import time_of
from mcp_agent.executor.versions import Versioning

logger = logging.getLogger(__name__)

# A living worker asks for work at least once a minute.
POLLER_ALIVE = timedelta(seconds=75)
Work = Literal["workflows", "steps"]
_TYPES: dict[Work, TaskQueueType.ValueType] = {
    "workflows": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    "steps": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
}
LOOK = 0.1  # for the server to see a worker ask, there is no event to wait for
CHECK = 5.0
TAKE_OVER_WITHIN = POLLER_ALIVE.total_seconds() + 2 * CHECK
HAND_OVER_WITHIN = 3.0


@dataclass(frozen=True, slots=True)
class Asking:
    """A worker process that has asked for work lately. `version` is `None` for one without."""

    identity: str
    version: WorkerDeploymentVersion | None


@dataclass(frozen=True, slots=True)
class Serving:
    """Who serves a task queue's workflows, or steps.

    Attributes:
        current: The version that gets tasks; `None` where workers have no versions.
        ramping: The version that gets a share of them.
        workers: The last that asked for work first.
    """

    current: WorkerDeploymentVersion | None
    ramping: WorkerDeploymentVersion | None
    workers: tuple[Asking, ...]

    def served_by(self, version: WorkerDeploymentVersion | None) -> bool:
        """Whether a worker of that version asks for work."""
        return any(worker.version == version for worker in self.workers)


async def serving(client: Client, task_queue: str, work: Work = "workflows", *, retry: bool = False) -> Serving:
    """Asks Temporal who serves a queue, again and again with `retry` if it does not answer. Raises RPCError."""
    answer = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=_TYPES[work],
        ),
        retry=retry,
        timeout=RPC_TIMEOUT,
    )
    oldest = datetime.now(UTC) - POLLER_ALIVE
    asked = sorted(answer.pollers, key=lambda poller: time_of(poller.last_access_time), reverse=True)
    alive = [poller for poller in asked if time_of(poller.last_access_time) > oldest]
    return Serving(
        version_in(answer.versioning_info.current_deployment_version),
        version_in(answer.versioning_info.ramping_deployment_version),
        tuple(Asking(poller.identity, version_in(poller.deployment_options)) for poller in alive),
    )


def version_in(message: Any) -> WorkerDeploymentVersion | None:
    """The version that a message of Temporal's names; `None` for a message that is not filled in."""
    return WorkerDeploymentVersion(message.deployment_name, message.build_id) if message.build_id else None


def deployment_name(registry: Registry, task_queue: str) -> str:
    """What all versions of the app have in common."""
    asked = registry.settings.temporal.versioning
    given = None if asked is None else asked.deployment_name
    return given or _as_name(task_queue)


def _as_name(task_queue: str) -> str:
    return re.sub(r"[^\w-]", "-", task_queue).lstrip("_") or "app"  # Temporal takes no dots, and has `__` for itself


def own_build(registry: Registry) -> str:
    """The build id of the app's code that this process has."""
    asked = registry.settings.temporal.versioning
    given = None if asked is None else asked.build_id
    return given or build_id(registry)


def app_version(registry: Registry, task_queue: str) -> WorkerDeploymentVersion:
    """The version of the app's code that this process has."""
    return WorkerDeploymentVersion(deployment_name(registry, task_queue), own_build(registry))


async def make_current(client: Client, version: WorkerDeploymentVersion) -> None:
    """Has all new runs, and those that are not pinned, go to a version. Raises RPCError, NOT_FOUND before a worker has asked."""
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace,
        deployment_name=version.deployment_name,
        build_id=version.build_id,
        identity=client.identity,
        ignore_missing_task_queues=True,
    )
    await client.workflow_service.set_worker_deployment_current_version(request, retry=True, timeout=RPC_TIMEOUT)


class Deployment:
    """The versions that serve one task queue, seen from a worker of one of them.

    Args:
        client: Where.
        task_queue: Which.
        version: That of this process.
        settings: Whether it makes itself the current one, and whether runs are pinned.
        work: What the queue is for.
    """

    def __init__(
        self,
        client: Client,
        task_queue: str,
        version: WorkerDeploymentVersion,
        settings: VersioningSettings,
        work: Work = "workflows",
    ) -> None:
        self._work: Work = work
        self._client = client
        self._task_queue = task_queue
        self._settings = settings
        self.version = version

    def of_steps(self, task_queue: str) -> Deployment:
        """That of another queue of the app, which has steps only.

        Where versions promote themselves it has a name of its own, so that the newest which serves this queue does so: a version
        that is made current takes all queues of its deployment away from the others, whether it serves them or not.
        """
        name = _as_name(task_queue) if self._settings.promote else self.version.deployment_name
        version = WorkerDeploymentVersion(name, self.version.build_id)
        return Deployment(self._client, task_queue, version, self._settings, "steps")

    @property
    def workflows(self) -> Mapping[str, Versioning]:
        """How runs of some workflows take part, where the configuration says it."""
        return self._settings.workflows

    @property
    def config(self) -> WorkerDeploymentConfig:
        """What temporalio is told."""
        default = BEHAVIORS[self._settings.default_behavior]
        return WorkerDeploymentConfig(version=self.version, use_worker_versioning=True, default_versioning_behavior=default)

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None, None]:
        """While the worker runs, makes this version the current one, and hands over at the end; or says that it is not."""
        promotes = self._settings.promote
        keeping = asyncio.create_task(self._keep_current() if promotes else self._tell(), name="current-version")
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            if promotes:
                await self._hand_over()

    async def _keep_current(self) -> None:
        begun = False
        gone: WorkerDeploymentVersion | None = None
        while True:
            try:
                now = await serving(self._client, self._task_queue, self._work)
                if now.current == self.version or (begun and now.served_by(now.current)):
                    gone = None
                elif begun and now.current != gone:
                    gone = now.current  # or it was promoted just now, and its worker is not seen yet: the next look tells
                else:
                    await self._make_current(self.version)
                begun = True
            except RPCError as error:  # a Temporal that is away for a while is asked again
                logger.warning("version %s could not be made the current one: %s", self.version.build_id, error)
            await asyncio.sleep(CHECK if begun else LOOK)

    async def _make_current(self, version: WorkerDeploymentVersion) -> None:
        while True:
            try:
                await make_current(self._client, version)
                return
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:  # not before a worker of it has asked for work
                    raise
            await asyncio.sleep(LOOK)

    async def _tell(self) -> None:
        """Says once whether there is anything for this version to do."""
        while self._work == "workflows":  # which is promoted with all its queues
            try:
                now = await serving(self._client, self._task_queue, self._work)
            except RPCError as error:
                logger.info("which version is current could not be seen: %s", error)
                await asyncio.sleep(CHECK)
                continue
            if now.current is None:
                logger.warning(
                    "no version is current, so no run goes on: `mcp-agent deployment promote %s`", self.version.build_id
                )
            elif now.current != self.version:
                logger.info(
                    "version %s serves what is pinned to it; version %s is current", self.version.build_id, now.current.build_id
                )
            return

    async def _hand_over(self) -> None:
        """Lets a worker of another version go on, where this was the current one and nobody else serves it."""
        try:
            async with asyncio.timeout(HAND_OVER_WITHIN):
                now = await serving(self._client, self._task_queue, self._work)
                others = [worker.version for worker in now.workers if not self._is_own(worker)]
                if now.current == self.version and now.current not in others and others and others[0]:
                    await self._make_current(others[0])
        except (RPCError, TimeoutError) as error:
            logger.info("version %s could not hand over: %s", self.version.build_id, error)

    def _is_own(self, worker: Asking) -> bool:
        """Also of one that took the place of a dead one."""
        return worker.identity.partition("#")[0] == self._client.identity


def deployment_of(client: Client, registry: Registry, task_queue: str) -> Deployment | None:
    """The versions of the app's queue; `None` where workers do not tell them apart. Raises ConfigError."""
    asked = registry.settings.temporal.versioning
    if asked is None:
        return None
    unknown = next((name for name in asked.workflows if name not in registry.workflows), None)
    if unknown is not None:
        near = did_you_mean(unknown, registry.workflows)
        raise ConfigError(f"`temporal.worker_versioning.workflows.{unknown}`: the app has no such workflow. {near}")
    return Deployment(client, task_queue, app_version(registry, task_queue), asked)


class VersionPlugin(SimplePlugin):
    """Gives a worker its version: `Worker(..., plugins=[AgentPlugin(app), VersionPlugin(deployment)])`."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__("mcp-agent-version", run_context=deployment.serving)
        self._deployment = deployment

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        config = super().configure_worker(config)
        config["deployment_config"] = self._deployment.config
        runner = config.get("workflow_runner")
        if runner is not None and self._deployment.workflows:
            config["workflow_runner"] = VersionedRunner(runner, self._deployment.workflows)
        return config
