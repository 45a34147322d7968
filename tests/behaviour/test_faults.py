"""Mistakes of user code, and its edges, end alike on both engines: by name, at once, and with nothing left running."""

from typing import Any

import anyio
import pytest

from mcp_agent.errors import (
    InvalidArguments,
    MCPAgentError,
    NotFound,
    RunCancelledError,
    RunFailedError,
    WorkflowApplicationError,
)
from mcp_agent.executor.executor import Executor
from tests.behaviour import faults_desk as desk
from tests.behaviour.test_behaviour import reached, unique, value
from tests.support import until

pytestmark = [pytest.mark.anyio, pytest.mark.promise("issue: a programming error fails the run, and never loops")]


@pytest.mark.parametrize(
    ("how", "type_", "text"),
    [
        ("condition", "ZeroDivisionError", "division by zero"),
        ("policy", "InvalidArguments", "`maximum_attempts` is `1.5`: use a whole number"),
        ("child_argument", "InvalidArguments", "`key`: Input should be a valid string"),
        ("child_name", "NotFound", "Did you mean `CleansUp`"),
    ],
)
async def test_a_mistake_fails_the_run_by_name(executor: Executor, how: str, type_: str, text: str):
    handle = await executor.start_workflow("Faulty", how)
    with pytest.raises(RunFailedError, match=text) as told:
        await handle.result()
    assert told.value.type == type_


async def test_an_error_in_init_fails_the_run(executor: Executor):
    handle = await executor.start_workflow("Unmade")
    with pytest.raises(RunFailedError, match="no number") as told:
        await handle.result()
    assert told.value.type == "ValueError"


@pytest.mark.parametrize(("how", "text"), [("clock", r"workflow\.now\(\)"), ("thread", "is a step")])
async def test_what_workflow_code_must_not_do_is_named_on_temporal(executor: Executor, how: str, text: str):
    if executor.engine == "asyncio":  # docs/engines.md, "What differs"
        assert (await (await executor.start_workflow("Faulty", how)).result()).error is None
        return
    with pytest.raises(RunFailedError, match=text):
        await value(executor, "Faulty", how)


@pytest.mark.parametrize(
    ("how", "result"),
    [("grouped", "continued"), ("zone", "2026-01-01T00:00:00+00:00"), ("step_cancels", "CancelledError")],
)
async def test_what_is_allowed_works(executor: Executor, how: str, result: Any):
    assert await value(executor, "Faulty", how) == result


async def test_a_signal_with_a_default_left_out_is_typed(executor: Executor):
    handle = await executor.start_workflow("Faulty", "waits")
    await handle.signal("moved", desk.Point(x=1))
    assert (await handle.result()).value == ["Point 4"]


async def test_what_a_run_leaves_behind_ends_with_it(executor: Executor):
    key = unique("left")
    assert await value(executor, "Faulty", "left_behind", key) == "done"
    before = desk.NOTES.count(key)
    await value(executor, "Faulty", "left_behind", unique("other"))  # as long again
    assert desk.NOTES.count(key) <= before + 1


async def test_a_child_of_a_cancelled_gather_cleans_up_before_its_parent_ends(executor: Executor):
    key = unique("gathered")
    handle = await executor.start_workflow("Faulty", "gathered", key)

    async def has_child() -> bool:
        from mcp_agent.executor.runs import RunFilter

        page = await executor.list_runs(RunFilter(workflows=("CleansUp",), status="running"))
        return bool(page.runs)

    assert await until(has_child)
    await handle.cancel()
    with pytest.raises(RunCancelledError):
        await handle.result()
    assert f"{key} cleaned" in desk.NOTES


async def test_a_second_cancel_does_not_interrupt_the_cleanup(executor: Executor):
    key = unique("twice")
    handle = await executor.start_workflow("CleansUp", key)
    await reached(executor, handle.id, "running")
    for _ in range(2):
        await handle.cancel()
    with pytest.raises(RunCancelledError):
        await handle.result()
    assert f"{key} cleaned" in desk.NOTES


async def test_a_handler_cannot_continue_as_new(executor: Executor):
    handle = await executor.start_workflow("Faulty", "waits")
    with pytest.raises(WorkflowApplicationError, match="call it in `run`") as told:
        await handle.update("again")
    assert told.value.type == "ContinueAsNewInHandler"
    await handle.terminate()


async def test_a_handle_of_another_workflow_reaches_nothing(executor: Executor):
    handle = await executor.start_workflow("Faulty", "waits")
    wrong = executor.get_handle(handle.id, "CleansUp")
    for call in (wrong.describe(), wrong.cancel(), wrong.terminate()):
        with pytest.raises(NotFound):
            await call
    assert (await handle.describe()).status == "running"
    await handle.terminate()


@pytest.mark.parametrize(
    ("workflow", "options", "text"),
    [
        (5, {}, "`5` is no workflow"),
        ("Faulty", {"memo": [1]}, "`memo` is `\\[1\\]`"),
        ("Faulty", {"memo": {1: 2}}, "`memo` is"),
        ("Faulty", {"search_attributes": {"x": [1]}}, "`search_attributes.x`"),
        ("Faulty", {"task_queue": "x"}, "no option `task_queue`"),
    ],
)
async def test_a_wrong_start_is_named(executor: Executor, workflow: Any, options: dict[str, Any], text: str):
    with pytest.raises((InvalidArguments, MCPAgentError), match=text):
        await executor.start_workflow(workflow, "waits", **options)


async def test_a_step_whose_next_attempt_would_come_too_late_fails_at_once_with_its_own_error(executor: Executor):
    handle = await executor.start_workflow("AsksTheBusy")
    with anyio.fail_after(10), pytest.raises(RunFailedError, match="not now") as failed:
        await handle.result()
    assert failed.value.type == "Busy"
