"""Names of tools and ids of runs, as MCP clients see them (`contract.md`, "Tools" and "Ids and ownership")."""

from __future__ import annotations

import hashlib
import re

from mcp_agent.errors import DefinitionError, InvalidArguments

HOST_LIMIT = 64  # what hosts allow, their own prefix `mcp__<server>__` included
KEY_LIMIT = 200
_HASH = 6
_TOOL = re.compile(r"[A-Za-z0-9_.-]+")


def check_name(name: str, what: str) -> None:
    """Raises DefinitionError for a name that MCP does not allow."""
    if not _TOOL.fullmatch(name) or len(name) > 128:
        raise DefinitionError(
            f"{what} `{name}` cannot be served: use 1 to 128 letters, digits, `_`, `-` and `.`, or give it a `name`."
        )


def workflow_tool(app_name: str, workflow: str, action: str) -> str:
    """`workflows-<workflow>-<action>`, with the workflow's part shortened to a stable hash if hosts would cut it."""
    room = limit_for(app_name) - len(f"workflows--{action}")
    return f"workflows-{shortened(workflow, room)}-{action}"


def limit_for(app_name: str) -> int:
    return max(HOST_LIMIT - len(f"mcp__{app_name}__"), 32)


def shortened(name: str, room: int) -> str:
    """The name, or as much of it as fits with a hash of the whole."""
    if len(name) <= room:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH]
    return f"{name[: room - _HASH - 1]}-{digest}"


def check_key(key: str) -> None:
    """Raises InvalidArguments for an idempotency key that cannot be a part of a run's id."""
    if not key or len(key) > KEY_LIMIT or not key.isprintable():
        raise InvalidArguments(
            f"`workflow_id`: use 1 to {KEY_LIMIT} printable characters, not {len(key)} of `{key[:40]!r}`. Nothing was changed."
        )
