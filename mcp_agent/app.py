"""`MCPApp`: what is registered (workflows, tasks, tools, prompts, resources). Cheap to construct: no I/O, no environment.

Engines and the MCP server are imported when the app is run, not before: constructing an app happens anew for every run
in Temporal's sandbox, and starting a server must not wait for packages that it does not need yet.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from mcp_agent import workflow as workflow_api
from mcp_agent.config import Settings, load_settings
from mcp_agent.context import Context
from mcp_agent.errors import ConfigError, DefinitionError
from mcp_agent.executor.caller_tokens import CallerTokens
from mcp_agent.executor.definition import WorkflowDefinition
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.runtime import current_or_none, running
from mcp_agent.executor.step_context import current_step
from mcp_agent.executor.versions import VERSIONINGS, Versioning
from mcp_agent.executor.workflow import APP_MARK, NAME_MARK, RUN_MARK, VERSIONING_MARK, Workflow
from mcp_agent.executor.workflow_task import TaskDefinition, definition_of, workflow_task
from mcp_agent.observability.logging import secrets_of
from mcp_agent.observability.telemetry import Telemetry, telemetry_of
from mcp_agent.served import Complete, FunctionTool, PromptFunction, ResourceFunction, described

if TYPE_CHECKING:
    from mcp_types import Icon, ToolAnnotations

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type[Workflow[Any]])

_ENGINES = {"asyncio": "mcp_agent.executor.asyncio.engine", "temporal": "mcp_agent.executor.temporal.engine"}


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
    worker: bool | Collection[str]

    def serves(self, settings: Settings, *, worker: bool | Collection[str]) -> bool:
        same = self.settings is settings and self.loop is asyncio.get_running_loop()
        return same and (self.worker in (True, worker) or not worker or self.executor.engine == "asyncio")


class MCPApp:
    """Everything that is served together, under one name and one configuration.

    Args:
        name: What clients see, and the default task queue.
        description: One paragraph for the server's instructions.
        settings: Settings, or the path of a file; else `mcp_agent.config.yaml` is looked for when they are first needed.
        title: What people are shown instead of the name.
        icons: For hosts that show them.
        website_url: Where people read more.
    """

    def __init__(
        self,
        name: str = "mcp_agent",
        *,
        description: str | None = None,
        settings: Settings | Path | str | None = None,
        title: str | None = None,
        icons: Sequence[Icon] = (),
        website_url: str | None = None,
    ) -> None:
        self.name = name
        self.description = description
        self.title = title
        self.icons = tuple(icons)
        self.website_url = website_url
        self._settings = settings
        self._workflows: dict[str, WorkflowDefinition] = {}
        self._tasks: dict[str, TaskDefinition] = {}
        self._function_tools: dict[str, FunctionTool] = {}
        self._prompts: dict[str, PromptFunction] = {}
        self._resources: dict[str, ResourceFunction] = {}
        self._told_of_resources: list[Callable[[str], object]] = []
        self._opened: list[_Opened] = []
        self._caller_tokens = CallerTokens()
        self._telemetry: Telemetry | None = None
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
        self._settings, self._telemetry = settings, None

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

    @property
    def caller_tokens(self) -> CallerTokens:
        """For the downstream servers that the configuration passes them on to; the server puts them in."""
        return self._caller_tokens

    @property
    def telemetry(self) -> Telemetry:
        """What the settings ask for, made on first use. Raises ConfigError."""
        if self._telemetry is None:
            settings = self.settings
            self._telemetry = telemetry_of(settings.observability, self.name, settings.execution_engine, secrets_of(settings))
        return self._telemetry

    @property
    def prompts(self) -> Mapping[str, PromptFunction]:
        return MappingProxyType(self._prompts)

    @property
    def resources(self) -> Mapping[str, ResourceFunction]:
        """By URI or URI template."""
        return MappingProxyType(self._resources)

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
    async def open_executor(self, *, worker: bool | Collection[str] = False) -> AsyncGenerator[Executor, None]:
        """The configured engine; with `worker`, it also runs the app's workflows in this process. Raises as `run`.

        A worker of some queues only is asked for by their names in `temporal.queues`, with `workflows` for that of the workflows.

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
        return module.DirectHost(self.settings, shared or {}, self._caller_tokens, self.telemetry)

    def resource_updated(self, uri: str) -> None:
        """Tells the clients of this process that have subscribed that what a resource of the app gives has changed."""
        for tell in self._told_of_resources:
            tell(uri)

    @contextmanager
    def telling_of_resources(self, tell: Callable[[str], None]) -> Generator[None]:
        """In the block `tell` hears of resources that have changed, in the event loop of the block."""
        on_loop = partial(asyncio.get_running_loop().call_soon_threadsafe, tell)
        self._told_of_resources.append(on_loop)
        try:
            yield
        finally:
            self._told_of_resources.remove(on_loop)

    # Registering

    @overload
    def workflow(self, cls: C) -> C: ...
    @overload
    def workflow(
        self, *, name: str | None = None, priority: int | None = None, versioning: Versioning | None = None
    ) -> Callable[[C], C]: ...
    def workflow(
        self,
        cls: Any = None,
        *,
        name: str | None = None,
        priority: int | None = None,
        versioning: Versioning | None = None,
    ) -> Any:
        """Registers a workflow class.

        Args:
            cls: The class.
            name: What it is called; the class name by default.
            priority: 1 (first) to 5 (last), for its runs and what they do, where more waits than can be done. Temporal only.
            versioning: Whether its runs end on the version of the code that they began on (`pinned`) or go over to the current
                one (`auto_upgrade`), where workers have versions. `temporal.worker_versioning` says it by default.

        Raises:
            DefinitionError: There is one of that name, it has no `run`, or an option is wrong.
        """
        if versioning not in (None, *VERSIONINGS):
            raise DefinitionError(f"`versioning` is `{versioning}`: give one of {', '.join(f'`{v}`' for v in VERSIONINGS)}.")

        def register(target: C) -> C:
            self._add_workflow(WorkflowDefinition(target, name, priority))
            setattr(target, VERSIONING_MARK, versioning)
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
        self,
        function: Any = None,
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        icons: Sequence[Icon] = (),
        annotations: ToolAnnotations | None = None,
        input_schema: Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
        durable: bool = False,
        requires_task: bool = False,
    ) -> Any:
        """Serves a function as a tool.

        Args:
            function: Gives a value or MCP content; one that is not durable also a `CallToolResult` or `InputRequiredResult`.
            name: What clients call it; the function's name by default.
            title: What people are shown.
            description: What models are told; the docstring by default.
            icons: For hosts that show them.
            annotations: What hosts may assume of it, such as that it only reads.
            input_schema: A JSON Schema for clients instead of one made from the signature. Arguments must fit both.
            meta: `_meta` of the tool.
            durable: Each call is a run of the configured engine: the function is a coroutine function, and workflow code. Else it
                runs in the server's process, and is gone with it.
            requires_task: Only for clients that know tasks (MCP's Tasks extension); any other is refused. Of durable tools.
        """
        if requires_task and not durable:
            raise DefinitionError("`requires_task` is for durable tools: write `@app.tool(durable=True, requires_task=True)`.")
        shown = _Options(name, title, description, icons)
        return self._tool_decorator(
            function,
            shown,
            durable=durable,
            requires_task=requires_task,
            annotations=annotations,
            input_schema=input_schema,
            meta=meta,
        )

    def async_tool(
        self,
        function: Any = None,
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        icons: Sequence[Icon] = (),
    ) -> Any:
        """Serves a coroutine function as a tool that starts a run and answers at once with its handle.

        The function is workflow code: it may use agents, tasks and signals, and on Temporal it survives everything.
        `@app.tool(durable=True)` is the same for callers that wait for what the function gives.
        """
        return self._tool_decorator(function, _Options(name, title, description, icons), durable=True, waits=False)

    def _tool_decorator(self, function: Any, shown: _Options, *, durable: bool, **more: Any) -> Any:
        def register(target: F) -> F:
            self._add_function_tool(target, shown, durable, more)
            return target

        return register if function is None else register(function)

    def _add_function_tool(self, function: Callable[..., Any], shown: _Options, durable: bool, more: Mapping[str, Any]) -> None:
        name = shown.name or function.__name__
        if name in self._function_tools:
            raise DefinitionError(f"Tool `{name}` is registered twice: rename one, or give it a `name`.")
        if inspect.isasyncgenfunction(function):
            raise DefinitionError(f"`{name}` is an async generator, and tools give one value: return a list instead.")
        if durable and not inspect.iscoroutinefunction(function):
            raise DefinitionError(f"`{name}` is durable, so it must be `async def`; use `@app.tool` for a plain function.")
        definition = WorkflowDefinition(_workflow_class(function, name), name)
        if durable:
            self._add_workflow(definition)
        self._function_tools[name] = FunctionTool(**shown.of(function), durable=durable, definition=definition, **more)

    def prompt(
        self,
        function: Any = None,
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        icons: Sequence[Icon] = (),
        completions: Mapping[str, Complete] | None = None,
    ) -> Any:
        """Serves a function as a prompt. Its parameters are the prompt's arguments, which come as text.

        Args:
            function: Gives text, `PromptMessage`s, MCP content, or a list of these.
            name: What clients call it; the function's name by default.
            title: What people are shown.
            description: The docstring by default.
            icons: For hosts that show them.
            completions: For arguments whose values are not in their type: a function from what was typed to values.
        """
        shown = _Options(name, title, description, icons)

        def register(target: F) -> F:
            made = PromptFunction(**shown.of(target), completions=dict(completions or {}))
            if made.name in self._prompts:
                raise DefinitionError(f"Prompt `{made.name}` is registered twice: rename one, or give it a `name`.")
            self._prompts[made.name] = made
            return target

        return register if function is None else register(function)

    def resource(
        self,
        uri: str,
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        icons: Sequence[Icon] = (),
        mime_type: str | None = None,
        completions: Mapping[str, Complete] | None = None,
        unchecked: Sequence[str] = (),
    ) -> Callable[[F], F]:
        """Serves a function as a resource, or as all that a URI template names: `@app.resource("notes://{topic}/{+path}")`.

        The function's parameters are the template's variables. It gives text, bytes, a JSON value or `ResourceContents`.

        Args:
            uri: A URI, or a template (RFC 6570). `run:`, `workflow:` and `ui:` are the server's own.
            name: The function's name by default.
            title: What people are shown.
            description: The docstring by default.
            icons: For hosts that show them.
            mime_type: By default that of text, bytes or JSON, as the function gives.
            completions: By variable: a function from what was typed to values.
            unchecked: Variables that may hold `..`, absolute paths and NUL. Any other that does is refused.
        """
        shown = _Options(name, title, description, icons)

        def register(target: F) -> F:
            if uri in self._resources:
                raise DefinitionError(f"Resource `{uri}` is registered twice.")
            self._resources[uri] = ResourceFunction(
                **shown.of(target),
                uri=uri,
                mime_type=mime_type,
                completions=dict(completions or {}),
                unchecked=frozenset(unchecked),
            )
            return target

        return register


@dataclass(frozen=True, slots=True)
class _Options:
    """What every decorator takes of how a function is shown."""

    name: str | None
    title: str | None
    description: str | None
    icons: Sequence[Icon]

    def of(self, function: Callable[..., Any]) -> dict[str, Any]:
        return {
            "name": self.name or function.__name__,
            "function": function,
            "title": self.title,
            "description": described(function, self.description),
            "icons": tuple(self.icons),
        }


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
    run.__wrapped__ = function  # type: ignore[attr-defined] # where annotations that are text are looked up
    run.__qualname__, run.__module__, run.__doc__ = f"{class_name}.run", function.__module__, function.__doc__
    setattr(run, RUN_MARK, True)
    cls = type(class_name, (Workflow,), {"run": run, "__module__": function.__module__, "__doc__": function.__doc__})
    function.__globals__[class_name] = cls
    return cls
