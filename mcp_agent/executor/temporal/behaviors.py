"""Whether runs are pinned to their version of the code, by workflow, in Temporal's terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from temporalio.common import VersioningBehavior
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner

from mcp_agent.executor.versions import Versioning

BEHAVIORS: Mapping[Versioning | None, VersioningBehavior] = {
    None: VersioningBehavior.UNSPECIFIED,
    "pinned": VersioningBehavior.PINNED,
    "auto_upgrade": VersioningBehavior.AUTO_UPGRADE,
}
VERSIONINGS: Mapping[int, Versioning] = {behavior.value: name for name, behavior in BEHAVIORS.items() if name is not None}


class VersionedRunner(WorkflowRunner):
    """Runs workflows as another runner does; the configuration says how some of them are versioned.

    A class says it in its definition, which Temporal's sandbox makes anew for each run, where no configuration is.

    Args:
        runner: What runs them.
        workflows: By name.
    """

    def __init__(self, runner: WorkflowRunner, workflows: Mapping[str, Versioning]) -> None:
        self._runner = runner
        self._workflows = workflows

    def prepare_workflow(self, defn: Any) -> None:
        self._runner.prepare_workflow(defn)

    def set_worker_level_failure_exception_types(self, types: Sequence[type[BaseException]]) -> None:
        self._runner.set_worker_level_failure_exception_types(types)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        instance, said = self._runner.create_instance(det), self._workflows.get(det.info.workflow_type)
        return instance if said is None else _VersionedInstance(instance, BEHAVIORS[said])


class _VersionedInstance(WorkflowInstance):
    def __init__(self, instance: WorkflowInstance, behavior: VersioningBehavior) -> None:
        self._instance = instance
        self._behavior = behavior

    def activate(self, act: Any) -> Any:
        completion = self._instance.activate(act)
        if completion.HasField("successful"):
            completion.successful.versioning_behavior = self._behavior.value
        return completion

    def get_serialization_context(self, command_info: Any) -> Any:
        return self._instance.get_serialization_context(command_info)

    def get_external_store_context(self, command_info: Any) -> Any:
        return self._instance.get_external_store_context(command_info)

    def get_info(self) -> Any:
        return self._instance.get_info()

    def get_thread_id(self) -> int | None:
        return self._instance.get_thread_id()
