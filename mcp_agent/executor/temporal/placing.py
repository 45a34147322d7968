"""Where an app's steps run (`temporal.queues`), and which of its runs are done first (`temporal.priorities`).

As with retry policies, configuration says where and when a step runs and never whether: an edited file breaks no replay. What was
scheduled before stays as it was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from mcp_agent.config_queues import MODELS, STEPS, TOOLS, WORKFLOWS, QueueSettings, unknown_queue
from mcp_agent.errors import ConfigError
from mcp_agent.executor.problems import did_you_mean
from mcp_agent.executor.registry import Registry
from mcp_agent.executor.steps import StepOptions
from mcp_agent.executor.temporal.names import OWN_STEPS
from mcp_agent.executor.workflow_task import TaskDefinition
from mcp_agent.workflows.llm.messages import LLM_GENERATE

KINDS = (MODELS, TOOLS, STEPS)


class StepQueues:
    """The queues of an app beside that of its workflows.

    Args:
        configured: By name: one for each of the `KINDS` of steps that is not to run where the workflows do, and any others for
            the steps that name them.
    """

    def __init__(self, configured: Mapping[str, QueueSettings] | None = None) -> None:
        self._configured = configured or {}

    def task_queue(self, name: str, own: str) -> str:
        """What Temporal calls a queue, where that of the workflows is `own`."""
        return own if name == WORKFLOWS else self._configured[name].task_queue or f"{own}-{name}"

    def of_step(self, step: str, options: StepOptions, own: str) -> str | None:
        """The task queue of a step of a workflow on `own`; `None` for the same."""
        if options.task_queue is not None:
            return options.task_queue
        named = (options.queue or "", _kind(step))
        return next((self.task_queue(name, own) for name in named if name in self._configured), None)

    def served(self, own: str, only: Collection[str] | None = None) -> dict[str, str]:
        """The task queues that a worker serves, by the names in the configuration; `only` some of them.

        Raises:
            ConfigError: There is no such queue, or two are the same to Temporal.
        """
        problem = unknown_queue(only or (), self._configured)
        if problem is not None:
            raise ConfigError(problem)
        known = (WORKFLOWS, *self._configured)
        named = {name: self.task_queue(name, own) for name in known}
        by_queue: dict[str, str] = {}
        for name, task_queue in named.items():
            if by_queue.setdefault(task_queue, name) != name:
                raise ConfigError(
                    f"Queues `{by_queue[task_queue]}` and `{name}` both have the task queue `{task_queue}`: leave out `{name}`, "
                    "or give it another."
                )
        return named if only is None else {name: named[name] for name in known if name in only}

    def check_used(self, tasks: Iterable[TaskDefinition]) -> None:
        """Raises ConfigError for a queue that no step would ever go to: a misspelt name must not pass for a queue."""
        options = [task.options for task in tasks]
        used = [*KINDS, *sorted({each.queue for each in options if each.queue is not None})]
        for name, queue in self._configured.items():
            pinned = queue.task_queue is not None and any(each.task_queue == queue.task_queue for each in options)
            if name not in used and not pinned:
                raise ConfigError(
                    f"`temporal.queues` has `{name}`, but no step is made with `queue={name!r}`. {did_you_mean(name, used)}"
                )


def _kind(step: str) -> str:
    if step == LLM_GENERATE:
        return MODELS
    return TOOLS if step.startswith(OWN_STEPS) else STEPS


class Priorities:
    """Of the runs of workflows, by name."""

    def __init__(self, by_name: Mapping[str, int] | None = None) -> None:
        self._by_name = by_name or {}

    def of(self, workflow: str) -> int | None:
        """1 (first) to 5 (last); `None` where nothing says."""
        return self._by_name.get(workflow)


@dataclass(frozen=True, slots=True)
class Placing:
    """Both, as an app has them."""

    queues: StepQueues = field(default_factory=StepQueues)
    priorities: Priorities = field(default_factory=Priorities)

    @classmethod
    def of(cls, registry: Registry) -> Placing:
        """Raises ConfigError for a priority of a workflow that there is not; a mere client has none and knows no names."""
        configured, workflows = registry.settings.temporal.priorities, registry.workflows
        for name in configured if workflows else ():
            if name not in workflows:
                raise ConfigError(
                    f"`temporal.priorities` has `{name}`, but there is no such workflow. {did_you_mean(name, workflows)}"
                )
        own = {name: definition.priority for name, definition in workflows.items() if definition.priority is not None}
        return cls(StepQueues(registry.settings.temporal.queues), Priorities({**own, **configured}))
