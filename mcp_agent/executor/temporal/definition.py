"""Makes Temporal workflow definitions of our classes, on demand.

A class is decorated before anybody knows whether Temporal will run it, and again for each run in Temporal's sandbox. So
the definition is built when Temporal asks the class for it, by an attribute on `Workflow` itself.
"""

from __future__ import annotations

from typing import Any, cast

import temporalio.workflow

from mcp_agent.executor.handlers import MARK, Handler
from mcp_agent.executor.workflow import NAME_MARK, RUN_MARK, Workflow

_ATTRIBUTE = "__temporal_workflow_definition"
_DECORATORS = {"signal": temporalio.workflow.signal, "query": temporalio.workflow.query}


class _OnDemand:
    """Answers `cls.__temporal_workflow_definition` for a registered class that has none yet."""

    def __get__(self, instance: object, owner: type) -> Any:
        name = vars(owner).get(NAME_MARK)
        if name is None or "__mcp_agent_defining__" in vars(owner):
            raise AttributeError(_ATTRIBUTE)
        owner.__mcp_agent_defining__ = True
        try:
            define(owner, name)
        finally:
            delattr(owner, "__mcp_agent_defining__")
        return vars(owner)[_ATTRIBUTE]


def install() -> None:
    """Lets Temporal find the definitions of our classes. Done when the Temporal engine is imported."""
    setattr(Workflow, _ATTRIBUTE, _OnDemand())


def define(cls: type, name: str) -> None:
    """Gives `cls` a Temporal definition. Raises ValueError where Temporal refuses the class."""
    for base in cls.__mro__:
        for member in list(vars(base).values()):
            if getattr(member, RUN_MARK, False):
                temporalio.workflow.run(member)
            handler = getattr(member, MARK, None)
            if isinstance(handler, Handler):
                _decorate(handler, base)
    temporalio.workflow.defn(name=name)(cls)


def _decorate(handler: Handler, base: type) -> None:
    options: dict[str, Any] = {"dynamic": True} if handler.name is None else {"name": handler.name}
    if handler.kind != "update":
        _DECORATORS[handler.kind](**options)(handler.function)
        return
    update = cast("Any", temporalio.workflow).update(**options)(handler.function)
    if handler.validator is not None:
        update.validator(handler.validator)
