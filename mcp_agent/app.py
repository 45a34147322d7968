"""`MCPApp`: what is registered (workflows, tools, tasks). Cheap to construct: no I/O, no environment.

Engines and the MCP server are imported when the app is run, not before: constructing an app happens anew for every run
in Temporal's sandbox, and starting a server must not wait for packages that it does not need yet.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast, overload

from mcp_agent import workflow as workflow_api
from mcp_agent.config import Settings, load_settings
from mcp_agent.context import Context
from mcp_agent.errors import ConfigError, DefinitionError
from mcp_agent.executor.definition import WorkflowDefinition
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.runtime import current_or_none, running
from mcp_agent.executor.step_context import current_step
from mcp_agent.executor.workflow import APP_MARK, NAME_MARK, RUN_MARK, Workflow
from mcp_agent.executor.workflow_task import TaskDefinition, definition_of, workflow_task

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type[Workflow[Any]])

_ENGINES = {"asyncio": "mcp_agent.executor.asyncio.engine", "temporal": "mcp_agent.executor.temporal.engine"}


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function that is served as a tool.

    Attributes:
        durable: From `@app.async_tool`: a run of the configured engine. Else, from `@app.tool`: a call in the server.
        definition: The workflow that was generated for it.
    """

    name: str
    function: Callable[..., Any]
    title: str | None
    description: str
    durable: bool
    definition: WorkflowDefinition


@dataclass(frozen=True, slots=True)
class RunningApp:
    """What `async with app.run()` gives."""

    app: MCPApp
    executor: Executor

    @property
    def name(self) -> str:
        return self.app.name

    @property
    def context(self) -> Context:
        return self.app.context


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """The engine that an app has open, and for whom it can stand."""

    executor: Executor
    settings: Settings
    loop: asyncio.AbstractEventLoop
    worker: bool

    def serves(self, settings: Settings, *, worker: bool) -> bool:
        same = self.settings is settings and self.loop is asyncio.get_running_loop()
        return same and (self.worker or not worker or self.executor.engine == "asyncio")


class MCPApp:
    """Everything that is served together, under one name and one configuration.

    Args:
        name: What clients see, and the default task queue.
        description: One paragraph for the server's instructions.
        settings: Settings, or the path of a file; else `mcp_agent.config.yaml` is looked for when they are first needed.
    """

    def __init__(
        self, name: str = "mcp_agent", *, description: str | None = None, settings: Settings | Path | str | None = None
    ) -> None:
        self.name = name
        self.description = description
        self._settings = settings
        self._workflows: dict[str, WorkflowDefinition] = {}
        self._tasks: dict[str, TaskDefinition] = {}
        self._function_tools: dict[str, FunctionTool] = {}
        self._opened: list[_Opened] = []
        self.context = Context(lambda: self._executor)

    @property
    def _executor(self) -> Executor | None:
        return self._opened[-1].executor if self._opened else None

    @property
    def settings(self) -> Settings:
        """Read on first use. Raises ConfigError."""
        if not isinstance(self._settings, Settings):
            self._settings = load_settings(None if self._settings is None else Path(self._settings))
        return self._settings

    def use(self, settings: Settings) -> None:
        """Takes these settings instead of its own."""
        self._settings = settings

    @property
    def workflows(self) -> Mapping[str, WorkflowDefinition]:
        """By name, those generated for `@app.async_tool` functions included."""
        return MappingProxyType(self._workflows)

    @property
    def tasks(self) -> Mapping[str, TaskDefinition]:
        """The steps that were registered with `@app.workflow_task`, by name."""
        return MappingProxyType(self._tasks)

    @property
    def function_tools(self) -> Mapping[str, FunctionTool]:
        return MappingProxyType(self._function_tools)

    @asynccontextmanager
    async def run(self, settings: Settings | None = None) -> AsyncGenerator[RunningApp, None]:
        """Opens the configured engine: `async with app.run() as running: await running.executor.start_workflow(...)`.

        Raises:
            ConfigError: The configuration is wrong.
            EngineUnavailable: The engine cannot be reached or started.
        """
        if settings is not None:
            self.use(settings)
        async with self.open_executor() as executor, self.direct_calls():
            yield RunningApp(self, executor)

    @asynccontextmanager
    async def open_executor(self, *, worker: bool = False) -> AsyncGenerator[Executor, None]:
        """The configured engine; with `worker`, it also runs the app's workflows in this process. Raises as `run`.

        Inside a block that has opened it already this is the same engine: the in-process one knows its own runs only.
        """
        for opened in reversed(self._opened):
            if opened.serves(self.settings, worker=worker):
                yield opened.executor
                return
        module = _engine_module(self.settings.execution_engine)
        async with module.open_executor(self, worker=worker) as executor:
            opened = _Opened(executor, self.settings, asyncio.get_running_loop(), worker)
            self._opened.append(opened)
            try:
                yield executor
            finally:
                self._opened.remove(opened)

    def replayer(self) -> Any:
        """Replays recorded runs against the code of today: see `mcp_agent.executor.temporal.replaying.AppReplayer`."""
        return importlib.import_module("mcp_agent.executor.temporal.replaying").AppReplayer(self)

    def direct_calls(self, shared: Mapping[str, TaskDefinition] | None = None) -> AbstractAsyncContextManager[None]:
        """In the block agents may be used outside of a run, as in steps: with connections of their own, and no record."""
        module = importlib.import_module("mcp_agent.executor.asyncio.direct")
        return module.DirectHost(self.settings, shared or {})

    # Registering

    @overload
    def workflow(self, cls: C) -> C: ...
    @overload
    def workflow(self, *, name: str | None = None) -> Callable[[C], C]: ...
    def workflow(self, cls: Any = None, *, name: str | None = None) -> Any:
        """Registers a workflow class. Raises DefinitionError for a second one of that name or one without `run`."""

        def register(target: C) -> C:
            self._add_workflow(WorkflowDefinition(target, name))
            return target

        return register if cls is None else register(cls)

    def _add_workflow(self, definition: WorkflowDefinition) -> None:
        there = self._workflows.get(definition.name)
        if there is not None and there.cls is not definition.cls:
            raise DefinitionError(
                f"Workflow `{definition.name}` is registered twice, by `{there.cls.__module__}.{there.cls.__qualname__}` and "
                f"`{definition.cls.__module__}.{definition.cls.__qualname__}`: rename one, or give it a `name`."
            )
        self._workflows[definition.name] = definition
        setattr(definition.cls, NAME_MARK, definition.name)
        setattr(definition.cls, APP_MARK, self)

    def workflow_run(self, function: F) -> F:
        """Marks the `run` of a workflow class.

        In a run of another workflow, calling it runs it as a part of that run. Outside of runs, while the app runs, calling it
        starts a run and waits for its result.
        """
        if not inspect.iscoroutinefunction(function):  # told when the class is registered, by its name
            setattr(function, RUN_MARK, True)
            return function

        @functools.wraps(function)
        async def run(workflow: Workflow[Any], *args: Any, **kwargs: Any) -> Any:
            executor = self._executor
            if executor is not None and current_or_none() is None and current_step() is None:
                bound = inspect.signature(function).bind(workflow, *args, **kwargs)
                bound.apply_defaults()
                handle = await executor.start_workflow(type(workflow), *bound.args[1:])
                return await handle.result()
            with running():
                return await function(workflow, *args, **kwargs)

        setattr(run, RUN_MARK, True)
        return cast("F", run)

    workflow_signal = staticmethod(workflow_api.signal)
    workflow_query = staticmethod(workflow_api.query)

    def workflow_task(self, function: Any = None, **options: Any) -> Any:
        """`@workflow_task` (see there), registered with this app. Raises DefinitionError for a second one of that name."""

        def register(target: Callable[..., Any]) -> Callable[..., Any]:
            made = cast("Callable[..., Any]", cast("Any", workflow_task)(**options)(target))
            task = definition_of(made)
            assert task is not None
            there = self._tasks.setdefault(task.name, task)
            if there is not task:
                raise DefinitionError(f"Task `{task.name}` is registered twice: give one of them a `name`.")
            return made

        return register if function is None else register(function)

    def tool(
        self, function: Any = None, *, name: str | None = None, title: str | None = None, description: str | None = None
    ) -> Any:
        """Serves a function as a tool. It runs in the server's process, and is gone with it; see `async_tool`."""
        return self._tool_decorator(function, name, title, description, durable=False)

    def async_tool(
        self, function: Any = None, *, name: str | None = None, title: str | None = None, description: str | None = None
    ) -> Any:
        """Serves a coroutine function as a tool that starts a run and answers at once with its handle.

        The function is workflow code: it may use agents, tasks and signals, and on Temporal it survives everything.
        """
        return self._tool_decorator(function, name, title, description, durable=True)

    def _tool_decorator(
        self, function: Any, name: str | None, title: str | None, description: str | None, *, durable: bool
    ) -> Any:
        def register(target: F) -> F:
            self._add_function_tool(target, name or target.__name__, title, description, durable)
            return target

        return register if function is None else register(function)

    def _add_function_tool(
        self, function: Callable[..., Any], name: str, title: str | None, description: str | None, durable: bool
    ) -> None:
        if name in self._function_tools:
            raise DefinitionError(f"Tool `{name}` is registered twice: rename one, or give it a `name`.")
        if durable and not inspect.iscoroutinefunction(function):
            raise DefinitionError(f"`{name}` under `@app.async_tool` must be `async def`; use `@app.tool` for a plain function.")
        definition = WorkflowDefinition(_workflow_class(function, name), name)
        if durable:
            self._add_workflow(definition)
        text = description or inspect.cleandoc(function.__doc__ or "")
        self._function_tools[name] = FunctionTool(name, function, title, text, durable, definition)


def _engine_module(engine: str) -> Any:
    try:
        return importlib.import_module(_ENGINES[engine])
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package != "temporalio":
            raise
        raise ConfigError(f"`execution_engine: {engine}` needs the package `{package}`, which is not installed.") from None


def _workflow_class(function: Callable[..., Any], name: str) -> type[Workflow[Any]]:
    """A workflow whose `run` is the function. It is put beside the function, where Temporal's sandbox looks for it."""
    class_name = f"Tool_{name}"

    async def run(self: Any, *args: Any) -> Any:
        with running():
            made = function(*args)
            return await made if inspect.isawaitable(made) else made

    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    signature = inspect.signature(function)
    run.__signature__ = signature.replace(parameters=[own, *signature.parameters.values()])  # type: ignore[attr-defined]
    run.__annotations__ = dict(getattr(function, "__annotations__", {}))
    run.__qualname__, run.__module__, run.__doc__ = f"{class_name}.run", function.__module__, function.__doc__
    setattr(run, RUN_MARK, True)
    cls = type(class_name, (Workflow,), {"run": run, "__module__": function.__module__, "__doc__": function.__doc__})
    function.__globals__[class_name] = cls
    return cls
