"""A downstream server's question to a person, and the person's answer as the server wants it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mcp_agent.executor.elicitation import check_url, response_of
from mcp_agent.executor.forms import fitting, form_of, is_wrapped
from mcp_agent.executor.workflow_signal import Question

_ANY_OBJECT: dict[str, Any] = {"properties": {}}


def question_of(server: str, tool: str, params: Mapping[str, Any]) -> Question:
    """What the run's person is asked.

    Args:
        server: Who asks.
        tool: For which of its tools.
        params: Of `elicitation/create`.

    Raises:
        InvalidArguments: The server wants an address opened that no person should be sent to.
    """
    url = params["url"] if params.get("mode") == "url" else None
    if url is not None:
        check_url(url)
    return Question(
        "elicitation",
        f"{server}.{tool}",
        f"MCP server `{server}` asks, for its tool `{tool}`: {params.get('message', '')}",
        schema=None if url is not None else _schema(params),
        check=lambda payload: answer_for(payload, params),
        url=url,
    )


def declined(action: Literal["decline", "cancel"]) -> dict[str, Any]:
    """The answer of nobody."""
    return {"action": action}


def answer_for(payload: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """A person's answer as MCP has it.

    Raises:
        ValueError: The content does not fit what was asked.
    """
    url = params.get("mode") == "url"
    schema = _schema(params)
    action, content = response_of(payload, schema, url=url)
    if url or action != "accept":
        return {"action": action}
    form = None if is_wrapped(schema) else form_of(schema)
    return {"action": action, "content": fitting(content, form or _ANY_OBJECT)}


def _schema(params: Mapping[str, Any]) -> dict[str, Any]:
    return params.get("requestedSchema") or {"type": "object", "properties": {}}
