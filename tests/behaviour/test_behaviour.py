"""What a workflow may rely on, whichever engine runs it."""

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mcp_agent.errors import (
    AlreadyAnswered,
    AlreadyClosed,
    CallError,
    IdempotencyConflict,
    InvalidArguments,
    NotFound,
    NotInWorkflowError,
    NotWaiting,
    RunCancelledError,
    RunFailedError,
    RunTerminatedError,
)
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.runs import Answer, RunFilter, RunState
from mcp_agent.executor.workflow import WorkflowResult
from mcp_agent.executor.workflow_signal import Signal
from tests.behaviour import desk
from tests.support import until

pytestmark = pytest.mark.anyio
SECOND = timedelta(seconds=1)
PARCEL = desk.Parcel(at=datetime(2026, 1, 2, tzinfo=UTC), colour=desk.Colour.RED, point=desk.Point(2, 3), tags={"a"})


async def value(executor: Executor, name: str, *args: Any) -> Any:
    return (await (await executor.start_workflow(name, *args)).result()).value


async def reached(executor: Executor, run_id: str, status: str) -> RunState:
    async def there() -> RunState | None:
        state = await executor.wait_run(run_id, SECOND)
        return state if state.status == status else None

    return await until(there, 20)


def unique(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


class TestResults:
    async def test_a_result_is_a_workflow_result_that_can_be_indexed(self, executor: Executor):
        result = await (await executor.start_workflow("Echo", {"a": [1]})).result()
        assert isinstance(result, WorkflowResult)
        assert result[0] == {"a": [1]}
        assert result.metadata == {"own": True}

    async def test_defaults_are_filled_in_and_arguments_keep_their_order(self, executor: Executor):
        assert await value(executor, "Echo", "x") == ["x", 7]
        assert await value(executor, "Echo", "x", 8) == ["x", 8]

    async def test_a_bare_value_is_wrapped(self, executor: Executor):
        assert (await (await executor.start_workflow("Bare")).result()).value == "bare"

    async def test_a_class_can_be_started_as_well_as_its_name(self, executor: Executor):
        assert (await (await executor.start_workflow(desk.Bare)).result()).value == "bare"

    async def test_models_dataclasses_enums_and_times_arrive_typed(self, executor: Executor):
        parcel = PARCEL
        turned = await value(executor, "Typed", parcel)
        assert turned == parcel.model_copy(update={"point": desk.Point(4, 3)})

    async def test_a_model_as_result_is_plain_data_in_the_state(self, executor: Executor):
        parcel = PARCEL
        handle = await executor.start_workflow("Typed", parcel)
        await handle.result()
        state = await executor.describe_run(handle.id)
        assert json.loads(json.dumps(state.result)) == state.result
        assert desk.Parcel.model_validate(state.result) == await value(executor, "Typed", parcel)

    async def test_an_error_result_is_returned_and_the_run_counts_as_failed(self, executor: Executor):
        handle = await executor.start_workflow("Ends", "error")
        assert (await handle.result()).error == "it did not work"
        state = await handle.describe()
        assert state.status == "failed"
        assert state.error is not None
        assert (state.error.code, state.error.message) == ("workflow_error", "it did not work")

    @pytest.mark.parametrize(
        ("how", "code", "text"),
        [
            ("exception", "LookupError", "nothing there (desk.py:"),
            ("application", "Told", "as told"),
            ("circle", "LookupError", "the first (desk.py:"),
            ("unserializable", "UnserializableValue", "The result of `Ends` cannot be stored as JSON"),
            ("large", "PayloadTooLarge", "The result of `Ends` has 2,500,"),
        ],
    )
    async def test_what_goes_wrong_in_run_fails_it_with_type_and_text(self, executor: Executor, how: str, code: str, text: str):
        handle = await executor.start_workflow("Ends", how)
        with pytest.raises(RunFailedError) as caught:
            await handle.result()
        assert caught.value.type == code
        state = await handle.describe()
        assert state.status == "failed"
        assert state.error is not None
        assert state.error.code == code
        assert text in state.error.message
        assert state.closed_at is not None

    async def test_an_async_tool_is_a_run(self, executor: Executor):
        assert await value(executor, "shout", "hey") == "HEY!"

    async def test_a_workflow_composed_inline_shares_the_id(self, executor: Executor):
        assert await value(executor, "Outer") is True

    async def test_time_and_randomness_come_from_the_run(self, executor: Executor):
        assert await value(executor, "Clock") == [True, 4, True, True, "Clock", True]

    async def test_outside_a_run_the_workflow_api_says_so(self):
        with pytest.raises(NotInWorkflowError):
            desk.workflow.now()


class TestSteps:
    async def test_a_task_outside_a_run_is_a_plain_call(self):
        assert await desk.double(4) == 8
        assert await desk.plain("x") == "X"

    @pytest.mark.parametrize(
        ("what", "expected"),
        [
            ("many", [n * 2 for n in range(20)]),
            ("thread", "LOUD"),
            ("by_name", 42),
            ("third_time", 3),
            ("too_often", ["WorkflowApplicationError", "ConnectionError", []]),
            ("not_again", ["WorkflowApplicationError", "Refused", [{"seen": True}]]),
            ("by_configuration", ["WorkflowApplicationError", "ConnectionError", []]),
            ("unserializable", ["WorkflowApplicationError", "UnserializableValue", []]),
            ("large_result", ["WorkflowApplicationError", "PayloadTooLarge", []]),
            ("large_argument", ["WorkflowApplicationError", "PayloadTooLarge", []]),
            ("unknown", ["WorkflowApplicationError", "NotFoundError", []]),
            ("out_of_time", ["StepTimeoutError", "TimeoutError", []]),
            ("out_of_all_time", ["StepTimeoutError", "TimeoutError", []]),
        ],
    )
    async def test_a_step_ends_in_the_same_way(self, executor: Executor, what: str, expected: Any):
        assert await value(executor, "Steps", what) == expected

    async def test_a_step_that_waits_for_its_retry_is_seen_from_outside(self, executor: Executor):
        handle = await executor.start_workflow("Reports")

        async def retrying() -> RunState | None:
            state = await handle.describe()
            return state if state.steps and state.steps[0].attempt == 2 else None

        state = await until(retrying)
        (step,) = state.steps
        assert step.name == "reports-attempt"
        assert "come back later" in (step.last_error or "")
        assert step.next_retry_at is not None
        assert step.next_retry_at > datetime.now(UTC)
        assert state.progress is not None
        assert (state.progress.done, state.progress.total, state.progress.message) == (2, 5, "halfway")
        await handle.cancel()
        with pytest.raises(RunCancelledError):
            await handle.result()


class TestSignals:
    async def test_signals_reach_their_handlers_in_order_and_queries_see_it(self, executor: Executor):
        handle = await executor.start_workflow("Letters")
        await handle.signal("letter", "a")
        await handle.signal("letter", "b", 2)
        assert await handle.query("letters") == ["a", "b", "b"]
        await executor.signal_workflow("Letters", handle.id, "close")
        assert (await handle.result()).value == ["a", "b", "b"]
        assert await executor.query_workflow("Letters", handle.id, "letters") == ["a", "b", "b"]

    async def test_an_exception_in_a_signal_handler_fails_the_run(self, executor: Executor):
        handle = await executor.start_workflow("Letters")
        await handle.signal("explode")
        with pytest.raises(RunFailedError) as caught:
            await handle.result()
        assert caught.value.type == "RuntimeError"

    async def test_what_is_too_large_to_be_kept_is_refused_and_changes_nothing(self, executor: Executor):
        handle = await executor.start_workflow("Letters")
        for sending in (
            lambda: handle.signal("letter", "x" * 2_500_000),
            lambda: executor.answer_run(handle.id, Answer(request_id="letter#1", payload="x" * 2_500_000)),
        ):
            with pytest.raises(InvalidArguments, match=r"2,500,\d+ bytes; at most 1,900,000"):
                await sending()
        await handle.signal("letter", "a")
        await handle.signal("close")
        assert (await handle.result()).value == ["a"]

    async def test_a_signal_to_a_closed_run_is_refused(self, executor: Executor):
        handle = await executor.start_workflow("Bare")
        await handle.result()
        with pytest.raises(AlreadyClosed):
            await handle.signal("letter", "a")

    async def test_another_workflow_s_run_is_not_found(self, executor: Executor):
        handle = await executor.start_workflow("Bare")
        await handle.result()
        with pytest.raises(NotFound):
            await executor.signal_workflow("Letters", handle.id, "close")
        with pytest.raises(NotFound):
            await executor.query_workflow("Letters", handle.id, "letters")

    async def test_a_raw_signal_that_comes_early_is_kept_in_order(self, executor: Executor):
        handle = await executor.start_workflow("Asks", "two in a row")
        await handle.signal("go", 1)
        await handle.signal("go", 2)
        assert (await handle.result()).value == [1, 2]

    async def test_the_signal_bus_sends_by_run_id(self, executor: Executor):
        handle = await executor.start_workflow("Asks", "one")
        await executor.signal_bus.send_signal(Signal("go", workflow_id="Asks", run_id=handle.id, payload={"by": "me"}))
        assert (await handle.result()).value == {"by": "me"}

    async def test_a_wait_for_a_signal_may_end_in_time(self, executor: Executor):
        assert await value(executor, "Asks", "briefly") == "nobody came"


class TestAnswers:
    async def ask(self, executor: Executor, what: str) -> str:
        handle = await executor.start_workflow("Asks", what)
        await reached(executor, handle.id, "waiting_for_input")
        return handle.id

    async def test_a_question_is_seen_from_outside(self, executor: Executor):
        run_id = await self.ask(executor, "one")
        (request,) = (await executor.describe_run(run_id)).pending_inputs
        assert (request.request_id, request.kind, request.name, request.message) == ("go#1", "signal", "go", "May I?")
        await executor.cancel_run(run_id)

    @pytest.mark.parametrize("answer", [Answer(request_id="go#1", payload=5), Answer(name="go", payload=5), Answer(payload=5)])
    async def test_it_is_answered_by_request_by_name_or_as_the_only_one(self, executor: Executor, answer: Answer):
        run_id = await self.ask(executor, "one")
        receipt = await executor.answer_run(run_id, answer)
        assert (receipt.request_id, receipt.duplicate, receipt.early) == ("go#1", False, False)
        assert (await executor.get_handle(run_id).result()).value == 5
        assert (await executor.describe_run(run_id)).pending_inputs == ()

    async def test_the_same_answer_twice_is_a_duplicate_and_another_is_refused(self, executor: Executor):
        run_id = await self.ask(executor, "two in a row")
        await executor.answer_run(run_id, Answer(request_id="go#1", payload=1))
        again = await executor.answer_run(run_id, Answer(request_id="go#1", payload=1))
        assert again.duplicate
        with pytest.raises(AlreadyAnswered):
            await executor.answer_run(run_id, Answer(request_id="go#1", payload=2))
        await reached(executor, run_id, "waiting_for_input")
        await executor.answer_run(run_id, Answer(request_id="go#2", payload=3))
        assert (await executor.get_handle(run_id).result()).value == [1, 3]

    async def test_after_the_end_the_same_answer_is_a_duplicate_and_another_is_too_late(self, executor: Executor):
        run_id = await self.ask(executor, "one")
        await executor.answer_run(run_id, Answer(request_id="go#1", payload=1))
        await executor.get_handle(run_id).result()
        assert (await executor.answer_run(run_id, Answer(request_id="go#1", payload=1))).duplicate
        for late in (Answer(request_id="go#1", payload=2), Answer(payload=1), Answer(name="other", payload=1)):
            with pytest.raises(AlreadyClosed):
                await executor.answer_run(run_id, late)

    async def test_an_answer_that_comes_early_is_kept(self, executor: Executor):
        handle = await executor.start_workflow("Asks", "late")
        receipt = await executor.answer_run(handle.id, Answer(name="go", payload="early"))
        assert receipt.early
        assert (await handle.result()).value == "early"

    async def test_a_run_that_waits_for_nothing_takes_no_answer(self, executor: Executor):
        handle = await executor.start_workflow("Letters")
        for answer in (Answer(payload=1), Answer(request_id="go#1", payload=1)):
            with pytest.raises(NotWaiting):
                await executor.answer_run(handle.id, answer)
        await handle.signal("close")
        await handle.result()

    async def test_of_two_questions_one_must_be_named(self, executor: Executor):
        run_id = await self.ask(executor, "two at once")
        with pytest.raises(NotWaiting, match="name one of `left#1`, `right#1`"):
            await executor.answer_run(run_id, Answer(payload=1))
        await executor.answer_run(run_id, Answer(name="right", payload="r"))
        await executor.answer_run(run_id, Answer(name="left", payload="l"))
        assert (await executor.get_handle(run_id).result()).value == ["l", "r"]

    async def test_an_answer_of_the_wrong_type_is_refused_and_the_question_stays(self, executor: Executor):
        run_id = await self.ask(executor, "typed")
        (request,) = (await executor.describe_run(run_id)).pending_inputs
        assert (request.schema_ or {})["required"] == ["ok"]
        with pytest.raises(InvalidArguments, match="`ok`"):
            await executor.answer_run(run_id, Answer(payload={"ok": "perhaps"}))
        assert (await executor.describe_run(run_id)).status == "waiting_for_input"
        await executor.get_handle(run_id).signal("go", "does not fit either")
        await executor.answer_run(run_id, Answer(payload={"ok": True, "reason": "fits"}))
        assert (await executor.get_handle(run_id).result()).value == "fits"


class TestWaitingAndCancelling:
    @pytest.mark.parametrize(("how", "expected"), [("sibling", "woken"), ("condition", "timed out"), ("scope", "timed out")])
    async def test_waits_end(self, executor: Executor, how: str, expected: str):
        assert await value(executor, "Waits", how) == expected

    async def under_way(self, executor: Executor, how: str) -> Any:
        desk.ENDED.clear()
        handle = await executor.start_workflow("Waits", how)

        async def in_step() -> bool:
            return bool((await handle.describe()).steps)

        await until(in_step)
        return handle

    async def test_a_cancel_reaches_the_step_that_runs(self, executor: Executor):
        handle = await self.under_way(executor, "forever")
        await handle.cancel()
        with pytest.raises(RunCancelledError):
            await handle.result()
        assert (await handle.describe()).status == "cancelled"
        async with asyncio.timeout(5):
            await desk.ENDED.wait()

    async def test_a_cancelled_run_may_clean_up(self, executor: Executor):
        handle = await self.under_way(executor, "cleanup")
        await handle.cancel()
        assert (await handle.result()).value == ["cleaned", 8]
        assert (await handle.describe()).status == "completed"

    async def test_cancelling_twice_or_after_the_end_is_harmless(self, executor: Executor):
        handle = await self.under_way(executor, "forever")
        await handle.cancel()
        await executor.cancel_run(handle.id)
        with pytest.raises(RunCancelledError):
            await handle.result()
        await executor.cancel_run(handle.id)
        assert (await handle.describe()).status == "cancelled"

    async def test_a_run_may_be_cancelled_before_its_first_step(self, executor: Executor):
        handle = await executor.start_workflow("Letters")
        await handle.cancel()
        with pytest.raises(RunCancelledError):
            await handle.result()

    async def test_who_terminates_a_run_may_say_why(self, executor: Executor):
        handle = await executor.start_workflow("Letters")
        await handle.terminate("no longer needed")
        with pytest.raises(RunTerminatedError, match="no longer needed"):
            await handle.result()
        error = (await handle.describe()).error
        assert error is not None
        assert (error.code, error.message) == ("terminated", "no longer needed")

    async def test_a_terminated_run_runs_no_more_code(self, executor: Executor):
        handle = await executor.start_workflow("Letters")
        await handle.terminate()
        with pytest.raises(RunTerminatedError):
            await handle.result()
        assert (await handle.describe()).status == "terminated"


class TestRuns:
    async def start(self, executor: Executor, run_id: str, *args: Any) -> Any:
        definition = desk.app.workflows["Echo"]
        return await executor.start_run(definition, [*args, 7], run_id=run_id, input_digest=str(args))

    async def test_a_start_that_is_repeated_is_one_run(self, executor: Executor):
        run_id = unique("Echo.key")
        assert not (await self.start(executor, run_id, "a")).existing
        assert (await self.start(executor, run_id, "a")).existing
        await executor.get_handle(run_id).result()
        assert (await self.start(executor, run_id, "a")).existing
        with pytest.raises(IdempotencyConflict):
            await self.start(executor, run_id, "b")

    async def test_fifty_starts_at_once_with_one_key_are_one_run(self, executor: Executor):
        run_id = unique("Echo.key")
        started = await asyncio.gather(*(self.start(executor, run_id, "a") for _ in range(50)))
        assert sum(not one.existing for one in started) == 1

    @pytest.mark.parametrize(
        ("policy", "end", "again"),
        [
            ("allow_duplicate", "fine", True),
            ("reject_duplicate", "fine", False),
            ("allow_duplicate_failed_only", "fine", False),
            ("allow_duplicate_failed_only", "exception", True),
        ],
    )
    async def test_an_id_is_used_again_as_the_policy_says(self, executor: Executor, policy: Any, end: str, again: bool):
        run_id = unique("id")
        handle = await executor.start_workflow("Ends", end, workflow_id=run_id)
        if end == "fine":
            await handle.result()
        else:
            with pytest.raises(RunFailedError):
                await handle.result()
        if again:
            second = await executor.start_workflow("Ends", "fine", workflow_id=run_id, id_reuse_policy=policy)
            assert (await second.result()).value == "fine"
        else:
            with pytest.raises(IdempotencyConflict):
                await executor.start_workflow("Ends", "fine", workflow_id=run_id, id_reuse_policy=policy)

    async def test_a_running_id_is_refused_or_terminated(self, executor: Executor):
        run_id = unique("id")
        await executor.start_workflow("Letters", workflow_id=run_id)
        with pytest.raises(IdempotencyConflict):
            await executor.start_workflow("Letters", workflow_id=run_id)
        second = await executor.start_workflow("Bare", workflow_id=run_id, id_reuse_policy="terminate_if_running")
        assert (await second.result()).value == "bare"

    @pytest.mark.parametrize(
        ("name", "args", "error", "text"),
        [
            ("Ehco", (), NotFound, "Did you mean `Echo`?"),
            ("Echo", (), InvalidArguments, "`value`"),
            ("Echo", (1, 2, 3), InvalidArguments, "takes 2 arguments, not 3"),
            ("Echo", (1, "two"), InvalidArguments, "`more`"),
            ("Ends", (object(),), InvalidArguments, "JSON"),
        ],
    )
    async def test_a_wrong_start_starts_nothing(
        self, executor: Executor, name: str, args: Any, error: type[CallError], text: str
    ):
        with pytest.raises(error) as caught:
            await executor.start_workflow(name, *args)
        assert text in str(caught.value)

    async def test_a_missing_run_is_not_found(self, executor: Executor):
        calls = [
            executor.describe_run("Echo.none"),
            executor.wait_run("Echo.none", SECOND),
            executor.cancel_run("Echo.none"),
            executor.answer_run("Echo.none", Answer(payload=1)),
            executor.signal_run("Echo.none", "x", []),
            executor.get_handle("Echo.none").result(),
            executor.get_handle("Echo.none").query("x"),
        ]
        for call in calls:
            with pytest.raises(NotFound):
                await call

    async def test_waiting_ends_with_the_run_or_in_time(self, executor: Executor):
        handle = await executor.start_workflow("Letters")
        begin = asyncio.get_running_loop().time()
        assert (await executor.wait_run(handle.id, timedelta(seconds=0.3))).status == "running"
        assert asyncio.get_running_loop().time() - begin < 5
        waiting = asyncio.create_task(executor.wait_run(handle.id, timedelta(seconds=30)))
        await handle.signal("close")
        assert (await waiting).status == "completed"

    async def test_runs_are_listed_newest_first_by_workflow_and_status(self, executor: Executor):
        started: list[str] = []
        for _ in range(5):
            handle = await executor.start_workflow("Inner", "x")
            await handle.result()
            started.insert(0, handle.id)

        async def listed() -> list[str] | None:
            page = await executor.list_runs(RunFilter(("Inner",), "completed", 100))
            ids = [run.run_id for run in page.runs]
            return ids if set(ids) >= set(started) else None

        ids = await until(listed)
        assert ids[:5] == started
        first = await executor.list_runs(RunFilter(("Inner",), limit=2))
        second = await executor.list_runs(RunFilter(("Inner",), limit=2, cursor=first.cursor))
        assert [run.run_id for run in (*first.runs, *second.runs)] == ids[:4]
        assert not (await executor.list_runs(RunFilter(("Inner",), "failed"))).runs
        for cursor in ("garbage", "-1", ""):
            with pytest.raises(InvalidArguments, match="`cursor`"):
                await executor.list_runs(RunFilter(("Inner",), cursor=cursor or "?"))
