"""What every tool does with runs: start, wait with progress, look, answer, cancel. The engine decides everything."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from mcp_types import CallToolResult, InputRequiredResult

from mcp_agent.config import ServerSettings
from mcp_agent.errors import EngineUnavailable, InvalidArguments, NotFound, NotWaiting
from mcp_agent.executor.definition import WorkflowDefinition, bind, input_digest
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.handlers import Handler
from mcp_agent.executor.priority import ORDINARY, CallerPriority
from mcp_agent.executor.registry import new_run_id
from mcp_agent.executor.runs import Answer, Receipt, RunFilter, RunPage, RunState, RunStatus, StartedRun
from mcp_agent.observability.health import Health
from mcp_agent.server import texts
from mcp_agent.server.asking import Answers, Asking, carried, required, way_of
from mcp_agent.server.callers import Caller
from mcp_agent.server.engine_host import EngineHost
from mcp_agent.server.entries import ToolCall, answer
from mcp_agent.server.names import check_key
from mcp_agent.server.page.run_page import tools_of_run
from mcp_agent.server.run import Run, show
from mcp_agent.server.run_logs import RunLogs
from mcp_agent.server.watching import Watches

# A waiting client is told what has changed: soon at first, then at longer and longer intervals.
FIRST_TOLD = 0.25
TOLD_EVERY = 2.0
DEFAULT_SIGNAL = "resume"
_PLAIN = re.compile(r"[A-Za-z0-9_.-]*")  # of a prefix, the part that an engine's search takes as it is


@dataclass(frozen=True, slots=True)
class Shown:
    """A run with its text and data."""

    state: RunState
    run: Run
    text: str
    tools: Mapping[str, str]

    def result(self, *, failed_is_error: bool = False) -> CallToolResult:
        is_error = failed_is_error and self.state.status in ("failed", "timed_out")
        return answer(self.text, self.run.dump(), is_error=is_error, meta=tools_of_run(self.tools))


class Runs:
    """Args:
    host: The engine.
    settings: Budgets.
    logs: What runs log, for those who wait for them.
    """

    def __init__(self, host: EngineHost, settings: ServerSettings, logs: RunLogs) -> None:
        self._host = host
        self._settings = settings
        self._logs = logs
        self._starting: set[asyncio.Task[StartedRun]] = set()
        self.draining = False
        self._at_drain: list[Callable[[], None]] = []
        self.watches = Watches()
        self._asking = Asking(self.watches)

    async def aclose(self) -> None:
        """Withdraws the questions that clients have been asked."""
        await self._asking.aclose()

    def drain(self) -> None:
        """From now on nothing is started, and who waits is answered at once with what there is."""
        self.draining = True
        self.watches.release()
        for act in self._at_drain:
            act()

    def at_drain(self, act: Callable[[], None]) -> None:
        """Calls `act` when the server begins to stop."""
        self._at_drain.append(act)

    async def executor(self) -> Executor:
        """The engine, within the wait budget. Raises EngineStarting or EngineUnavailable."""
        return await self._host.executor(self._settings.wait_budget_seconds)

    async def health(self) -> Health:
        """The engine's."""
        return await self._host.health()

    def budget(self, caller: Caller, wait_seconds: float | None = None) -> float:
        """What a caller may wait: what it asks for, at most the server's budget, and never beyond the end of its token."""
        limit = min(self._settings.wait_budget_seconds, caller.seconds_left())
        return limit if wait_seconds is None else min(max(wait_seconds, 0), limit)

    async def start(
        self, executor: Executor, caller: Caller, definition: WorkflowDefinition, args: list[Any], run_id: str
    ) -> bool:
        """Starts a run of the caller's. A client that goes away in this moment neither loses nor doubles it.

        Returns:
            Whether it was there before.

        Raises:
            EngineUnavailable: The server is stopping.
        """
        if self.draining:
            raise EngineUnavailable("The server is stopping; nothing was started. Call again in 10 seconds.")
        caller.check_may("run", definition.name)
        digest, priority = input_digest(args), self._priority(caller)
        starting = asyncio.create_task(
            executor.start_run(definition, args, run_id=run_id, input_digest=digest, priority=priority)
        )
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)
        return (await asyncio.shield(starting)).existing

    def _priority(self, caller: Caller) -> CallerPriority:
        auth = self._settings.auth
        return ORDINARY if auth is None else auth.priority_of(caller.subject, caller.scopes or ())

    @staticmethod
    def new_id(caller: Caller, name: str, key: str | None = None) -> str:
        """An id for a run of the caller's: nobody can guess it, or it is what a client's idempotency key stands for.

        Raises:
            InvalidArguments: The key cannot be one.
        """
        if key is None:
            return caller.prefix + new_run_id(name)
        check_key(key)
        return f"{caller.prefix}{name}.{key}"

    async def wait(
        self,
        executor: Executor,
        call: ToolCall,
        run_id: str,
        seconds: float,
        *,
        started: bool = False,
        answered: Collection[str] = (),
    ) -> RunState:
        """The run's state as soon as somebody has to act, else at the end of the wait; tells progress meanwhile.

        Args:
            executor: The engine.
            call: Whose client is told.
            run_id: The run.
            seconds: How long at most.
            started: It was started just now.
            answered: Requests that were answered just now: they are not worth to return for.
        """
        if seconds <= 0 or self.draining:
            return await executor.describe_run(run_id)
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        telling = _Telling(call, run_id, self._settings.progress_interval_seconds, FIRST_TOLD if started else 0)
        await telling.begin()
        seen, state = 0, None
        async with self.watches.of(executor, run_id, started=started) as watch:
            while True:
                try:
                    async with asyncio.timeout_at(min(end, telling.due(state))):
                        seen, state = await watch.after(seen)
                except TimeoutError:
                    await telling.tell(state)
                if state is not None and state.needs_attention and not _only_waits_for(state, answered):
                    return state
                if self.draining or (state is None and loop.time() >= end):
                    return await executor.describe_run(run_id)
                if state is not None and loop.time() >= end:
                    return state

    async def follow(self, executor: Executor, call: ToolCall, run_id: str, seconds: float) -> RunState | InputRequiredResult:
        """As `wait`, but the client is sent what the run logs, and what it asks where it can be asked.

        Returns:
            The run's state, or its questions as a result.
        """
        async with self._logs.sending(call.request, run_id):
            return await self._follow(executor, call, run_id, seconds)

    async def _follow(
        self,
        executor: Executor,
        call: ToolCall,
        run_id: str,
        seconds: float,
        *,
        started: bool = False,
        existing: bool = False,
    ) -> RunState | InputRequiredResult:
        """
        Args:
            started: The run was started just now.
            existing: It was there before the call, or before the one that has given the questions.
        """
        end = asyncio.get_running_loop().time() + seconds
        begun = carried(call.params)
        answers = Answers()
        if begun is not None:
            answers = await self._asking.take(call.params, begun, executor, await executor.describe_run(run_id))
        while True:
            left = end - asyncio.get_running_loop().time()
            state = await self.wait(executor, call, run_id, left, started=started, answered=answers.taken)
            questions = {} if self.draining else self._asking.open_questions(call, state, answers)
            if not questions or left <= 0:
                return state
            if way_of(call.request) == "input_required":
                return required(run_id, questions, answers, existing=existing)
            await self._asking.ask_live(call, executor, state, answers, end - asyncio.get_running_loop().time())
            started = False

    async def run(
        self, call: ToolCall, definition: WorkflowDefinition, args: list[Any], key: str | None, seconds: float
    ) -> tuple[RunState | InputRequiredResult, bool]:
        """Starts a run, or comes back to the one that a call brings answers for, and follows it.

        Returns:
            Its state, or what it asks, as `follow`; and whether it was there before.
        """
        executor = await self.executor()
        begun = carried(call.params)
        if begun is not None:
            await self.find(executor, call.caller, begun.run_id, definition)
        run_id = self.new_id(call.caller, definition.name, key) if begun is None else begun.run_id
        async with self._logs.sending(call.request, run_id) if seconds > 0 else nullcontext():  # from its first line on
            existing = await self.start(executor, call.caller, definition, args, run_id) if begun is None else begun.existing
            started = begun is None and not existing
            state = await self._follow(executor, call, run_id, seconds, started=started, existing=existing)
        return state, existing

    async def find(self, executor: Executor, caller: Caller, run_id: str, definition: WorkflowDefinition | None) -> RunState:
        """The run, if it is the caller's and one of `definition`'s: else it looks the same as one that is missing.

        Raises:
            NotFound: There is no such run.
        """
        if not caller.owns(run_id):
            raise self.missing(run_id)
        try:
            state = await executor.describe_run(run_id)
        except NotFound:
            raise self.missing(run_id) from None
        if definition is not None and state.workflow != definition.name:
            raise self.missing(run_id)
        caller.check_may("read", state.workflow)
        return state

    def missing(self, run_id: str) -> NotFound:
        """What is said of a run that is not there, or no longer, is another's, or is of another workflow."""
        return NotFound(f"There is no run `{run_id[:200]}`. {self._host.kept} `workflows-runs-list` shows those that there are.")

    async def listed(
        self, caller: Caller, workflows: tuple[str, ...], status: RunStatus | None, limit: int, cursor: str | None
    ) -> RunPage:
        """A page of the caller's runs, of those workflows whose runs it may see. Raises InsufficientScope if there are none."""
        seen = _readable(caller, workflows)
        executor = await self.executor()
        return await executor.list_runs(RunFilter(seen, status, limit, cursor, caller.prefix))

    async def newest(self, caller: Caller, workflows: tuple[str, ...], begins: str, limit: int) -> RunPage:
        """The newest of the caller's runs whose ids begin like that, with or without the caller's tag. Raises as `listed`."""
        seen = _readable(caller, workflows)
        prefix = begins if begins.startswith(caller.prefix) else caller.prefix + begins
        if caller.prefix.startswith(begins):
            prefix = caller.prefix
        plain = _PLAIN.match(prefix)
        assert plain is not None
        executor = await self.executor()
        page = await executor.list_runs(RunFilter(seen, limit=limit, prefix=plain[0]))
        return replace(page, runs=tuple(state for state in page.runs if state.run_id.startswith(prefix)))

    def shown(
        self,
        state: RunState,
        definition: WorkflowDefinition | None,
        tools: Mapping[str, str],
        *,
        existing: bool = False,
    ) -> Shown:
        run = show(state, definition, tools, existing=existing)
        return Shown(state, run, texts.describe(state, run, tools), tools)

    async def resume(
        self,
        executor: Executor,
        state: RunState,
        definition: WorkflowDefinition,
        *,
        request_id: str | None,
        signal_name: str | None,
        payload: Any,
    ) -> Receipt:
        """Answers what the run asks, or calls a signal handler that it declares."""
        asked = {request.name for request in state.pending_inputs}
        name = signal_name
        if request_id is None and name is None and not asked:
            name = DEFAULT_SIGNAL
            if definition.handler("signal", name) is None and not state.closed:
                raise NotWaiting(_waits_for_nothing(state, definition))
        handler = definition.handler("signal", name) if name is not None else None
        if request_id is None and name is not None and handler is not None and name not in asked:
            await executor.signal_run(state.run_id, name, _signal_args(handler, payload))
            return Receipt(name=name)
        return await executor.answer_run(state.run_id, Answer(request_id=request_id, name=name, payload=payload))


def _readable(caller: Caller, workflows: tuple[str, ...]) -> tuple[str, ...]:
    """Those whose runs the caller may see. Raises InsufficientScope if there are none."""
    seen = tuple(name for name in workflows if caller.may("read", name))
    if not seen:
        caller.check_may("read", workflows[0] if len(workflows) == 1 else None)
    return seen


def _only_waits_for(state: RunState, answered: Collection[str]) -> bool:
    asked = [request.request_id for request in state.pending_inputs]
    return state.status == "waiting_for_input" and all(request_id in answered for request_id in asked)


class _Telling:
    """Progress notifications of one wait: with news soon, else now and then."""

    def __init__(self, call: ToolCall, run_id: str, interval: float, pause: float) -> None:
        self._session = call.request.session
        self._run_id = run_id
        self._interval = interval
        self._pause = pause
        self._count = 0
        self._told = _NOTHING
        self._told_at = 0.0

    async def begin(self) -> None:
        await self._report(f"Run `{self._run_id}` is under way.")

    def due(self, state: RunState | None) -> float:
        """When the client is to be told, by the loop's clock."""
        news = state is not None and _news(state) != self._told
        return self._told_at + (min(self._pause, self._interval) if news else self._interval)

    async def tell(self, state: RunState | None) -> None:
        if state is None or asyncio.get_running_loop().time() < self.due(state):
            return
        self._told, self._pause = _news(state), min(max(2 * self._pause, FIRST_TOLD), TOLD_EVERY)
        await self._report(f"Run `{self._run_id}`: {texts.progress(state)}")

    async def _report(self, message: str) -> None:
        self._told_at = asyncio.get_running_loop().time()
        await self._session.report_progress(self._count, None, message)
        self._count += 1


_NOTHING: tuple[Any, ...] = (None, ())


def _news(state: RunState) -> tuple[Any, ...]:
    """What is worth telling: without the passing of time."""
    return state.progress, tuple((step.name, step.attempt, step.partial_text, step.progress) for step in state.steps)


def _waits_for_nothing(state: RunState, definition: WorkflowDefinition) -> str:
    names = [f"`{h.name}`" for h in definition.handlers if h.kind == "signal" and h.name is not None]
    hint = f" Its signals are {', '.join(names)}: name one as `signal_name`." if names else ""
    return f"Run `{state.run_id}` is {state.status} and waits for nothing.{hint} Nothing was changed."


def _signal_args(handler: Handler, payload: Any) -> list[Any]:
    """A payload as a handler's arguments: by name if it is an object whose keys fit, else as the only argument."""
    names = [parameter.name for parameter in handler.parameters]
    if isinstance(payload, dict) and payload and set(payload) <= set(names):  # pyright: ignore[reportUnknownArgumentType]
        return bind(handler.function, payload)  # pyright: ignore[reportUnknownArgumentType]
    if payload is None:
        return bind(handler.function, {})
    required = [parameter.name for parameter in handler.parameters if parameter.default is parameter.empty]
    if len(names) != 1 and len(required) != 1:
        expected = ", ".join(f"`{name}`" for name in names)
        how = f"takes {expected}: give an object with these keys" if names else "takes nothing: leave the payload out"
        raise InvalidArguments(f"`payload`: signal `{handler.name}` {how}. Nothing was changed.")
    return bind(handler.function, {(required or names)[0]: payload})
