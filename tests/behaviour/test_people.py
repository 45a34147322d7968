"""People in the loop: what a run asks, and what becomes of answers that are early, late, wrong, or never come."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata

from mcp_agent.config import Settings
from mcp_agent.errors import AlreadyAnswered, InvalidArguments, NotInWorkflowError, NotWaiting
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.runs import Answer, PendingInput, Receipt
from mcp_agent.executor.temporal.executor import TemporalExecutor
from mcp_agent.server.run import show
from mcp_agent.server.texts import describe
from mcp_agent.server.workflow_tools import GENERIC
from tests.behaviour import people_desk, restart_desk
from tests.support import until

pytestmark = pytest.mark.anyio


async def asked(executor: Executor, run_id: str, *names: str) -> list[PendingInput]:
    """What a run asks, as soon as these requests are open."""

    async def open_now() -> list[PendingInput]:
        state = await executor.describe_run(run_id)
        assert not state.closed, state
        return [one for one in state.pending_inputs if one.request_id in names]

    async def all_open() -> list[PendingInput] | None:
        found = await open_now()
        return found if len(found) == len(names) else None

    return await until(all_open)


async def ask(executor: Executor, what: str, name: str = "elicitation#1") -> tuple[Any, PendingInput]:
    handle = await executor.start_workflow("Elicits", what)
    (request,) = await asked(executor, handle.id, name)
    return handle, request


async def answer(executor: Executor, handle: Any, request_id: str, payload: Any) -> Receipt:
    return await executor.answer_run(handle.id, Answer(request_id=request_id, payload=payload))


class TestAnswers:
    @pytest.mark.promise("issue: context.elicit asks a person and gives the answer in its type")
    @pytest.mark.parametrize(
        ("payload", "value"),
        [
            ({"drink": "tea", "size": "large"}, ["accept", {"drink": "tea", "size": "large", "sugar": None}, False]),
            (
                {"action": "accept", "content": {"drink": "tea", "sugar": 2}},
                ["accept", {"drink": "tea", "size": "small", "sugar": 2}, False],
            ),
            ({"action": "decline"}, ["decline", None, False]),
            ({"action": "cancel", "content": None}, ["cancel", None, False]),
            (False, ["decline", None, False]),
            (None, ["decline", None, False]),
        ],
    )
    async def test_a_person_answers_declines_or_cancels(self, executor: Executor, payload: Any, value: Any):
        handle, request = await ask(executor, "model", "cup#1")
        assert (request.kind, request.name, request.message, request.url) == ("elicitation", "cup", "What may I bring?", None)
        assert (request.schema_ or {})["required"] == ["drink"]
        assert request.expires_at is None
        await answer(executor, handle, "cup#1", payload)
        assert (await handle.result()).value == value

    @pytest.mark.parametrize(
        ("what", "payload", "value"),
        [
            ("form", {"drink": "milk"}, ["accept", {"drink": "milk", "cups": 1}, False]),
            ("text", "Ada", ["accept", "Ada", False]),
            ("truth", False, ["accept", False, False]),
            ("truth", None, ["decline", None, False]),
            ("address", True, ["accept", None, False]),
            ("address", False, ["decline", None, False]),
            ("inline", "Ada", ["accept", "Ada", False]),
        ],
    )
    async def test_every_kind_of_question_has_its_kind_of_answer(self, executor: Executor, what: str, payload: Any, value: Any):
        handle, request = await ask(executor, what)
        assert request.url == ("https://pay.example/7" if what == "address" else None)
        await answer(executor, handle, "elicitation#1", payload)
        assert (await handle.result()).value == value

    @pytest.mark.promise("issue: answers are validated before they are accepted")
    async def test_a_wrong_answer_is_refused_with_every_reason_and_the_question_stays_open(self, executor: Executor):
        handle, _ = await ask(executor, "form")
        for payload, why in [
            ({"drink": "wine", "cups": 0}, "`drink`: must be one of `tea`, `milk`; `cups`: must be at least 1"),
            ({"action": "accept", "content": None}, "`drink`: this field is required"),
            ("tea", "answer with an object"),
        ]:
            with pytest.raises(InvalidArguments, match=why):
                await answer(executor, handle, "elicitation#1", payload)
        assert (await executor.describe_run(handle.id)).status == "waiting_for_input"
        await answer(executor, handle, "elicitation#1", {"drink": "tea", "cups": 2})
        assert (await handle.result()).value[1] == {"drink": "tea", "cups": 2}

    async def test_twice_the_same_is_harmless_and_something_else_is_refused(self, executor: Executor):
        handle, _ = await ask(executor, "several", "n#2")
        assert not (await answer(executor, handle, "n#2", "yes")).duplicate
        assert (await answer(executor, handle, "n#2", "yes")).duplicate
        with pytest.raises(AlreadyAnswered):
            await answer(executor, handle, "n#2", "no")
        await executor.cancel_run(handle.id)

    async def test_several_questions_of_one_name_are_open_at_once(self, executor: Executor):
        handle = await executor.start_workflow("Elicits", "several")
        pending = await asked(executor, handle.id, "n#1", "n#2", "n#3", "n#4")
        assert [request.kind for request in pending] == ["elicitation"] * 3 + ["signal"]
        for number in (4, 2, 3, 1):
            await answer(executor, handle, f"n#{number}", f"answer {number}")
        assert (await handle.result()).value == ["answer 1", "answer 2", "answer 3", "answer 4"]

    async def test_handlers_ask_too(self, executor: Executor):
        handle = await executor.start_workflow("AsksInHandler")
        await handle.signal("begin")
        await asked(executor, handle.id, "in signal#1")
        updating = asyncio.create_task(handle.update("ask"))
        await asked(executor, handle.id, "in signal#1", "in update#1")
        await answer(executor, handle, "in update#1", "two")
        assert await updating == ["accept", "two", False]
        await answer(executor, handle, "in signal#1", "one")
        assert (await handle.result()).value == {"signal": ["accept", "one", False], "update": ["accept", "two", False]}

    async def test_an_answer_that_comes_before_the_question_is_kept_for_it(self, executor: Executor):
        handle, _ = await ask(executor, "in_turn", "cup#1")
        assert (await executor.answer_run(handle.id, Answer(name="elicitation", payload="Ada"))).early
        await answer(executor, handle, "cup#1", False)
        assert (await handle.result()).value == [["decline", None, False], ["accept", "Ada", False]]

    async def test_what_cannot_be_asked_is_refused_by_name(self, executor: Executor):
        refused = (await (await executor.start_workflow("Misuses")).result()).value
        assert all(text.startswith("InvalidArguments: ") for text in refused)
        for text, why in zip(
            refused,
            [
                "`default` needs a `timeout`",
                "`default` does not fit `schema`: `drink`",
                "`default` does not fit `schema`: `drink`: must be one of",
                "`schema` is more than MCP's forms can ask",
                "`url` is `javascript:alert(1)`",
                "`default` needs a `schema`",
                "`schema` and `url` do not go together",
                "`name` is empty",
            ],
            strict=True,
        ):
            assert why in text

    async def test_outside_of_a_run_there_is_nobody_to_ask(self):
        with pytest.raises(NotInWorkflowError):
            await people_desk.app.context.elicit("Anybody?")


class TestEndings:
    @pytest.mark.promise("issue: a question that expires has its default taken")
    async def test_nobody_in_time_means_the_default(self, executor: Executor):
        handle = await executor.start_workflow("Elicits", "default")
        expected = ["accept", {"drink": "tea", "size": "small", "sugar": None}, True]
        assert (await handle.result()).value == expected

    @pytest.mark.promise("issue: an answer after the expiry is refused and told when that was")
    async def test_without_a_default_it_is_a_timeout_and_a_late_answer_is_told_when(self, executor: Executor):
        handle, request = await ask(executor, "expiry", "elicitation#2")
        with pytest.raises(NotWaiting, match=rf"`elicitation#1` expired at {request.created_at:%Y-%m-%dT%H:}"):
            await answer(executor, handle, "elicitation#1", True)
        await answer(executor, handle, "elicitation#2", True)
        first, second = (await handle.result()).value
        assert first.startswith("`elicitation#1` was not answered within 0:00:00.1")
        assert second == ["accept", True, False]

    async def test_a_question_whose_scope_ends_is_withdrawn(self, executor: Executor):
        handle, _ = await ask(executor, "scope", "elicitation#2")
        with pytest.raises(NotWaiting, match="`elicitation#1` was withdrawn at"):
            await answer(executor, handle, "elicitation#1", True)
        with pytest.raises(NotWaiting, match="no request `elicitation#3`: it waits for `elicitation#2`"):
            await answer(executor, handle, "elicitation#3", True)
        await answer(executor, handle, "elicitation#2", True)
        assert (await handle.result()).value == ["accept", True, False]

    async def test_clients_are_told_when_a_question_expires(self, executor: Executor):
        handle, request = await ask(executor, "signal_in_time", "go#1")
        assert request.expires_at == request.created_at + timedelta(minutes=10)
        state = await executor.describe_run(handle.id)
        assert "Without an answer the run goes on in " in describe(state, show(state, None, GENERIC), GENERIC)
        await answer(executor, handle, "go#1", "now")
        assert (await handle.result()).value == "now"

    @pytest.mark.promise("issue: requests across continue-as-new")
    async def test_continue_as_new_withdraws_what_is_open_and_counts_on(self, executor: Executor):
        handle = await executor.start_workflow("AsksAgain", 1)
        await asked(executor, handle.id, "elicitation#1", "go on#1")
        await answer(executor, handle, "go on#1", None)
        await asked(executor, handle.id, "elicitation#2")
        assert len((await executor.describe_run(handle.id)).pending_inputs) == 1
        with pytest.raises(NotWaiting, match="`elicitation#1` was withdrawn at"):
            await answer(executor, handle, "elicitation#1", True)
        await answer(executor, handle, "elicitation#2", True)
        assert (await handle.result()).value == ["accept", True, False]

    @pytest.mark.parametrize("executor", ["asyncio"], indirect=True)
    async def test_an_answer_that_was_taken_wins_over_the_time_that_ends_with_it(self, executor: Executor):
        handle = await executor.start_workflow("Elicits", "default")
        taken: list[Receipt] = []

        def give() -> None:
            giving = executor.answer_run(handle.id, Answer(payload={"drink": "milk"}))
            try:
                giving.send(None)
            except StopIteration as done:
                taken.append(done.value)

        await asked(executor, handle.id, "elicitation#1")
        asyncio.get_running_loop().call_later(0.1, give)  # the question's own time began before this
        time.sleep(0.15)
        result = await handle.result()
        assert [receipt.request_id for receipt in taken] == ["elicitation#1"]
        assert result.value == ["accept", {"drink": "milk", "size": "small", "sugar": None}, False]


class TestTemporalPage:
    @pytest.mark.promise("issue: the page of Temporal shows what is asked")
    @pytest.mark.parametrize("executor", ["temporal"], indirect=True)
    async def test_the_page_shows_what_is_asked_until_it_is_answered(self, executor: Executor):
        assert isinstance(executor, TemporalExecutor)
        handle, _ = await ask(executor, "address")
        temporal: Any = executor.client.get_workflow_handle(handle.id)

        async def details() -> str:
            told: WorkflowMetadata = await temporal.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
            return told.current_details

        shown = await details()
        assert "> Please pay\\." in shown
        assert "https\\:\\/\\/pay\\.example\\/7" in shown
        await answer(executor, handle, "elicitation#1", True)
        await handle.result()
        assert await details() == ""


@pytest.mark.promise("issue: open questions, their expiry and their answers outlive the worker")
async def test_questions_outlive_the_worker(temporal: Path):
    restart_desk.app.use(Settings(execution_engine="temporal", temporal={"data_dir": temporal}))
    async with restart_desk.app.open_executor(worker=True) as executor:
        patient = await executor.start_workflow("Patient", None)
        hasty = await executor.start_workflow("Patient", 0.5)
        await asked(executor, patient.id, "elicitation#1")
        await asked(executor, hasty.id, "elicitation#1")
    async with restart_desk.app.open_executor(worker=True) as executor:
        await asked(executor, hasty.id, "elicitation#2")
        with pytest.raises(NotWaiting, match="`elicitation#1` expired at"):
            await answer(executor, hasty, "elicitation#1", True)
        for run, request_id in ((patient, "elicitation#1"), (hasty, "elicitation#2")):
            await answer(executor, run, request_id, True)
            assert (await executor.get_handle(run.id).result()).value == request_id


@pytest.mark.promise("issue: an answer and a time-out at once have one outcome, told truthfully")
async def test_an_answer_and_an_expiry_that_a_worker_meets_together_have_one_outcome(temporal: Path):
    restart_desk.app.use(Settings(execution_engine="temporal", temporal={"data_dir": temporal}))
    async with restart_desk.app.open_executor(worker=True) as executor:
        run = await executor.start_workflow("Patient", 1.0)
        (request,) = await asked(executor, run.id, "elicitation#1")
    async with restart_desk.app.open_executor(worker=False) as client:
        answering = asyncio.create_task(client.answer_run(run.id, Answer(request_id="elicitation#1", payload=True)))

        async def over() -> bool:
            return request.expires_at is not None and datetime.now(UTC) > request.expires_at

        await until(over)
        async with restart_desk.app.open_executor(worker=True) as executor:
            try:
                told = (await answering).request_id
            except NotWaiting:
                await asked(executor, run.id, "elicitation#2")
                told = (await answer(executor, run, "elicitation#2", True)).request_id
            assert (await executor.get_handle(run.id).result()).value == told
