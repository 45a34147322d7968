"""Whole agent runs against faulty providers: real SDKs over real HTTP to two independent fakes, on both engines."""

import base64
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import anyio
import pytest

from mcp_agent.errors import RunCancelledError, RunFailedError
from mcp_agent.executor.executor import Executor, WorkflowHandle
from mcp_agent.executor.runs import RunState
from mcp_agent.executor.temporal.executor import TemporalExecutor
from tests.fakes import AIMock, Answer, Calls, Fake, LLMockFake, Refuses, Says
from tests.faults.conftest import BROKEN_CALL, EMPTY, KEY, TOKEN, TRIES
from tests.faults.desk import PROVIDERS
from tests.relay import Answers, Fault, Relay
from tests.support import until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.promise("issue: under every provider fault the status says what is going on and the run ends rightly"),
]
FINE = Says("fine")
LONG = Says("an answer that is long enough to be cut off in the middle of what it says")
SOON = 20.0
"""Seconds within which a request must come."""


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    return request.param


@dataclass(frozen=True)
class Passing:
    """A fault that is over with the next attempt, and how the status tells of it."""

    told: str
    answers: tuple[Answer, ...] = ()
    faults: tuple[Fault, ...] = ()


PASSING = {
    "429": Passing("RateLimitError", (Refuses(429, retry_after=0.2),)),
    "500": Passing("InternalServerError", (Refuses(500),)),
    "529": Passing("529", (Refuses(529),)),
    "reset mid-answer": Passing("APIConnectionError", (LONG,), ("reset",)),
    "closed mid-answer": Passing("APIConnectionError", (LONG,), ("cut",)),
    "stalled answer": Passing("APITimeoutError", (LONG,), ("stall",)),
    "malformed JSON": Passing(
        "The answer is not", (), (Answers(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{oh"),)
    ),
}


Start = Callable[[str], Awaitable[WorkflowHandle[str]]]


@pytest.fixture
async def start(executor: Executor, provider: str, front: Relay) -> AsyncGenerator[Start, None]:
    """Starts a run; none is left when the test has ended."""
    handles: list[WorkflowHandle[str]] = []

    async def started(question: str) -> WorkflowHandle[str]:
        handles.append(await executor.start_workflow("Asks", provider, question))
        return handles[-1]

    yield started
    front.go.set()
    for handle in handles:
        if not (await handle.describe()).closed:
            await handle.terminate()


async def while_held(front: Relay, handle: WorkflowHandle[str]) -> RunState:
    """The run's state while a request is held back."""
    with anyio.fail_after(SOON):
        await front.held.wait()
    return await handle.describe()


@pytest.mark.parametrize("what", PASSING)
async def test_a_fault_that_passes_is_told_while_it_lasts_and_leaves_no_trace_in_the_answer(
    start: Start, fake: Fake, front: Relay, question: str, what: str
):
    fault = PASSING[what]
    await fake.script(question, *fault.answers, FINE)
    front.reset(fake.root, *fault.faults, hold_from=2)
    handle = await start(question)

    state = await while_held(front, handle)
    (step,) = state.steps
    assert (state.status, step.name, step.attempt) == ("running", "mcp_agent.llm.generate", 2)
    assert fault.told in (step.last_error or "no error")
    assert step.next_retry_at is None
    front.go.set()
    assert (await handle.result()).value == "fine"
    assert len(front.requests) == 2


async def test_a_provider_that_refuses_connections_is_tried_again_until_it_is_there(
    start: Start, fake: Fake, front: Relay, question: str
):
    await fake.script(question, FINE)
    front.reset(fake.root)
    await front.refuse()
    handle = await start(question)

    async def refused() -> RunState | None:
        state = await handle.describe()
        return state if state.steps and state.steps[0].attempt > 1 else None

    state = await until(refused, SOON)
    await front.listen()
    assert "APIConnectionError" in (state.steps[0].last_error or "")
    assert front.root in (state.steps[0].last_error or "")
    assert (await handle.result()).value == "fine"


@pytest.mark.parametrize("written", ["seconds", "date"])
async def test_the_provider_says_when_to_ask_again_and_the_status_shows_it(
    start: Start, fake: Fake, front: Relay, question: str, written: str
):
    until_then = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    head = f"HTTP/1.1 429 Too Many Requests\r\nretry-after: {until_then}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    await fake.script(question, Refuses(429, retry_after=60), FINE)
    front.reset(fake.root, *([Answers(head.encode())] if written == "date" else []))
    handle = await start(question)

    async def waiting() -> RunState | None:
        state = await handle.describe()
        return state if state.steps and state.steps[0].next_retry_at is not None else None

    (step,) = (await until(waiting, SOON)).steps
    assert step.next_retry_at is not None
    assert timedelta(seconds=40) < step.next_retry_at - datetime.now(UTC) <= timedelta(seconds=61)
    assert "RateLimitError" in (step.last_error or "")
    await handle.cancel()
    with pytest.raises(RunCancelledError):
        await handle.result()
    assert len(front.requests) == 1


@pytest.mark.parametrize(("status", "type_"), [(400, "BadRequestError"), (401, "AuthenticationError"), (404, "NotFoundError")])
async def test_a_fault_that_stays_ends_the_run_at_once_by_its_name(
    start: Start, fake: Fake, front: Relay, question: str, status: int, type_: str
):
    await fake.script(question, Refuses(status), FINE)
    front.reset(fake.root)
    handle = await start(question)

    with pytest.raises(RunFailedError, match="said the provider") as told:
        await handle.result()
    assert told.value.type == type_
    state = await handle.describe()
    assert state.status == "failed"
    assert state.error is not None
    assert state.error.code == type_
    assert len(front.requests) == 1


async def test_a_fault_that_does_not_pass_ends_the_run_after_its_attempts(start: Start, fake: Fake, front: Relay, question: str):
    await fake.script(question, *[Refuses(500)] * TRIES["maximum_attempts"], FINE)
    front.reset(fake.root)
    handle = await start(question)

    with pytest.raises(RunFailedError, match="said the provider") as told:
        await handle.result()
    assert told.value.type == "InternalServerError"
    assert len(front.requests) == TRIES["maximum_attempts"]


async def test_an_empty_answer_ends_the_run_by_its_name(start: Start, fake: Fake, front: Relay, question: str):
    if isinstance(fake, LLMockFake):
        await fake.script(question, Says(""))
    else:
        question = EMPTY
    front.reset(fake.root)
    handle = await start(question)

    with pytest.raises(RunFailedError, match="`empty`") as told:
        await handle.result()
    assert told.value.type == "IncompleteAnswerError"


async def test_a_call_of_an_unknown_tool_is_told_to_the_model(start: Start, fake: Fake, front: Relay, question: str):
    await fake.script(question, Calls((("ledger_ad", {}),)), FINE)
    front.reset(fake.root)

    assert (await (await start(question)).result()).value == "fine"
    assert b"There is no tool `ledger_ad`. Did you mean `ledger_add`" in front.requests[1]


async def test_a_call_with_broken_arguments_is_told_to_the_model_and_not_carried_out(
    start: Start, fake: Fake, front: Relay, question: str, ledger: Path
):
    before = ledger.read_text() if ledger.exists() else ""
    if isinstance(fake, LLMockFake):
        await fake.script(question, Calls((("ledger_add", {"text": "half"}),)), FINE)
        fake.llmock.break_tool_call("malformed_arguments")
    else:
        question = BROKEN_CALL
    front.reset(fake.root)

    assert (await (await start(question)).result()).value == "fine"
    assert b"The arguments of `ledger_add` are no JSON object" in front.requests[1]
    assert (ledger.read_text() if ledger.exists() else "") == before


async def test_calls_with_one_id_are_each_carried_out_and_answered_once(
    start: Start, second_fake: AIMock, front: Relay, question: str, ledger: Path
):
    calls = Calls((("ledger_add", {"text": f"1 {question}"}), ("ledger_add", {"text": f"2 {question}"})), ("same", "same"))
    await second_fake.script(question, calls, FINE)
    front.reset(second_fake.root)

    assert (await (await start(question)).result()).value == "fine"
    noted = ledger.read_text().splitlines()
    assert [noted.count(f"end {place} {question}") for place in (1, 2)] == [1, 1]
    assert [front.requests[1].count(f"added {place} {question}".encode()) for place in (1, 2)] == [1, 1]


@pytest.mark.promise("issue: no model or tool call that had completed is made again")
async def test_a_fault_after_a_tool_call_does_not_call_the_tool_again(
    start: Start, second_fake: AIMock, front: Relay, question: str, ledger: Path
):
    call = Calls((("ledger_add", {"text": question}),))
    await second_fake.script(question, call, Refuses(429, retry_after=1), Refuses(500), FINE)
    front.reset(second_fake.root)

    assert (await (await start(question)).result()).value == "fine"
    assert ledger.read_text().splitlines().count(f"end {question}") == 1
    assert len(front.requests) == 4


@pytest.mark.promise("design: secrets never reach histories, logs, memos or error texts")
async def test_a_key_that_the_provider_quotes_is_nowhere_to_be_found(
    start: Start,
    executor: Executor,
    fake: Fake,
    front: Relay,
    question: str,
    temporal: Path,
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.DEBUG)
    quoted = f"Incorrect API key provided: {KEY}, in 'Authorization: Bearer {KEY}'"
    await fake.script(question, Refuses(500, quoted), Refuses(401, quoted))
    front.reset(fake.root, hold_from=2)
    handle = await start(question)
    trying = await while_held(front, handle)
    front.go.set()
    with pytest.raises(RunFailedError) as told:
        await handle.result()

    assert KEY.encode() in front.requests[1]
    assert "Incorrect API key" in (trying.steps[0].last_error or "")
    told_to_people = "\n".join([repr(trying), repr(await handle.describe()), str(told.value), caplog.text])
    stored = await history_of(executor, handle.id)
    databases = [file for file in temporal.rglob("*") if file.is_file() and file.suffix != ".lock"]
    kept = b"".join(file.read_bytes() for file in databases) if stored else b""
    assert not stored or question.encode() in kept
    for secret in (KEY, TOKEN):
        assert secret not in told_to_people
        assert secret not in stored
        assert secret.encode() not in kept


async def history_of(executor: Executor, run_id: str) -> str:
    """Everything that Temporal keeps of the run, decoded; nothing in-process."""
    if not isinstance(executor, TemporalExecutor):
        return ""
    history = await executor.client.get_workflow_handle(run_id).fetch_history()
    payloads = re.findall(r'"data": "([^"]+)"', history.to_json())
    return history.to_json() + "".join(base64.b64decode(data).decode() for data in payloads)
