"""What a client may complete: the ids of runs and the names of workflows in the addresses of resources."""

from __future__ import annotations

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CompleteRequestParams, CompleteResult, Completion, ResourceTemplateReference

from mcp_agent.errors import CallError
from mcp_agent.server.callers import Caller
from mcp_agent.server.entries import protocol_error
from mcp_agent.server.resources import TEMPLATES
from mcp_agent.server.runs import Runs
from mcp_agent.server.workflow_tools import WorkflowTools

MOST = 100
"""What MCP allows in one answer."""
_KNOWN = {form for template in TEMPLATES for form in (template.uri_template, template.uri_template.partition("{?")[0])}


class Completions:
    """Args:
    runs: The engine.
    tools: What workflows there are.
    """

    def __init__(self, runs: Runs, tools: WorkflowTools) -> None:
        self._runs = runs
        self._tools = tools

    async def complete(self, caller: Caller, params: CompleteRequestParams) -> CompleteResult:
        """Raises MCPError for a template that there is not, and while the engine cannot be asked."""
        if not isinstance(params.ref, ResourceTemplateReference):
            return CompleteResult(completion=Completion(values=[]))
        if params.ref.uri not in _KNOWN:
            raise MCPError(INVALID_PARAMS, f"There is no template `{params.ref.uri[:200]}`. See `resources/templates/list`.")
        begins = params.argument.value
        match params.argument.name:
            case "run_id":
                return await self._run_ids(caller, begins)
            case "name":
                return completed([name for name in sorted(self._tools.workflows) if name.startswith(begins)])
            case _:
                return completed([])

    async def _run_ids(self, caller: Caller, begins: str) -> CompleteResult:
        try:
            page = await self._runs.newest(caller, self._tools.all_names, begins, MOST)
        except CallError as error:
            raise protocol_error(error, str(error)) from None
        return completed([state.run_id for state in page.runs], more=page.cursor is not None)


def completed(values: list[str], *, more: bool = False) -> CompleteResult:
    total = None if more else len(values)
    return CompleteResult(completion=Completion(values=values[:MOST], total=total, has_more=more or len(values) > MOST))
