"""What a caller may do: `workflows:<action>` for every workflow, `workflows:<action>:<Workflow>` for one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from mcp_agent.errors import InsufficientScope

Action = Literal["read", "run", "cancel"]
"""`read` is to see runs and their records, `run` to start them and to answer what they ask, `cancel` to stop them."""

ALL = ("workflows:read", "workflows:run", "workflows:cancel")


def missing(scopes: Collection[str] | None, action: Action, workflow: str | None) -> str | None:
    """The scope that is needed and not there.

    Args:
        scopes: The caller's; `None` where there is no auth.
        action: What is to be done.
        workflow: To whose runs; `None` for what is about every workflow.
    """
    needed = f"workflows:{action}"
    if scopes is None or needed in scopes or (workflow is not None and f"{needed}:{workflow}" in scopes):
        return None
    return needed if workflow is None else f"{needed}:{workflow}"


def require(scopes: Collection[str] | None, action: Action, workflow: str | None) -> None:
    """Raises InsufficientScope, which names the scope that is needed. Arguments as of `missing`."""
    lacking = missing(scopes, action, workflow)
    if lacking is not None:
        raise InsufficientScope(lacking)
