"""Every step that an app's runs may ask for, with what they share: one model client a provider, one connection a server."""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from mcp_agent.activities.functions import CALL_FUNCTION, FunctionActivities
from mcp_agent.activities.llm import LLM_GENERATE, LLMActivities
from mcp_agent.activities.mcp import MCPActivities
from mcp_agent.config import Settings
from mcp_agent.errors import ConfigError
from mcp_agent.executor.caller_tokens import CallerTokens
from mcp_agent.executor.method_steps import method_tasks
from mcp_agent.executor.registry import Registry
from mcp_agent.executor.workflow_task import TaskDefinition, definition_of
from mcp_agent.mcp.connections import ConnectionManager
from mcp_agent.mcp.definitions import MCP_LIST_TOOLS, RESULT_LIMIT
from mcp_agent.observability.telemetry import Telemetry
from mcp_agent.workflows.llm.conversation import ConversationStore
from mcp_agent.workflows.llm.transcript import RESULT_STEPS

Tasks = Mapping[str, TaskDefinition]


class AppTasks:
    """All of them, by name. Nothing is opened before it is used.

    Raises:
        ConfigError: `workflow_task_modules` names a module that cannot be imported, or a policy a task that there is not.
    """

    def __init__(self, registry: Registry) -> None:
        self._builtin = BuiltinTasks(registry.settings, registry.caller_tokens, registry.telemetry)
        found = {**tasks_beside_workflows(registry), **tasks_of_modules(registry.settings)}
        own = {**found, **tasks_of_methods(registry), **registry.tasks}
        self.tasks = {**self._builtin.models, **self._builtin.functions, **self._builtin.downstream, **own}
        registry.settings.retry_policies().check_names(self.tasks)

    async def aclose(self) -> None:
        """Closes what was opened."""
        await self._builtin.aclose()


class BuiltinTasks:
    """The framework's own: `models` call providers, `functions` local code, `downstream` MCP servers."""

    def __init__(self, settings: Settings, tokens: CallerTokens, telemetry: Telemetry | None = None) -> None:
        limit = settings.conversation_cache_bytes
        self._store = ConversationStore(limit, result_steps=RESULT_STEPS, listing_step=MCP_LIST_TOOLS)
        self._keepers = {**dict.fromkeys(RESULT_STEPS, self._keep_result), MCP_LIST_TOOLS: self._store.keep_listing}
        self._llm = LLMActivities(settings, store=self._store, telemetry=telemetry)
        self._connections = ConnectionManager(settings.mcp.servers, tokens)
        storage = settings.temporal.external_storage
        largest = RESULT_LIMIT if storage is None else storage.max_payload_bytes
        downstream = MCPActivities(self._connections, largest, telemetry).steps()
        self.models = {LLM_GENERATE: TaskDefinition(LLM_GENERATE, self._llm.generate)}
        self.functions = {CALL_FUNCTION: self._task(CALL_FUNCTION, FunctionActivities(largest).call_function)}
        self.downstream = {name: self._task(name, function) for name, function in downstream.items()}

    async def aclose(self) -> None:
        """Closes what was opened."""
        await self._llm.aclose()
        await self._connections.aclose()

    def _keep_result(self, result: Any) -> None:
        self._store.keep_result(result.content)

    def _task(self, name: str, step: Callable[..., Awaitable[Any]]) -> TaskDefinition:
        """The step; what model calls name of its results is kept for them."""
        keep = self._keepers.get(name)
        if keep is None:
            return TaskDefinition(name, step)

        @functools.wraps(step)
        async def keeping(argument: Any) -> Any:
            result = await step(argument)
            keep(result)
            return result

        return TaskDefinition(name, keeping)


@asynccontextmanager
async def app_tasks(registry: Registry) -> AsyncGenerator[Tasks, None]:
    """As `AppTasks`, closed at the end of the block."""
    opened = AppTasks(registry)
    try:
        yield opened.tasks
    finally:
        await opened.aclose()


def tasks_of_modules(settings: Settings) -> Tasks:
    """The tasks in `workflow_task_modules`. Raises ConfigError for a module that cannot be imported."""
    tasks: dict[str, TaskDefinition] = {}
    for name in settings.workflow_task_modules:
        try:
            module = import_module(name)
        except ImportError as error:
            raise ConfigError(f"`workflow_task_modules` names `{name}`, which cannot be imported: {error}.") from error
        tasks.update(_tasks_in(module))
    return tasks


def tasks_beside_workflows(registry: Registry) -> Tasks:
    """The tasks that the modules of the app's workflows define or import."""
    modules = {definition.cls.__module__: None for definition in registry.workflows.values()}
    return {name: task for module in modules for name, task in _tasks_in(sys.modules[module]).items()}


def _tasks_in(module: ModuleType) -> Tasks:
    found = (definition_of(member) for member in list(vars(module).values()))
    return {task.name: task for task in found if isinstance(task, TaskDefinition)}


def tasks_of_methods(registry: Registry) -> Tasks:
    """The coroutine methods of the app's workflow classes."""
    return {task.name: task for definition in registry.workflows.values() for task in method_tasks(definition.cls)}
