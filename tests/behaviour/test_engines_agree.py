"""Random conversations with a run are the same on both engines: what can be seen of it is compared after each step."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from mcp_agent.config import Settings
from mcp_agent.errors import MCPAgentError
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.runs import Answer
from mcp_agent.executor.temporal.binary import find_or_make_binary
from mcp_agent.executor.temporal.dev_server import GRACE_VARIABLE, data_dir, ensure, status
from tests.behaviour import machine_desk as desk
from tests.support import until_gone

NAMES = st.sampled_from(["a", "b"])
SMALL = st.integers(-1, 3)


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Any]:
    """A thread with both engines open; gives what calls a coroutine function there."""
    with pytest.MonkeyPatch.context() as patch, anyio.from_thread.start_blocking_portal() as portal:
        patch.setenv(GRACE_VARIABLE, "0")
        opened = portal.wrap_async_context_manager(_Engines(tmp_path))
        with opened as executors:
            yield portal, executors
        folder = tmp_path / "data"
        server = status(folder)
        if server is not None:
            portal.call(until_gone, server.keeper_pid, server.server_pid)


class _Engines:
    """Both engines of one app, for as long as it is entered."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._exits: list[Any] = []

    async def __aenter__(self) -> list[Executor]:
        binary = await find_or_make_binary(None, print)
        keeping = ensure(data_dir(self._folder / "data"), binary, print)
        await keeping.__aenter__()
        self._exits.append(keeping)
        executors: list[Executor] = []
        for engine in ("asyncio", "temporal"):
            app = desk.make() if engine == "asyncio" else desk.app
            app.use(Settings(execution_engine=engine, temporal={"data_dir": self._folder / "data", "binary": binary}))
            opening = app.open_executor(worker=True)
            executors.append(await opening.__aenter__())
            self._exits.append(opening)
        return executors

    async def __aexit__(self, *_: object) -> None:
        for entered in reversed(self._exits):
            await entered.__aexit__(None, None, None)


def machine(portal: Any, executors: list[Executor]) -> type[RuleBasedStateMachine]:
    """The state machine for two engines."""

    class Conversation(RuleBasedStateMachine):
        @initialize()
        def start(self) -> None:
            self.ids = [portal.call(self._start, executor) for executor in executors]
            self.closed = False

        async def _start(self, executor: Executor) -> str:
            return (await executor.start_workflow("Machine")).id

        def both(self, action: Any) -> None:
            """Does the same on both engines and compares what each says, and what can be seen after it."""
            seen = [
                portal.call(self._observed, executor, run_id, action)
                for executor, run_id in zip(executors, self.ids, strict=True)
            ]
            assert seen[0] == seen[1]
            self.closed = seen[0][1] in ("completed", "failed", "cancelled", "terminated")

        async def _observed(self, executor: Executor, run_id: str, action: Any) -> tuple[Any, ...]:
            try:
                said = await action(executor, executor.get_handle(run_id))
            except MCPAgentError as error:
                said = (type(error).__name__, getattr(error, "type", None))
            async with asyncio.timeout(20):
                while True:  # what was sent is taken up in a moment
                    state = await executor.describe_run(run_id)
                    if state.closed or not state.steps:
                        break
                    await asyncio.sleep(0.01)
            asked = [request.request_id for request in state.pending_inputs]
            told = await executor.get_handle(run_id).query("notes")
            state = await executor.describe_run(run_id)
            ending = (state.result, state.error.code if state.error else None)
            return said, state.status, asked, told, ending

        @rule(name=NAMES, number=SMALL)
        def signal(self, name: str, number: int) -> None:
            self.both(lambda executor, handle: handle.signal("note", name, number))

        @rule(number=SMALL)
        def update(self, number: int) -> None:
            self.both(lambda executor, handle: handle.update("add", number))

        @rule(how=st.sampled_from(["fine", "fails", "flaky"]))
        def step(self, how: str) -> None:
            self.both(lambda executor, handle: handle.update("step", how))

        @rule()
        def sleep(self) -> None:
            self.both(lambda executor, handle: handle.update("nap"))

        @rule(text=st.sampled_from(["x", "y", 5]))
        def answer(self, text: Any) -> None:
            async def give(executor: Executor, handle: Any) -> Any:
                receipt = await executor.answer_run(handle.id, Answer(name="word", payload=text))
                return receipt.duplicate, receipt.early, receipt.request_id

            self.both(give)

        @rule()
        def ask(self) -> None:
            self.both(lambda executor, handle: handle.update("ask"))

        @precondition(lambda self: not self.closed)
        @rule(how=st.sampled_from(["completed", "error", "fails"]))
        def end(self, how: str) -> None:
            async def stop(executor: Executor, handle: Any) -> Any:
                await handle.signal("stop", how)
                return (await handle.result()).error

            self.both(stop)

        @rule()
        def cancel(self) -> None:
            async def stop(executor: Executor, handle: Any) -> Any:
                await handle.cancel()
                return (await handle.result()).value

            self.both(stop)

        @rule()
        def query(self) -> None:
            self.both(lambda executor, handle: handle.query("nothing"))

        def teardown(self) -> None:
            for executor, run_id in zip(executors, self.ids, strict=True):
                portal.call(executor.get_handle(run_id).terminate)

    return Conversation


@pytest.mark.promise("issue: a state machine compares the engines")
def test_random_conversations_are_the_same_on_both_engines(engines: Any):
    portal, executors = engines
    run_state_machine_as_test(
        machine(portal, executors),
        settings=settings(
            max_examples=25,
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
