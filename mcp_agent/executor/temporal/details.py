"""What Temporal's own page shows of a run: the questions that it has for people, as Markdown. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from pydantic_core import to_json

from mcp_agent.executor.runs import PendingInput
from mcp_agent.executor.temporal.names import ANSWER_UPDATE

MOST_SHOWN = 20
LONGEST = 2_000
"""Characters of a message that are shown."""


def details(pending: Sequence[PendingInput]) -> str:
    """The page's text; empty for a run that asks nothing."""
    more = [f"and {len(pending) - MOST_SHOWN} more"] if len(pending) > MOST_SHOWN else []
    return "\n\n---\n\n".join([_shown(request) for request in pending[:MOST_SHOWN]] + more)


def _shown(request: PendingInput) -> str:
    message = request.message if len(request.message) <= LONGEST else f"{request.message[:LONGEST]}…"
    parts = [
        f"**Waits for a person** since {_moment(request.created_at)}: {escaped(request.kind)} {escaped(request.request_id)}",
        "\n".join(f"> {escaped(line)}" for line in message.splitlines()),
    ]
    if request.url is not None:
        parts.append(f"To be opened: {escaped(request.url)}")
    if request.expires_at is not None:
        then = " with the default" if request.default is not None else ""
        parts.append(f"Goes on{then} at {_moment(request.expires_at)}.")
    example = to_json({"request_id": request.request_id, "payload": "..."}).decode()
    parts.append(f"To answer, send update {escaped(ANSWER_UPDATE)} with {escaped(example)}, or use the MCP server.")
    return "\n\n".join(parts)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def escaped(text: str) -> str:
    """The text as Markdown that shows just it: no links, pictures, HTML or headings."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|~:@/])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
