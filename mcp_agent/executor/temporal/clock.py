"""`time.time()` in workflow code: reads the run's time instead of failing (specification, "Monitoring and Observability").

Temporal's sandbox executes the module of a workflow anew for each run, and forbids clocks there. In that copy of the module
the name `time` is bound to the clock below; nothing outside of the sandbox is touched.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from temporalio import workflow
from temporalio.worker.workflow_sandbox._restrictions import RestrictedModule, RestrictionContext

_SECONDS = ("time", "monotonic", "perf_counter", "process_time", "thread_time")
_NANOSECONDS = tuple(f"{name}_ns" for name in _SECONDS)
_REPLACED: dict[str, Any] = {
    **dict.fromkeys(_SECONDS, workflow.time),
    **dict.fromkeys(_NANOSECONDS, workflow.time_ns),
}
_ORIGINALS = {id(getattr(time, name)): name for name in _REPLACED}


class WorkflowClock:
    """The module `time` as workflow code sees it: all clocks are the run's; everything else is as the sandbox has it."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return _REPLACED[name] if name in _REPLACED else getattr(self._module, name)


def give_workflow_time(cls: type) -> None:
    """Binds the clocks in the sandboxed copy of the module of `cls`; elsewhere does nothing."""
    if not workflow.unsafe.in_sandbox():
        return
    names = vars(sys.modules[cls.__module__])
    for name, value in list(names.items()):
        original = id(RestrictionContext.unwrap_if_proxied(value))
        if type(value) is RestrictedModule and value.__name__ == "time":
            names[name] = WorkflowClock(value)
        elif original in _ORIGINALS:  # `from time import time`
            names[name] = _REPLACED[_ORIGINALS[original]]
