"""`temporalio.runtime.Runtime` objects of user code (specification, "Monitoring and Observability")."""

from __future__ import annotations

import functools
from typing import Any, cast

import temporalio.runtime
from temporalio import workflow
from temporalio.common import MetricMeter
from temporalio.runtime import Runtime


def install() -> None:
    """Lets modules with workflows make a runtime. Done when the Temporal engine is imported.

    Temporal's sandbox executes such a module anew for each run. A second runtime would find the port of the first one taken,
    and no run would begin: so in the sandbox the object stands for nothing.
    """
    make = cast("Any", Runtime).__init__

    @functools.wraps(make)
    def make_outside_of_runs(self: Any, *args: Any, **options: Any) -> None:
        if workflow.unsafe.in_sandbox():
            self._metric_meter = MetricMeter.noop
        else:
            make(self, *args, **options)

    setattr(Runtime, "__init__", make_outside_of_runs)  # noqa: B010 - a method of another package's class


def measuring_default() -> Runtime | None:
    """What the program has given to `Runtime.set_default`, where that measures.

    One that does not is most likely Temporal's own, which it makes by itself for the first client, and which logs to stdout.
    """
    kept: Runtime | None = temporalio.runtime._runtime_ref._default_runtime  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    return kept if kept is not None and kept.metric_meter is not MetricMeter.noop else None
