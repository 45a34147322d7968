"""The MCP server of an app: its tools and resources on the SDK's low-level server, for both protocol eras."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property
from typing import Any

from mcp.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
)

from mcp_agent import __version__
from mcp_agent.app import MCPApp
from mcp_agent.errors import CallError, DefinitionError, WorkflowApplicationError
from mcp_agent.executor.asyncio.executor import open_executor as open_local
from mcp_agent.executor.failures import error_text
from mcp_agent.executor.problems import did_you_mean
from mcp_agent.server.engine_host import EngineHost
from mcp_agent.server.entries import Request, ToolEntry, refusal, refused
from mcp_agent.server.function_tools import FunctionTools
from mcp_agent.server.local_runs import LocalFirst
from mcp_agent.server.resources import TEMPLATES, RunResources
from mcp_agent.server.runs import Runs
from mcp_agent.server.workflow_tools import WorkflowTools

logger = logging.getLogger(__name__)


class _LowLevel(Server[Any]):
    """Says on every transport what it announces (temporary: streamable HTTP has no parameter for it)."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        return super().create_initialization_options(
            notification_options or NotificationOptions(), experimental_capabilities, extensions
        )


class AgentServer:
    """Serves one app. Open it with `async with AgentServer.open(app) as server`, then give `server.mcp` to a transport.

    Args:
        app: The app.
        host: Its engine.
        workflows: The tools of its workflows.
        functions: The tools of its functions.
        resources: Its runs.
    """

    def __init__(
        self, app: MCPApp, host: EngineHost, workflows: WorkflowTools, functions: FunctionTools, resources: RunResources
    ) -> None:
        self._host = host
        self._workflows = workflows
        self._functions = functions
        self._resources = resources
        self.tool_names = _distinct([*workflows.names(), *functions.names()])
        self.mcp: Server[Any] = _LowLevel(
            app.name,
            version=__version__,
            instructions=instructions(app),
            get_tool_input_schema=self._input_schema,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_resources=self._list_resources,
            on_list_resource_templates=self._list_templates,
            on_read_resource=self._read_resource,
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, app: MCPApp) -> AsyncGenerator[AgentServer, None]:
        """A server whose engine starts in the background and ends with the block.

        Raises:
            DefinitionError: A name cannot be served.
            ConfigError: The configuration is wrong.
        """
        settings = app.settings.server
        async with AsyncExitStack() as stack:
            local = await stack.enter_async_context(open_local(app, app.tasks))
            direct = {tool.name for tool in app.function_tools.values() if not tool.durable}
            host = EngineHost(lambda: LocalFirst.wrap(app.open_executor(worker=settings.worker), local, direct))
            runs = Runs(host, settings)
            functions = {tool.name: tool.definition for tool in app.function_tools.values()}
            workflows = {name: d for name, d in app.workflows.items() if name not in functions}
            tools = WorkflowTools(app.name, workflows, functions, runs, settings.max_workflow_tools)
            called = FunctionTools(app.function_tools.values(), runs, local, app.direct_calls)
            server = cls(app, host, tools, called, RunResources(runs, tools))
            await stack.enter_async_context(host.running())
            yield server

    @cached_property
    def _entries(self) -> dict[str, ToolEntry]:
        """Made for the first client that lists or calls: schemas take time, which `initialize` need not wait for."""
        entries = {entry.tool.name: entry for entry in (*self._workflows.entries(), *self._functions.entries())}
        return {name: entries[name] for name in self.tool_names}

    @cached_property
    def _listed(self) -> ListToolsResult:
        return ListToolsResult(tools=[entry.tool for entry in self._entries.values()])

    def _input_schema(self, name: str) -> dict[str, Any] | None:
        entry = self._entries.get(name)
        return None if entry is None else entry.tool.input_schema

    async def _list_tools(self, _: Request, params: PaginatedRequestParams | None) -> ListToolsResult:
        self._start_engine_soon()
        return self._listed

    async def _call_tool(self, request: Request, params: CallToolRequestParams) -> CallToolResult:
        entry = self._entries.get(params.name)
        if entry is None:
            hint = did_you_mean(params.name, self._entries)
            raise MCPError(INVALID_PARAMS, f"There is no tool `{params.name[:200]}`. {hint}")
        try:
            return await entry.call(request, params.arguments or {})
        except CallError as error:
            return refused(error)
        except WorkflowApplicationError as error:
            return refusal(error.type, error.message)
        except MCPError:
            raise
        except Exception as error:
            logger.exception("tool `%s` failed", params.name)
            return refusal("internal_error", f"{type(error).__name__}: {error_text(error)}")

    async def _list_resources(self, _: Request, params: PaginatedRequestParams | None) -> ListResourcesResult:
        return ListResourcesResult(resources=[])

    async def _list_templates(self, _: Request, params: PaginatedRequestParams | None) -> ListResourceTemplatesResult:
        return ListResourceTemplatesResult(resource_templates=TEMPLATES)

    async def _read_resource(self, _: Request, params: ReadResourceRequestParams) -> ReadResourceResult:
        return await self._resources.read(params)

    def _start_engine_soon(self) -> None:
        """After this answer has been sent: a client that has listed the tools is about to call one."""
        asyncio.get_running_loop().call_later(0, self._host.want)


def _distinct(names: list[str]) -> list[str]:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DefinitionError(f"Two tools would be called `{doubled[0]}`: rename one of them.")
    return sorted(names)


def instructions(app: MCPApp) -> str:
    """What a model should know of the server, in under 600 characters."""
    about = (app.description or "").strip()
    rules = (
        "Each workflow is a set of tools: `-run` starts a durable run and waits a while; if it is still under way, call "
        "`-get_status` with its run_id and wait_seconds. Never start it again. A run that waits for a person names its "
        "question: ask the user, then answer with `-resume`. `-cancel` stops a run. `workflows-list` shows all."
    )
    return f"{about[: 590 - len(rules)]}\n{rules}".strip()
