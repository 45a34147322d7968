"""What downstream servers ask of a run, on both engines: its person and its model answer."""

import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from mcp_agent.config import Settings
from mcp_agent.errors import InvalidArguments, RunCancelledError
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.runs import Answer, RunState
from tests.behaviour import downstream_desk as desk
from tests.mcp.able_server import FORM, Able, serving
from tests.support import until

pytestmark = pytest.mark.anyio
ABLE = Path(__file__).parents[1] / "mcp" / "able_server.py"
ODD = Path(__file__).parents[1] / "mcp" / "odd_server.py"
ERAS = ["modern", "legacy"]
SECRET = "planted-token-of-able"


@pytest.fixture(scope="module")
async def served() -> AsyncGenerator[tuple[Able, str], None]:
    server = Able()
    async with serving(server.streamable_http_app(streamable_http_path="/mcp")) as base:
        yield server, f"{base}/mcp"


@pytest.fixture(scope="module", params=["asyncio", "temporal"])
async def executor(
    request: pytest.FixtureRequest,
    temporal: Path,
    served: tuple[Able, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncGenerator[Executor, None]:
    program = {"command": sys.executable, "args": [str(ABLE)], "env": {"ABLE_TOKEN": SECRET}}
    odd = {"command": sys.executable, "args": [str(ODD)], "env": {"ODD_PID": str(tmp_path_factory.mktemp("odd") / "pid")}}
    servers = {
        "modern": program,
        "legacy": program | {"protocol": "legacy"},
        "hasty": program | {"protocol": "legacy", "ask_timeout_seconds": 0.3},
        "web": {"url": served[1], "protocol": "legacy"},
        "odd": odd,
        "broken": {
            "command": sys.executable,
            "args": ["-c", "import os, sys; sys.exit('no database: ' + os.environ['BROKEN_TOKEN'])"],
            "env": {"BROKEN_TOKEN": SECRET},
        },
    }
    settings: dict[str, Any] = {"execution_engine": request.param, "mcp": {"servers": servers}}
    if request.param == "temporal":
        settings["temporal"] = {"data_dir": temporal}
    desk.app.use(Settings(**settings))
    async with desk.app.open_executor(worker=True) as opened:
        yield opened


async def asking(handle: Any) -> RunState:
    async def there() -> RunState | None:
        state = await handle.describe()
        assert not state.closed, state
        return state if state.pending_inputs else None

    return await until(there)


@pytest.mark.promise("issue: a downstream elicitation reaches the run's person")
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ({"size": "small", "count": 2}, "accept {'size': 'small', 'count': 2}"),
        ({"action": "accept", "content": {"size": "large"}}, "accept {'size': 'large'}"),
        (False, "decline None"),
        ({"action": "cancel"}, "cancel None"),
    ],
)
async def test_a_person_answers_what_a_server_asks(executor: Executor, era: str, payload: Any, told: str):
    handle = await executor.start_workflow("Calls", era, "ask", {})
    state = await asking(handle)
    (request,) = state.pending_inputs
    assert state.status == "waiting_for_input"
    assert (request.kind, request.name, request.schema_) == ("elicitation", f"{era}.ask", FORM)
    assert request.message == f"MCP server `{era}` asks, for its tool `ask`: Which size?"
    await executor.answer_run(handle.id, Answer(request_id=request.request_id, payload=payload))
    assert (await handle.result()).value == told


async def test_an_answer_that_does_not_fit_is_refused_and_the_question_stays_open(executor: Executor):
    handle = await executor.start_workflow("Calls", "modern", "ask", {})
    (request,) = (await asking(handle)).pending_inputs
    for payload, why in [
        ({"size": "huge"}, "`size`: must be one of `small`, `large`"),
        ({}, "`size`: this field is required"),
        ({"size": "small", "count": 0}, "`count`: must be at least 1"),
        ({"size": "small", "count": "2"}, "`count`: must be of type integer"),
        ({"size": "small", "colour": "red"}, "`colour`: there is no such field"),
        ("large", "answer with an object"),
    ]:
        with pytest.raises(InvalidArguments, match=why):
            await executor.answer_run(handle.id, Answer(request_id=request.request_id, payload=payload))
    await executor.answer_run(handle.id, Answer(request_id=request.request_id, payload={"size": "small"}))
    assert (await handle.result()).value == "accept {'size': 'small'}"


@pytest.mark.parametrize("era", ERAS)
async def test_a_server_that_asks_twice_is_answered_twice(executor: Executor, era: str):
    handle = await executor.start_workflow("Calls", era, "ask_twice", {})
    for size, question in (("small", "First?"), ("large", "Second?")):

        async def asked(question: str = question) -> Any:
            state = await handle.describe()
            return [one for one in state.pending_inputs if question in one.message]

        (request,) = await until(asked)
        await executor.answer_run(handle.id, Answer(request_id=request.request_id, payload={"size": size}))
    assert "large" in (await handle.result()).value


@pytest.mark.parametrize(("payload", "action"), [(True, "accept"), (False, "decline")])
async def test_a_person_is_shown_the_address_that_a_server_wants_opened(executor: Executor, payload: bool, action: str):
    handle = await executor.start_workflow("Calls", "modern", "sign_in", {})
    (request,) = (await asking(handle)).pending_inputs
    assert request.url == "https://login.example/form"
    await executor.answer_run(handle.id, Answer(request_id=request.request_id, payload=payload))
    assert (await handle.result()).value == action


@pytest.mark.promise("issue: a downstream sampling request reaches the run's model")
@pytest.mark.parametrize("era", ERAS)
async def test_a_model_answers_what_a_server_asks(executor: Executor, era: str):
    handle = await executor.start_workflow("Calls", era, "think", {})
    assert (await handle.result()).value == "A word? Moss."


@pytest.mark.parametrize("era", ERAS)
async def test_where_no_model_answers_the_request_is_refused(executor: Executor, era: str):
    handle = await executor.start_workflow("Calls", era, "think", {}, False)
    assert "refused" in (await handle.result()).value


@pytest.mark.parametrize("era", ERAS)
async def test_in_a_step_there_is_no_person_and_questions_are_declined(executor: Executor, era: str):
    handle = await executor.start_workflow("Inside", era, "ask")
    assert (await handle.result()).value == "decline None"


async def test_a_server_that_asks_without_end_is_given_up(executor: Executor):
    handle = await executor.start_workflow("Calls", "modern", "wonders", {})
    assert (await handle.result()).value.startswith("error: `wonders` of MCP server `modern` asked more than 20 times")


async def test_a_question_that_nobody_answers_in_time_is_withdrawn_and_the_server_told(executor: Executor):
    handle = await executor.start_workflow("Calls", "hasty", "ask", {})
    assert (await handle.result()).value == "cancel None"
    assert not (await handle.describe()).pending_inputs


async def test_prompts_and_resources_are_steps_of_a_run(executor: Executor):
    handle = await executor.start_workflow("Reads", "modern")
    assert (await handle.result()).value == ["brief", "able://text", "able://{name}", "inside"]


@pytest.mark.promise("issue: a run that is cancelled while a downstream server waits for a person ends the call there")
async def test_a_run_that_is_cancelled_ends_the_call_that_is_held_open(executor: Executor, served: tuple[Able, str]):
    server, _ = served
    server.ended.clear()
    handle = await executor.start_workflow("Calls", "web", "ask", {})
    await asking(handle)
    await handle.cancel()
    with pytest.raises(RunCancelledError):
        await handle.result()

    async def ended() -> bool:
        return server.ended == ["ask"]

    await until(ended)


@pytest.mark.promise("issue: a run's status tells the progress of a downstream tool")
async def test_a_run_s_status_tells_how_far_a_downstream_tool_is(executor: Executor, served: tuple[Able, str]):
    server, _ = served
    server.gate.clear()
    handle = await executor.start_workflow("Calls", "web", "counts", {})

    async def progressed() -> Any:
        return [step.progress for step in (await handle.describe()).steps if step.progress is not None]

    (progress,) = await until(progressed)
    assert (progress.done, progress.total, progress.message) == (1, 3, "one of three")
    server.gate.set()
    assert (await handle.result()).value == "counted"


@pytest.mark.promise("fault: a downstream server that dies while a person is asked: a named error, and no hanging run")
async def test_a_call_whose_server_dies_while_a_person_is_asked_ends_in_a_named_error(executor: Executor):
    handle = await executor.start_workflow("Calls", "legacy", "ask", {})
    (request,) = (await asking(handle)).pending_inputs
    for pid in _children_running(ABLE, os.getpid()):
        os.kill(pid, signal.SIGKILL)
    await executor.answer_run(handle.id, Answer(request_id=request.request_id, payload={"size": "small"}))
    assert (await handle.result()).value.startswith("DownstreamUnavailable: ")


@pytest.mark.promise(
    "fault: a downstream server that dies at start: the run's status says so, and the run ends with a named error"
)
async def test_a_server_that_dies_at_start_is_seen_in_the_status_and_named_at_the_end(executor: Executor):
    handle = await executor.start_workflow("Calls", "broken", "any", {})

    async def trouble() -> Any:
        return [step.last_error for step in (await handle.describe()).steps if step.last_error]

    (error,) = await until(trouble)
    assert "MCP server `broken`" in error
    assert "ended while it started (no database: ***)" in error
    assert "it is tried again in" in error
    await handle.cancel()
    with pytest.raises(RunCancelledError):
        await handle.result()


@pytest.mark.promise(
    "issue: secrets planted in a downstream server's environment and errors are absent from run, status and history"
)
@pytest.mark.parametrize(("server", "arguments"), [("modern", {}), ("legacy", {"refuse": True}), ("broken", {})])
async def test_a_server_s_secrets_are_in_no_history_and_no_status(executor: Executor, server: str, arguments: dict[str, Any]):
    handle: Any = await executor.start_workflow("Calls", server, "leaks", arguments)
    if server == "broken":

        async def told() -> Any:
            return [step for step in (await handle.describe()).steps if step.last_error]

        assert "***" in repr(await until(told))
        await handle.cancel()
        with pytest.raises(RunCancelledError):
            await handle.result()
    else:
        assert "my key is ***" in (await handle.result()).value
    assert SECRET not in repr(await handle.describe())
    if executor.engine == "temporal":
        assert SECRET not in (await handle.temporal.fetch_history()).to_json()


def _children_running(program: Path, ancestor: int) -> list[int]:
    """Processes below `ancestor` that run `program` themselves."""
    parents: dict[int, int] = {}
    running: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            line = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(program).encode() in line and not any(b"guard.py" in part for part in line):
            running.append(int(entry.name))

    def below(pid: int) -> bool:
        while pid > 1 and pid != ancestor:
            pid = parents.get(pid, 0)
        return pid == ancestor

    return [pid for pid in running if below(pid)]
