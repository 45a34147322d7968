"""What every tool does with runs: start, wait with progress, look, answer, cancel. The engine decides everything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mcp_types import CallToolResult

from mcp_agent.config import ServerSettings
from mcp_agent.errors import InvalidArguments, NotFound, NotWaiting
from mcp_agent.executor.definition import WorkflowDefinition, bind, input_digest
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.handlers import Handler
from mcp_agent.executor.registry import new_run_id
from mcp_agent.executor.runs import Answer, Receipt, RunState, StartedRun
from mcp_agent.server import texts
from mcp_agent.server.engine_host import EngineHost
from mcp_agent.server.entries import Request, answer
from mcp_agent.server.names import keyed_run_id
from mcp_agent.server.run import Run, show

# When a waiting client is told what has changed: soon at first, then at longer and longer intervals.
FIRST_LOOK = 0.25
LOOK_EVERY = 2.0
DEFAULT_SIGNAL = "resume"


@dataclass(frozen=True, slots=True)
class Shown:
    """A run with its text and data."""

    state: RunState
    run: Run
    text: str

    def result(self, *, failed_is_error: bool = False) -> CallToolResult:
        is_error = failed_is_error and self.state.status == "failed"
        return answer(self.text, self.run.dump(), is_error=is_error)


class Runs:
    """Args:
    host: The engine.
    settings: Budgets.
    """

    def __init__(self, host: EngineHost, settings: ServerSettings) -> None:
        self._host = host
        self._settings = settings
        self._starting: set[asyncio.Task[StartedRun]] = set()

    async def executor(self) -> Executor:
        """The engine, within the wait budget. Raises EngineStarting or EngineUnavailable."""
        return await self._host.executor(self._settings.wait_budget_seconds)

    def budget(self, wait_seconds: float | None) -> float:
        """What a caller may wait: what it asks for, at most the server's budget."""
        limit = self._settings.wait_budget_seconds
        return limit if wait_seconds is None else min(max(wait_seconds, 0), limit)

    async def start(self, executor: Executor, definition: WorkflowDefinition, args: list[Any], key: str | None) -> StartedRun:
        """Starts a run. A client that goes away in this moment neither loses nor doubles it."""
        run_id = new_run_id(definition.name) if key is None else keyed_run_id(definition.name, key)
        starting = asyncio.create_task(executor.start_run(definition, args, run_id=run_id, input_digest=input_digest(args)))
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)
        return await asyncio.shield(starting)

    async def wait(self, executor: Executor, request: Request, run_id: str, seconds: float) -> RunState:
        """The run's state as soon as somebody has to act, else at the end of the wait; tells progress meanwhile."""
        if seconds <= 0:
            return await executor.describe_run(run_id)
        begin = told_at = time.monotonic()
        told, count, interval = "", 0, FIRST_LOOK
        await request.session.report_progress(0, None, f"Run `{run_id}` is under way.")
        while True:
            left = seconds - (time.monotonic() - begin)
            state = await executor.wait_run(run_id, timedelta(seconds=min(max(left, 0), interval)))
            if state.needs_attention or left <= interval:
                return state
            interval = min(2 * interval, LOOK_EVERY)
            now, news = time.monotonic(), _news(state)
            if news != told or now - told_at >= self._settings.progress_interval_seconds:
                count += 1
                told, told_at = news, now
                await request.session.report_progress(count, None, f"Run `{run_id}`: {texts.progress(state)}")

    async def find(self, executor: Executor, run_id: str, definition: WorkflowDefinition | None) -> RunState:
        """The run, if it is one of `definition`'s. A missing run and another workflow's look the same. Raises NotFound."""
        state = await executor.describe_run(run_id)
        if definition is not None and state.workflow != definition.name:
            raise NotFound(f"There is no run `{run_id}`.")
        return state

    def shown(
        self,
        state: RunState,
        definition: WorkflowDefinition | None,
        tools: Mapping[str, str],
        *,
        existing: bool = False,
    ) -> Shown:
        run = show(state, definition, tools, existing=existing)
        return Shown(state, run, texts.describe(state, run, tools))

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


def _news(state: RunState) -> str:
    """What is worth telling: without the passing of time."""
    steps = [(step.name, step.attempt, step.partial_text, step.progress) for step in state.steps]
    return f"{state.progress} {steps}"


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
        expected = ", ".join(f"`{name}`" for name in names) or "nothing"
        raise InvalidArguments(f"`payload`: signal `{handler.name}` takes {expected}; give an object with these keys.")
    return bind(handler.function, {(required or names)[0]: payload})
