"""Whole agent runs against faulty providers: real SDKs over real HTTP to two independent fakes, on both engines."""

import base64
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import anyio
import pytest

from mcp_agent.errors import RunCancelledError, RunFailedError
from mcp_agent.executor.executor import Executor, WorkflowHandle
from mcp_agent.executor.runs import RunState
from mcp_agent.executor.temporal.executor import TemporalExecutor
from tests.fakes import AIMock, Answer, Breaks, Calls, Fake, LLMockFake, Refuses, Says
from tests.faults.conftest import BROKEN_CALL, EMPTY, KEY, TOKEN, TRIES
from tests.faults.desk import PROVIDERS
from tests.relay import Answers, Fault, Relay
from tests.support import until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.promise("issue: under every provider fault the status says what is going on and the run ends rightly"),
]
FINE = Says("fine")
LONG = "an answer that is long enough to be cut off in the middle of what it says, however it is sent"
NAMES = {400: "BadRequestError", 401: "AuthenticationError", 404: "NotFoundError", 500: "InternalServerError"}
GOOGLES_NAMES = {400: "InvalidArgument", 401: "Unauthenticated", 404: "NotFound", 500: "Internal"}
SOON = 20.0
"""Seconds within which a request must come."""


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    return request.param


PROVIDER_FAULTS: dict[str, tuple[Answer, str]] = {
    "429": (Refuses(429, retry_after=0.2), "status 429"),
    "500": (Refuses(500), "status 500"),
    "529": (Refuses(529), "status 529"),
    "broken stream": (Breaks(LONG), "IncompleteResponseError|APIConnectionError"),
}
"""What a fake does once, and how the status tells of it."""

GARBAGE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{oh"
CONNECTION_FAULTS: dict[str, tuple[Fault, str]] = {
    "reset mid-answer": ("reset", "APIConnectionError"),
    "closed mid-answer": ("cut", "APIConnectionError"),
    "stalled answer": ("stall", "APITimeoutError"),
    "malformed JSON": (Answers(GARBAGE), "The answer is not"),
}
"""What happens once on the way, and how the status tells of it."""


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


def error_name(provider: str, status: int) -> str:
    """What a provider's SDK or API calls the error of this status."""
    return (GOOGLES_NAMES if provider == "google" else NAMES)[status]


def added(ledger: Path) -> list[str]:
    """What the tool has added so far."""
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return [line.removeprefix("end ") for line in lines if line.startswith("end ")]


async def while_held(front: Relay, handle: WorkflowHandle[str]) -> RunState:
    """The run's state while a request is held back."""
    with anyio.fail_after(SOON):
        await front.held.wait()
    return await handle.describe()


@pytest.mark.parametrize("what", PROVIDER_FAULTS)
async def test_a_fault_of_the_provider_is_told_while_it_lasts_and_leaves_no_trace_in_the_answer(
    start: Start, fake: Fake, front: Relay, provider: str, question: str, what: str
):
    fault, told = PROVIDER_FAULTS[what]
    await fake.script(question, fault, FINE)
    front.reset(fake.root(provider), hold_from=2)
    await _assert_told_and_over(await start(question), front, told)


@pytest.mark.parametrize("what", CONNECTION_FAULTS)
async def test_a_fault_of_the_connection_is_told_while_it_lasts_and_leaves_no_trace_in_the_answer(
    start: Start, first_fake: LLMockFake, front: Relay, provider: str, question: str, what: str
):
    fault, told = CONNECTION_FAULTS[what]
    await first_fake.script(question, *([] if isinstance(fault, Answers) else [Says(LONG)]), FINE)
    front.reset(first_fake.root(provider), fault, hold_from=2)
    await _assert_told_and_over(await start(question), front, told)


async def _assert_told_and_over(handle: WorkflowHandle[str], front: Relay, told: str) -> None:
    """While the second attempt is held back the status tells of the first; then the run ends rightly."""
    state = await while_held(front, handle)
    (step,) = state.steps
    assert (state.status, step.name, step.attempt) == ("running", "mcp_agent.llm.generate", 2)
    assert re.search(told, step.last_error or "no error")
    assert step.next_retry_at is None
    front.go.set()
    assert (await handle.result()).value == "fine"
    assert len(front.requests) == 2


async def test_a_provider_that_refuses_connections_is_tried_again_until_it_is_there(
    start: Start, first_fake: LLMockFake, front: Relay, provider: str, question: str
):
    await first_fake.script(question, FINE)
    front.reset(first_fake.root(provider))
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
    start: Start, fake: Fake, front: Relay, provider: str, question: str, written: str
):
    until_then = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    head = f"HTTP/1.1 429 Too Many Requests\r\nretry-after: {until_then}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    await fake.script(question, Refuses(429, retry_after=60), FINE)
    front.reset(fake.root(provider), *([Answers(head.encode())] if written == "date" else []))
    handle = await start(question)

    async def waiting() -> RunState | None:
        state = await handle.describe()
        return state if state.steps and state.steps[0].next_retry_at is not None else None

    (step,) = (await until(waiting, SOON)).steps
    assert step.next_retry_at is not None
    assert timedelta(seconds=40) < step.next_retry_at - datetime.now(UTC) <= timedelta(seconds=61)
    assert "status 429" in (step.last_error or "")
    await handle.cancel()
    with pytest.raises(RunCancelledError):
        await handle.result()
    assert len(front.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 404])
async def test_a_fault_that_stays_ends_the_run_at_once_by_its_name(
    start: Start, fake: Fake, front: Relay, provider: str, question: str, status: int
):
    await fake.script(question, Refuses(status), FINE)
    front.reset(fake.root(provider))
    handle = await start(question)

    type_ = error_name(provider, status)
    with pytest.raises(RunFailedError, match="said the provider") as told:
        await handle.result()
    assert told.value.type == type_
    state = await handle.describe()
    assert state.status == "failed"
    assert state.error is not None
    assert state.error.code == type_
    assert len(front.requests) == 1


async def test_a_fault_that_does_not_pass_ends_the_run_after_its_attempts(
    start: Start, first_fake: LLMockFake, front: Relay, provider: str, question: str
):
    await first_fake.script(question, *[Refuses(500)] * TRIES["maximum_attempts"], FINE)
    front.reset(first_fake.root(provider))
    handle = await start(question)

    with pytest.raises(RunFailedError, match="said the provider") as told:
        await handle.result()
    assert told.value.type == error_name(provider, 500)
    assert len(front.requests) == TRIES["maximum_attempts"]


async def test_an_empty_answer_ends_the_run_by_its_name(start: Start, fake: Fake, front: Relay, provider: str, question: str):
    if isinstance(fake, LLMockFake):
        await fake.script(question, Says(""))
    else:
        question = EMPTY
    front.reset(fake.root(provider))
    handle = await start(question)

    with pytest.raises(RunFailedError, match="`empty`") as told:
        await handle.result()
    assert told.value.type == "IncompleteAnswerError"


async def test_a_call_of_an_unknown_tool_is_told_to_the_model(
    start: Start, fake: Fake, front: Relay, provider: str, question: str
):
    await fake.script(question, Calls((("ledger_ad", {}),)), FINE)
    front.reset(fake.root(provider))

    assert (await (await start(question)).result()).value == "fine"
    assert b"There is no tool `ledger_ad`. Did you mean `ledger_add`" in front.requests[1]


async def test_a_call_with_broken_arguments_is_told_to_the_model_and_not_carried_out(
    start: Start, fake: Fake, front: Relay, provider: str, question: str, ledger: Path
):
    before = added(ledger)
    if isinstance(fake, LLMockFake):
        await fake.script(question, Calls((("ledger_add", {"text": "half"}),)), FINE)
        fake.llmock.break_tool_call("malformed_arguments")
    else:
        question = BROKEN_CALL
    front.reset(fake.root(provider))

    assert (await (await start(question)).result()).value == "fine"
    # Where an API has objects for arguments, broken ones are missing ones: then it is the server that refuses them.
    assert re.search(rb"The arguments of `ledger_add` are no JSON object|was refused", front.requests[1])
    assert added(ledger) == before


async def test_calls_with_one_id_are_each_carried_out_and_answered_once(
    start: Start, second_fake: AIMock, front: Relay, provider: str, question: str, ledger: Path
):
    calls = Calls((("ledger_add", {"text": f"1 {question}"}), ("ledger_add", {"text": f"2 {question}"})), ("same", "same"))
    await second_fake.script(question, calls, FINE)
    front.reset(second_fake.root(provider))

    assert (await (await start(question)).result()).value == "fine"
    assert [added(ledger).count(f"{place} {question}") for place in (1, 2)] == [1, 1]
    assert [front.requests[1].count(f"added {place} {question}".encode()) for place in (1, 2)] == [1, 1]


@pytest.mark.promise("issue: no model or tool call that had completed is made again")
async def test_a_fault_after_a_tool_call_does_not_call_the_tool_again(
    start: Start, second_fake: AIMock, front: Relay, provider: str, question: str, ledger: Path
):
    call = Calls((("ledger_add", {"text": question}),))
    await second_fake.script(question, call, Refuses(429, retry_after=1), Refuses(500), FINE)
    front.reset(second_fake.root(provider))

    assert (await (await start(question)).result()).value == "fine"
    assert added(ledger).count(question) == 1
    assert len(front.requests) == 4


@pytest.mark.promise("design: secrets never reach histories, logs, memos or error texts")
async def test_a_key_that_the_provider_quotes_is_nowhere_to_be_found(
    start: Start,
    executor: Executor,
    fake: Fake,
    front: Relay,
    provider: str,
    question: str,
    temporal: Path,
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.DEBUG)
    quoted = f"Incorrect API key provided: {KEY}, in 'Authorization: Bearer {KEY}'"
    await fake.script(question, Refuses(500, quoted), Refuses(401, quoted))
    front.reset(fake.root(provider), hold_from=2)
    handle = await start(question)
    trying = await while_held(front, handle)
    front.go.set()
    with pytest.raises(RunFailedError) as told:
        await handle.result()

    assert KEY.encode() in front.requests[1]
    assert "Incorrect API key" in (trying.steps[0].last_error or "")
    told_to_people = "\n".join([repr(trying), repr(await handle.describe()), str(told.value), caplog.text])
    stored = await history_of(executor, handle.id)
    databases = [file for file in temporal.rglob("*") if file.is_file() and not file.name.endswith((".lock", "-journal"))]
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
