"""The MCP server of an app: its tools and resources on the SDK's low-level server, for both protocol eras."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

from mcp.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary

from mcp_agent import __version__
from mcp_agent.app import MCPApp
from mcp_agent.executor.asyncio.executor import InProcessExecutor
from mcp_agent.executor.asyncio.executor import open_executor as open_local
from mcp_agent.observability.health import Health
from mcp_agent.observability.logging import secrets_of
from mcp_agent.observability.metrics import BUILD_INFO
from mcp_agent.server.admission import Admission
from mcp_agent.server.app_resources import AppResources
from mcp_agent.server.callers import current_caller
from mcp_agent.server.completions import Completions
from mcp_agent.server.direct_calls import DirectCalls
from mcp_agent.server.documents import Documents
from mcp_agent.server.engine_host import EngineHost
from mcp_agent.server.function_tools import FunctionTools
from mcp_agent.server.limits import Limits
from mcp_agent.server.listening import Listening
from mcp_agent.server.local_runs import LocalFirst
from mcp_agent.server.measured_requests import MeasuredRequests
from mcp_agent.server.page.run_page import EXTENSION as PAGES_EXTENSION
from mcp_agent.server.page.source import PageSource
from mcp_agent.server.prompts import Prompts, served_prompts
from mcp_agent.server.record_pages import masking
from mcp_agent.server.resources import RunResources
from mcp_agent.server.run_logs import RunLogs
from mcp_agent.server.runs import Runs
from mcp_agent.server.sealing import state_security
from mcp_agent.server.stopping import on_its_way
from mcp_agent.server.task_types import EXTENSION as TASKS_EXTENSION
from mcp_agent.server.tasks import Tasks
from mcp_agent.server.toolbox import Toolbox
from mcp_agent.server.workflow_tools import WorkflowTools

logger = logging.getLogger(__name__)


class _LowLevel(Server[Any]):
    """Says on every transport what it announces to clients of the time before 2026-07-28, which have no tasks."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        known = {name: about for name, about in (extensions or self.extensions).items() if name != TASKS_EXTENSION}
        return super().create_initialization_options(
            notification_options or NotificationOptions(), experimental_capabilities, known
        )


class Part(Protocol):
    """A part of what is served: it answers methods of its own."""

    def serve(self, server: Server[Any], /) -> None: ...


class AgentServer:
    """Serves one app. Open it with `async with AgentServer.open(app) as server`, then give `server.mcp` to a transport.

    Args:
        app: The app.
        runs: What is done with its runs.
        tools: What clients can call.
        parts: Everything else that answers clients.
    """

    def __init__(self, app: MCPApp, runs: Runs, tools: Toolbox, parts: Sequence[Part]) -> None:
        self.settings = app.settings.server
        self.metrics = app.telemetry.metrics
        self.runs = runs
        self.tools = tools
        self.drained = asyncio.Event()
        self.mcp: Server[Any] = _LowLevel(
            app.name,
            version=__version__,
            title=app.title,
            description=app.description,
            icons=list(app.icons) or None,
            website_url=app.website_url,
            instructions=instructions(app),
            get_tool_input_schema=tools.input_schema,
        )
        for part in (tools, *parts):
            part.serve(self.mcp)
        self.mcp.middleware.append(Admission(self.settings.auth is not None, tools.limits))
        self.mcp.middleware.append(RequestStateBoundary(state_security(app.settings), default_audience=app.name))
        if self.metrics.on:
            self.mcp.middleware.insert(0, MeasuredRequests(self.metrics, tools.has))
            self.metrics.read(BUILD_INFO, lambda: 1, version=__version__, engine=app.settings.execution_engine)
        self.mcp.extensions[PAGES_EXTENSION] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, app: MCPApp, when_up: Callable[[], None] = lambda: None) -> AsyncGenerator[AgentServer, None]:
        """A server whose engine starts in the background and ends with the block.

        Args:
            app: What is served.
            when_up: Called once the engine can be used.

        Raises:
            DefinitionError: A name cannot be served.
            ConfigError: The configuration is wrong.
        """
        async with AsyncExitStack() as stack:
            local = await stack.enter_async_context(open_local(app, app.tasks))
            direct = {tool.name for tool in app.function_tools.values() if not tool.durable}
            worker = app.settings.server.worker
            host = EngineHost(lambda: LocalFirst.wrap(app.open_executor(worker=worker), local, direct), when_up)
            logs = stack.enter_context(RunLogs(masking(secrets_of(app.settings))).installed())
            runs = Runs(host, app.settings.server, logs)
            server = cls(app, runs, *_parts(app, host, runs, local, logs, stack))
            await stack.enter_async_context(host.running())
            stack.push_async_callback(runs.aclose)
            yield server

    async def health(self) -> Health:
        """Ready is who takes new calls, with an engine that answers."""
        if self.runs.draining:
            return Health(ready=False, problem="the server is stopping")
        return await self.runs.health()

    async def drain(self, last_calls: float = 0) -> None:
        """Begins nothing new, answers those who wait with what there is, and gives the other calls some time to end.

        Args:
            last_calls: Seconds in which clients that were answered just now can still ask for something.
        """
        waited = self.tools.calls.count > 0
        self.runs.drain()
        if not await self.tools.calls.over(self.settings.grace_seconds):
            logger.warning("calls are still under way after %g s: they are given up", self.settings.grace_seconds)
            await self.tools.calls.give_up()
        if waited:
            await asyncio.sleep(last_calls)
        await on_its_way()
        self.drained.set()


def _parts(
    app: MCPApp, host: EngineHost, runs: Runs, local: InProcessExecutor, logs: RunLogs, stack: AsyncExitStack
) -> tuple[Toolbox, list[Part]]:
    """What an app is served by; `stack` closes what has to be."""
    settings, masked = app.settings, masking(secrets_of(app.settings))
    lent = app.caller_tokens if settings.mcp.with_caller_token else None
    functions = {tool.name: tool.definition for tool in app.function_tools.values()}
    workflows = {name: d for name, d in app.workflows.items() if name not in functions}
    tools = WorkflowTools(app.name, workflows, functions, runs, settings.server.max_workflow_tools)
    direct_calls = DirectCalls(app.direct_calls, masked)
    called = FunctionTools(app.name, app.function_tools.values(), runs, local, direct_calls)
    own = AppResources(app.resources.values(), direct_calls)
    sources = [own, RunResources(runs, tools, masked), PageSource(app.name)]
    prompts = Prompts(served_prompts(app.prompts, workflows, tools.tools_of), direct_calls)
    tasks = Tasks(runs, tools.shown, called.outcome)
    listening = Listening(runs, tasks, own.known)
    stack.enter_context(app.telling_of_resources(listening.touch))
    stack.push_async_callback(listening.aclose)
    documents = Documents(prompts, sources, Completions(runs, tools), lambda: current_caller(lent))
    toolbox = Toolbox([tools, called], Limits(settings.server.limits), host.want, lambda: current_caller(lent))
    return toolbox, [documents, logs, tasks, listening]


def instructions(app: MCPApp) -> str:
    """What a model should know of the server, in under 600 characters."""
    about = (app.description or "").strip()
    own = set(app.workflows) - set(app.function_tools)
    if len(own) > app.settings.server.max_workflow_tools:
        begin = "`workflows-list` shows the workflows and what they take. `workflows-run` starts a durable run of one"
    else:
        begin = "Each workflow is a set of tools, `workflows-list` shows all: `-run` starts a durable run"
    rules = (
        f"{begin} and waits a while; if it is still under way, call `-get_status` with its run_id and wait_seconds. Never start "
        "it again. A run that waits for a person names its question: ask the user, then answer with `-resume`. `-cancel` stops "
        "a run."
    )
    return f"{about[: 590 - len(rules)]}\n{rules}".strip()
