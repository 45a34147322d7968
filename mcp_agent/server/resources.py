"""Runs as resources: `run://{run_id}` is a run with its whole result."""

from __future__ import annotations

import json
from urllib.parse import unquote

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    ReadResourceRequestParams,
    ReadResourceResult,
    ResourceTemplate,
    TextResourceContents,
)

from mcp_agent.errors import CallError, NotFound
from mcp_agent.server.run import show
from mcp_agent.server.runs import Runs
from mcp_agent.server.workflow_tools import WorkflowTools

SCHEME = "run://"
JSON = "application/json"

TEMPLATES = [
    ResourceTemplate(
        uri_template="run://{run_id}",
        name="run",
        title="A run",
        description="A run's status, and its whole result once it has one.",
        mime_type=JSON,
    )
]


class RunResources:
    """Args:
    runs: The engine.
    tools: For what to do next with a run.
    """

    def __init__(self, runs: Runs, tools: WorkflowTools) -> None:
        self._runs = runs
        self._tools = tools

    async def read(self, params: ReadResourceRequestParams) -> ReadResourceResult:
        """Raises MCPError for anything but a run that is there."""
        uri = str(params.uri)
        try:
            state = await self._runs.find(await self._runs.executor(), _run_id(uri), None)
        except CallError as error:
            data = {"uri": uri, "code": error.code, "retryable": error.retryable}
            raise MCPError(INVALID_PARAMS, str(error), data) from None
        run = show(state, None, self._tools.tools_of(state.workflow), whole=True)
        text = json.dumps(run.dump(), ensure_ascii=False, indent=1)
        return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=JSON, text=text)])


def _run_id(uri: str) -> str:
    if not uri.startswith(SCHEME) or len(uri) == len(SCHEME):
        raise NotFound(f"There is no resource `{uri[:200]}`: runs are `run://` and their id.")
    return unquote(uri.removeprefix(SCHEME))
