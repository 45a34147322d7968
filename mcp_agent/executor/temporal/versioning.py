"""Which build of an app's code runs its workflows, where several serve one queue (`design.md`, "The embedded engine").

The build that was started last is the current one: all runs go on with its code. Workers of other builds wait, and take
over when no worker of the current one is left.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.plugin import SimplePlugin
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import WorkerConfig, WorkerDeploymentConfig

from mcp_agent import __version__
from mcp_agent.executor.registry import Registry
from mcp_agent.executor.temporal.client import RPC_TIMEOUT

logger = logging.getLogger(__name__)

# A living worker asks for work at least once a minute.
POLLER_ALIVE = timedelta(seconds=75)
LOOK = 0.1  # for the server to see a worker ask, there is no event to wait for
CHECK = 5.0
TAKE_OVER_WITHIN = POLLER_ALIVE.total_seconds() + CHECK
HAND_OVER_WITHIN = 3.0


@dataclass(frozen=True, slots=True)
class Asking:
    """A worker process that has asked for work lately. `build` is `None` for one without."""

    identity: str
    build: str | None


@dataclass(frozen=True, slots=True)
class Serving:
    """Who serves a task queue's workflows.

    Attributes:
        current: The build that gets tasks; `None` where workers have no builds.
        workers: The last that asked for work first.
    """

    current: str | None
    workers: tuple[Asking, ...]

    @property
    def served(self) -> bool:
        return any(worker.build == self.current for worker in self.workers)


async def serving(client: Client, task_queue: str) -> Serving:
    """Asks Temporal who serves a queue. Raises RPCError."""
    answer = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        ),
        timeout=RPC_TIMEOUT,
    )
    oldest = datetime.now(UTC) - POLLER_ALIVE
    asked = sorted(answer.pollers, key=lambda poller: _time(poller.last_access_time), reverse=True)
    alive = [poller for poller in asked if _time(poller.last_access_time) > oldest]
    current = answer.versioning_info.current_deployment_version.build_id
    return Serving(current or None, tuple(Asking(p.identity, p.deployment_options.build_id or None) for p in alive))


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)


def build_id(registry: Registry) -> str:
    """Tells the app's code of today from that of yesterday: of the packages of its workflows and tasks, and of this package."""
    code = hashlib.sha256(__version__.encode())
    functions: list[Callable[..., object]] = [task.function for task in registry.tasks.values()]
    modules = {definition.cls.__module__ for definition in registry.workflows.values()}
    modules |= {function.__module__ for function in functions}
    for source in sorted(set(_sources(modules))):
        code.update(source.name.encode())
        with suppress(OSError):  # a file that went away while it was looked at
            code.update(source.read_bytes())
    return code.hexdigest()[:16]


def _sources(modules: Iterable[str]) -> Iterator[Path]:
    for name in modules:
        top = sys.modules.get(name.partition(".")[0])
        folders = getattr(top, "__path__", None)
        if folders is not None:
            for folder in folders:
                yield from Path(folder).rglob("*.py")
        elif (file := getattr(top, "__file__", None)) is not None:
            yield from _beside(Path(file))


def _beside(script: Path) -> Iterator[Path]:
    """A module that is in no package, and those that were imported from its folder."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and Path(file).parent == script.parent:
            yield Path(file)


class Deployment:
    """The builds that serve one task queue.

    Args:
        client: Where.
        task_queue: Which.
        build_id: The build of this process.
    """

    def __init__(self, client: Client, task_queue: str, build_id: str) -> None:
        self._client = client
        self._task_queue = task_queue
        # Temporal separates the parts of a version by dots.
        self.version = WorkerDeploymentVersion(re.sub(r"[^\w-]", "-", task_queue), build_id)

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None, None]:
        """Makes this build the current one for as long as its worker runs, and hands over at the end."""
        keeping = asyncio.create_task(self._keep_current(), name="current-build")
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await self._hand_over()

    async def _keep_current(self) -> None:
        begun = False
        while True:
            try:
                now = await serving(self._client, self._task_queue)
                if now.current != self.version.build_id and not (begun and now.served):
                    await self._make_current(self.version.build_id)
                begun = True
            except RPCError as error:  # a Temporal that is away for a while is asked again
                logger.warning("build %s could not be made the current one: %s", self.version.build_id, error)
            await asyncio.sleep(CHECK if begun else LOOK)

    async def _make_current(self, build_id: str) -> None:
        request = SetWorkerDeploymentCurrentVersionRequest(
            namespace=self._client.namespace,
            deployment_name=self.version.deployment_name,
            build_id=build_id,
            identity=self._client.identity,
            ignore_missing_task_queues=True,
        )
        while True:
            try:
                await self._client.workflow_service.set_worker_deployment_current_version(request, timeout=RPC_TIMEOUT)
                return
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:  # not before a worker of the build has asked for work
                    raise
            await asyncio.sleep(LOOK)

    async def _hand_over(self) -> None:
        """Lets a worker of another build go on, where this was the current one and nobody else serves it."""
        try:
            async with asyncio.timeout(HAND_OVER_WITHIN):
                now = await serving(self._client, self._task_queue)
                others = [worker.build for worker in now.workers if worker.identity != self._client.identity]
                if now.current == self.version.build_id and now.current not in others and others and others[0]:
                    await self._make_current(others[0])
        except (RPCError, TimeoutError) as error:
            logger.info("build %s could not hand over: %s", self.version.build_id, error)


class BuildPlugin(SimplePlugin):
    """Gives a worker its build: `Worker(..., plugins=[BuildPlugin(deployment)])`."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__("mcp-agent-build", run_context=deployment.serving)
        self._version = deployment.version

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        config = super().configure_worker(config)
        config["deployment_config"] = WorkerDeploymentConfig(
            version=self._version, use_worker_versioning=True, default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE
        )
        return config
