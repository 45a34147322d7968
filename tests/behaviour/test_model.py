"""The programming model beyond the first skeleton, on both engines."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from mcp_agent.errors import (
    AlreadyClosed,
    IdempotencyConflict,
    InvalidArguments,
    MCPAgentError,
    NotFound,
    RunCancelledError,
    RunFailedError,
    RunTerminatedError,
    RunTimedOutError,
    WorkflowApplicationError,
)
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.runs import RunFilter
from mcp_agent.executor.workflow_signal import Signal
from tests.behaviour import model_desk as desk
from tests.behaviour.test_behaviour import reached, unique, value
from tests.support import until

pytestmark = pytest.mark.anyio


class TestMethodsAsSteps:
    @pytest.mark.promise("specification: Automatic Retries, execute_activity(self.method)")
    async def test_arguments_and_results_are_typed(self, executor: Executor):
        assert await value(executor, "Methods", "typed") == {"x": 3, "y": 0}

    async def test_called_directly_a_method_is_workflow_code(self, executor: Executor):
        assert await value(executor, "Methods", "direct") == "of the workflow"

    async def test_a_method_of_a_base_class(self, executor: Executor):
        assert await value(executor, "Methods", "shared") == "done by Methods"

    @pytest.mark.promise("design: a step's stand-in refuses workflow state")
    @pytest.mark.parametrize("how", ["reads", "writes"])
    async def test_workflow_state_is_refused_with_what_to_do(self, executor: Executor, how: str):
        with pytest.raises(RunFailedError, match=r"`self\.state` is workflow state.*pass it as an argument") as told:
            await value(executor, "Methods", how)
        assert told.value.type == "WorkflowStateInStep"

    async def test_plain_methods_constants_and_the_id_are_there(self, executor: Executor):
        assert await value(executor, "Methods", "helped") == "helped 3"
        handle = await executor.start_workflow("Methods", "identified")
        assert (await handle.result()).value == handle.id

    @pytest.mark.promise("specification: heartbeats, workflow.heartbeat")
    async def test_what_a_heartbeat_tells_reaches_the_next_attempt(self, executor: Executor):
        assert await value(executor, "Methods", "flaky") == [0, 1]

    @pytest.mark.promise("specification: ProperWorkflow, an agent inside an activity")
    async def test_an_agent_works_in_a_step_and_keeps_its_conversation(self, executor: Executor):
        assert await value(executor, "Methods", "agent") == ["helper 1: first", "helper 2: second"]


class TestPlainFunctions:
    async def test_a_plain_step_blocks_nobody(self, executor: Executor):
        begin = asyncio.get_running_loop().time()
        handle = await executor.start_workflow("Plain", "sleep")
        longest = 0.0
        running = asyncio.create_task(handle.result())
        while not running.done():
            before = asyncio.get_running_loop().time()
            await asyncio.sleep(0.05)
            longest = max(longest, asyncio.get_running_loop().time() - before)
        assert running.result().value == "slept"
        assert longest < 1
        assert asyncio.get_running_loop().time() - begin < 8

    async def test_a_plain_step_sends_heartbeats(self, executor: Executor):
        assert await value(executor, "Plain", "heartbeat") == "beat ()"


class TestOddUserCode:
    @pytest.mark.promise("fault: whatever user code raises or returns is told, and ends nobody else")
    @pytest.mark.parametrize("where", ["run", "step", "thread"])
    @pytest.mark.parametrize(
        ("how", "type_"),
        [
            ("exit", "SystemExit"),
            ("interrupt", "KeyboardInterrupt"),
            ("weird", "Weird"),
            ("unprintable", "Unprintable"),
            ("stop", "RuntimeError"),
            ("large", "ValueError"),
            ("surrogate", "ValueError"),
            ("cycle", "UnserializableValue"),
            ("bad text", "UnserializableValue"),
            ("class", "UnserializableValue"),
        ],
    )
    async def test_it_fails_the_run_with_its_name(self, executor: Executor, where: str, how: str, type_: str):
        handle = await executor.start_workflow("Odd", where, how)
        with pytest.raises(RunFailedError) as told:
            await handle.result()
        assert told.value.type == type_
        state = await handle.describe()
        assert state.status == "failed"
        assert state.error is not None
        assert len(state.error.message) < 10_000
        state.error.message.encode()

    @pytest.mark.parametrize("how", ["exit", "weird", "unprintable"])
    async def test_in_a_signal_it_fails_the_run_too(self, executor: Executor, how: str):
        handle = await executor.start_workflow("Odd", "wait", "")
        await handle.signal("signalled", how)
        with pytest.raises(RunFailedError):
            await handle.result()

    @pytest.mark.parametrize("how", ["exit", "weird", "unprintable", "cycle"])
    async def test_in_an_update_or_a_query_it_is_told_and_the_run_goes_on(self, executor: Executor, how: str):
        handle = await executor.start_workflow("Odd", "wait", "")
        with pytest.raises(WorkflowApplicationError):
            await handle.update("updated", how)
        with pytest.raises(MCPAgentError):
            await handle.query("asked", how)
        assert (await handle.describe()).status == "running"
        await handle.terminate()


class TestChildren:
    async def test_a_child_has_an_id_of_its_own_and_a_typed_result(self, executor: Executor):
        x, named, own = await value(executor, "Parent", "value")
        assert (x, named) == (1, True)
        assert own.startswith("Parent.")

    async def test_a_child_gets_the_id_it_is_given_and_hears_its_parent(self, executor: Executor):
        child = unique("child")
        assert await value(executor, "Parent", "named", child) == [child, "heard"]
        assert (await executor.describe_run(child)).workflow == "Child"

    async def test_a_failing_child_is_an_error_with_its_type(self, executor: Executor):
        assert await value(executor, "Parent", "fail") == ["LookupError", True]

    async def test_an_error_result_of_a_child_is_a_result(self, executor: Executor):
        assert await value(executor, "Parent", "error") == "child gives up"

    async def test_a_child_that_runs_out_of_time(self, executor: Executor):
        assert await value(executor, "Parent", "times out") == "RunTimedOutError"

    async def test_who_stops_waiting_cancels_the_child(self, executor: Executor):
        child = unique("child")
        assert await value(executor, "Parent", "gives up", child) == "gave up"
        assert (await executor.describe_run(child)).status == "cancelled"

    @pytest.mark.promise("design: cancellation has asyncio's meaning on both engines")
    async def test_what_is_cancelled_before_it_begins_is_cancelled(self, executor: Executor):
        child = unique("child")
        assert await value(executor, "Parent", "at once", child) == ["cancelled", "cancelled", "cancelled"]
        assert [
            run.run_id
            for run in (await executor.list_runs(RunFilter(workflows=("Child",), limit=500))).runs
            if run.run_id == child and not run.closed
        ] == []

    async def test_an_id_that_is_taken_is_refused(self, executor: Executor):
        child = unique("child")
        assert await value(executor, "Parent", "taken", child) == ["IdempotencyConflict", child]

    @pytest.mark.promise("issue: parent-close policies")
    @pytest.mark.parametrize(("policy", "status"), [("terminate", "terminated"), ("request_cancel", "cancelled")])
    async def test_the_end_of_the_parent_ends_the_child(self, executor: Executor, policy: str, status: str):
        child = unique("child")
        assert await value(executor, "Parent", policy, child) == "left"
        await reached(executor, child, status)

    async def test_an_abandoned_child_goes_on(self, executor: Executor):
        child = unique("child")
        assert await value(executor, "Parent", "abandon", child) == "left"
        await reached(executor, child, "waiting_for_input")
        await executor.get_handle(child).signal("word", "after all")
        assert (await executor.get_handle(child).result()).value == "after all"

    async def test_many_children_at_once(self, executor: Executor):
        assert await value(executor, "Parent", "many") == 5

    @pytest.mark.promise("design: Other().run(x) inside a workflow is inline: same run, same id")
    async def test_a_workflow_called_inline_is_part_of_the_run(self, executor: Executor):
        assert await value(executor, "Parent", "inline") is True

    async def test_a_run_signals_another_run(self, executor: Executor):
        other = await executor.start_workflow("Child", "wait")
        assert await value(executor, "Parent", "tells", other.id) == "told"
        assert (await other.result()).value == "from a run"

    async def test_a_signal_to_no_run_is_an_error(self, executor: Executor):
        with pytest.raises(RunFailedError) as told:
            await value(executor, "Parent", "tells", "nobody")
        assert told.value.type == "NotFound"


class TestContinuing:
    @pytest.mark.promise("design: continue_as_new waits for handlers and carries the mailbox along")
    async def test_the_id_the_mail_and_the_handlers_work_survive(self, executor: Executor):
        handle = await executor.start_workflow("Again", 3)
        await handle.signal("slow", "late")
        await handle.signal("early", "kept")
        assert (await handle.result()).value == [handle.id, "kept", []]

    async def test_a_nested_run_may_not_continue_as_new(self, executor: Executor):
        with pytest.raises(RunFailedError, match="execute_child_workflow") as told:
            await value(executor, "Nests", "nested")
        assert told.value.type == "NestedContinueAsNew"

    async def test_arguments_that_do_not_fit_fail_the_run(self, executor: Executor):
        with pytest.raises(RunFailedError, match="takes 1 arguments, not 3"):
            await value(executor, "Nests", "wrong arguments")


class TestHandlers:
    async def test_an_update_changes_the_run_and_answers_typed(self, executor: Executor):
        handle = await executor.start_workflow("Updates")
        assert desk.Point.model_validate(await handle.update("add", 2, 3)) == desk.Point(x=6)
        assert desk.Point.model_validate(await executor.update_workflow("Updates", handle.id, "add", 1)) == desk.Point(x=7)
        await handle.signal("stop-it")
        assert (await handle.result()).value[0] == 7
        with pytest.raises(AlreadyClosed):
            await handle.update("add", 1)

    async def test_a_validator_refuses_and_nothing_changes(self, executor: Executor):
        handle = await executor.start_workflow("Updates")
        with pytest.raises(WorkflowApplicationError, match="only upwards") as told:
            await handle.update("add", -1)
        assert told.value.type == "ValueError"
        await handle.signal("stop-it")
        assert (await handle.result()).value[0] == 0

    async def test_an_update_that_fails_is_told_and_the_run_goes_on(self, executor: Executor):
        handle = await executor.start_workflow("Updates")
        with pytest.raises(WorkflowApplicationError, match="bad luck") as told:
            await handle.update("add", 13)
        assert told.value.type == "BadLuck"
        assert list(told.value.details) == [{"number": 13}]
        await handle.update("add", 1)
        await handle.cancel()
        with pytest.raises(RunCancelledError):
            await handle.result()

    @pytest.mark.parametrize("name", ["nothing", "run"])
    async def test_an_unknown_update_is_not_found(self, executor: Executor, name: str):
        handle = await executor.start_workflow("Updates")
        with pytest.raises(NotFound):
            await handle.update(name)
        await handle.terminate()
        with pytest.raises(NotFound):
            await executor.get_handle("Updates.none").update("add", 1)

    async def test_dynamic_handlers_take_every_other_name(self, executor: Executor):
        handle = await executor.start_workflow("Updates")
        await handle.signal("whatever", {"a": 1}, 2)
        assert await handle.query("asked", "x") == ["asked", ["x"], [["whatever", [{"a": 1}, 2]]]]
        await handle.signal("stop-it")
        assert (await handle.result()).value == [0, [["whatever", [{"a": 1}, 2]], "stop"]]


class TestTime:
    @pytest.mark.parametrize(
        ("how", "result"),
        [
            ("until", True),
            ("zoned", "past"),
            ("version", [3, 3, 2]),
            ("metric", "recorded"),
            ("anyio", [["a", "b"], True]),
            ("group", ["quick", "a cancelled", "b cancelled", "fails"]),
        ],
    )
    async def test_time_versions_metrics_and_groups(self, executor: Executor, how: str, result: Any):
        assert await value(executor, "Times", how) == result

    async def test_a_moment_without_a_time_zone_is_refused(self, executor: Executor):
        assert "has no time zone" in await value(executor, "Times", "naive")

    async def test_options_that_are_wrong_are_named(self, executor: Executor):
        texts = await value(executor, "Refused")
        parts = [
            "`start_to_close_timeout` is `5`: use a timedelta",
            "`heartbeat_timeout` is `-1 day",
            "`backoff_coefficient` is `0.5`",
            "`len` is no step",
            "`parent_close_policy` is `'stay'`: use one of `terminate`, `abandon`, `request_cancel`",
            "`id` is empty",
            "`how`",
            "`int` is no workflow",
            "get_version('x', 3, 2)",
            "`heartbeat` is for steps",
        ]
        assert len(texts) == len(parts)
        for text, part in zip(texts, parts, strict=True):
            assert part in text


class TestStarting:
    @pytest.mark.promise("issue: start_workflow options")
    async def test_a_run_that_takes_too_long_is_timed_out(self, executor: Executor):
        for option in ("execution_timeout", "run_timeout"):
            handle = await executor.start_workflow("Child", "wait", **{option: timedelta(seconds=1)})
            with pytest.raises(RunTimedOutError):
                await handle.result()
            assert (await handle.describe()).status == "timed_out"

    async def test_a_start_can_be_delayed_and_cancelled_before_it(self, executor: Executor):
        begin = asyncio.get_running_loop().time()
        handle = await executor.start_workflow("Child", "value", start_delay=timedelta(seconds=1))
        await handle.result()
        assert asyncio.get_running_loop().time() - begin >= 0.9
        handle = await executor.start_workflow("Child", "value", start_delay=timedelta(hours=1))
        await handle.cancel()
        with pytest.raises(RunCancelledError):
            await handle.result()

    async def test_a_memo_is_kept_with_the_run(self, executor: Executor):
        handle = await executor.start_workflow("Child", "value", memo={"ticket": {"id": 7}})
        assert (await handle.describe()).memo == {"ticket": {"id": 7}}

    async def test_a_second_run_may_take_the_place_of_the_first(self, executor: Executor):
        run_id = unique("place")
        first = await executor.start_workflow("Child", "wait", workflow_id=run_id)
        await executor.start_workflow("Child", "value", workflow_id=run_id, id_reuse_policy="terminate_if_running")
        assert (await executor.get_handle(run_id).result()).value is not None
        del first

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"workflow_id": ""}, "`workflow_id` is empty"),
            ({"workflow_id": " "}, "`workflow_id` is empty"),
            ({"workflow_id": "x" * 1_001}, "1,001 bytes"),
            ({"workflow_id": "a\nb"}, "control characters"),
            ({"workflow_id": 7}, "`workflow_id` is `7`"),
            ({"id_reuse_policy": "allow_duplicates"}, "Did you mean `allow_duplicate`"),
            ({"execution_timeout": 60}, "`execution_timeout` is `60`: use a timedelta"),
            ({"run_timeout": timedelta(seconds=-5)}, "`run_timeout` is `-1 day, 23:59:55`"),
            ({"task_timeout": timedelta(0)}, "`task_timeout`"),
            ({"start_delay": "1s"}, "`start_delay` is `'1s'`"),
            ({"memo": {"x": object()}}, "`memo` has no JSON form"),
            ({"search_attributes": {"x": object()}}, r"`search_attributes\.x`"),
        ],
    )
    async def test_options_that_are_wrong_start_nothing(self, executor: Executor, options: dict[str, Any], told: str):
        with pytest.raises(InvalidArguments, match=told):
            await executor.start_workflow("Child", "value", **options)

    async def test_ids_are_reused_as_the_policy_says(self, executor: Executor):
        run_id = unique("reused")
        await (await executor.start_workflow("Child", "value", workflow_id=run_id)).result()
        for policy in ("reject_duplicate", "allow_duplicate_failed_only"):
            with pytest.raises(IdempotencyConflict, match=policy):
                await executor.start_workflow("Child", "value", workflow_id=run_id, id_reuse_policy=policy)  # type: ignore[arg-type]
        again = await executor.start_workflow("Child", "wait", workflow_id=run_id)
        with pytest.raises(IdempotencyConflict):
            await executor.start_workflow("Child", "value", workflow_id=run_id)
        await again.terminate()
        with pytest.raises(RunTerminatedError):
            await again.result()
        await again.terminate()  # harmless on one that has ended
        failed = await executor.start_workflow(
            "Child", "value", workflow_id=run_id, id_reuse_policy="allow_duplicate_failed_only"
        )
        await failed.result()

    async def test_outside_of_runs_calling_run_starts_one(self, executor: Executor):
        result = await desk.Child().run("value")
        run = await executor.describe_run(result.metadata["id"])
        assert (run.workflow, run.status) == ("Child", "completed")

    async def test_signals_are_sent_by_class_name_and_run_id(self, executor: Executor):
        handle = await executor.start_workflow("Child", "wait")
        await executor.signal_bus.send_signal(Signal("word", workflow_id="Child", run_id=handle.id, payload="by both"))
        assert (await handle.result()).value == "by both"

    async def test_a_cancelled_child_has_seen_it(self, executor: Executor):
        handle = await executor.start_workflow("Child", "wait")
        await reached(executor, handle.id, "waiting_for_input")
        await handle.cancel()
        with pytest.raises(RunCancelledError):
            await handle.result()
        if executor.engine == "asyncio":  # Temporal's sandbox has lists of its own
            assert await until(lambda: _seen(handle.id))


async def _seen(run_id: str) -> bool:
    return run_id in desk.CANCELLED


class TestProviders:
    @pytest.mark.promise("errata: Google's error names")
    @pytest.mark.parametrize(
        ("code", "status", "result", "attempts"),
        [
            (400, "INVALID_ARGUMENT", "ClientError", 1),
            (400, "FAILED_PRECONDITION", "ClientError", 1),
            (403, "PERMISSION_DENIED", "ClientError", 1),
            (404, "NOT_FOUND", "ClientError", 1),
            (401, "UNAUTHENTICATED", "ClientError", 1),
            (503, "UNAVAILABLE", "attempt 2", 2),
        ],
    )
    async def test_what_google_refuses_is_not_tried_again(
        self, executor: Executor, code: int, status: str, result: str, attempts: int
    ):
        before = desk.GOOGLE.count(status)
        assert await value(executor, "Google", code, status) == result
        assert desk.GOOGLE.count(status) - before == attempts


class TestMuch:
    @pytest.mark.promise("issue: 2,000 parallel activities")
    async def test_thousands_of_steps_at_once_take_their_turn(self, executor: Executor):
        assert await value(executor, "Many", 2_100) == 2_100
