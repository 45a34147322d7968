"""The framework's own steps, with what they share: one model client a provider, one connection a downstream server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module

from mcp_agent.activities.llm import LLM_GENERATE, LLMActivities
from mcp_agent.activities.mcp import MCP_CALL_TOOL, MCP_LIST_TOOLS, MCPActivities
from mcp_agent.config import Settings
from mcp_agent.errors import ConfigError
from mcp_agent.executor.workflow_task import TaskDefinition, definition_of
from mcp_agent.mcp.connections import ConnectionManager


@asynccontextmanager
async def builtin_tasks(settings: Settings) -> AsyncGenerator[dict[str, TaskDefinition], None]:
    """By name; what they opened is closed at the end of the block."""
    connections = ConnectionManager(settings.mcp.servers)
    downstream = MCPActivities(connections)
    models = LLMActivities(settings)
    try:
        yield {
            LLM_GENERATE: TaskDefinition(LLM_GENERATE, models.generate),
            MCP_LIST_TOOLS: TaskDefinition(MCP_LIST_TOOLS, downstream.list_tools),
            MCP_CALL_TOOL: TaskDefinition(MCP_CALL_TOOL, downstream.call_tool),
        }
    finally:
        await models.aclose()
        await connections.aclose()


def tasks_of_modules(settings: Settings) -> Mapping[str, TaskDefinition]:
    """The tasks in `workflow_task_modules`. Raises ConfigError for a module that cannot be imported."""
    tasks: dict[str, TaskDefinition] = {}
    for name in settings.workflow_task_modules:
        try:
            module = import_module(name)
        except ImportError as error:
            raise ConfigError(f"`workflow_task_modules` names `{name}`, which cannot be imported: {error}.") from error
        found = (definition_of(member) for member in vars(module).values())
        tasks.update({task.name: task for task in found if task is not None})
    return tasks
