"""Values of every type travel alike on both engines."""

from datetime import timedelta
from typing import Any

import pytest

from mcp_agent.errors import DefinitionError, InvalidArguments, RunFailedError
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.workflow_task import workflow_task
from tests.behaviour import values_desk as desk
from tests.behaviour.test_behaviour import value

pytestmark = pytest.mark.anyio


@pytest.mark.promise("issue: typed results everywhere, equal on both engines")
@pytest.mark.parametrize("kind", desk.VALUES)
async def test_a_value_keeps_its_type_through_run_step_signal_and_update(executor: Executor, kind: str):
    expected, _ = desk.VALUES[kind]
    handle = await executor.start_workflow(f"Carries_{kind}", expected)
    plain = await handle.update("change", expected)
    await handle.signal("tell", expected)
    result = (await handle.result()).value
    assert desk.same(result, expected)
    assert (await handle.describe()).result == plain


@pytest.mark.promise("issue: @workflow_task with local")
async def test_local_steps_are_retried_and_give_their_results(executor: Executor):
    assert await value(executor, "Locals") == [10, 3]


@pytest.mark.promise("fault: a value of the wrong type fails by name at once, on both engines")
@pytest.mark.parametrize(
    ("how", "type_", "text"),
    [
        ("result of a step", "UnreadableValue", "The result of step `values.liar` does not fit its type"),
        ("argument of a step", "UnreadableValue", "An argument of step `values.local` does not fit its type"),
        ("too many", "InvalidArguments", "Step `values.local` cannot be called so: too many positional arguments"),
        ("result", "UnreadableValue", "The result of `Liar` does not fit its type: `value`: Input should be a valid integer"),
    ],
)
async def test_a_value_of_the_wrong_type_fails_the_run(executor: Executor, how: str, type_: str, text: str):
    handle = await executor.start_workflow("Liar", how)
    with pytest.raises(RunFailedError, match=text) as told:
        await handle.result()
    assert told.value.type == type_


async def test_a_step_may_take_any_number_of_arguments(executor: Executor):
    assert await value(executor, "Liar", "any number") == 6


async def test_who_sends_what_does_not_fit_is_told(executor: Executor):
    handle = await executor.start_workflow("Liar", "wait")
    for call, args, text in [
        (handle.signal, ("word",), "Signal `word` takes 1 to 2 arguments, not 0"),
        (handle.signal, ("word", "x", "often"), "An argument of signal `word` does not fit its type"),
        (handle.update, ("number", "x"), "An argument of update `number` does not fit its type"),
        (handle.query, ("asked", 1, 2), "Query `asked` takes 1 arguments, not 2"),
    ]:
        with pytest.raises(InvalidArguments, match=text):
            await call(*args)
    assert await handle.update("number", 1) == 1, "the run goes on"
    assert (await handle.describe()).status == "running"
    await handle.terminate()


@pytest.mark.parametrize(
    "options",
    [
        {"start_to_close_timeout": 5},
        {"heartbeat_timeout": timedelta(0)},
        {"retry_policy": desk.workflow.RetryPolicy(maximum_attempts=-1)},
        {"local": True, "heartbeat_timeout": timedelta(seconds=5)},
        {"local": True, "task_queue": "elsewhere"},
    ],
)
def test_a_step_with_wrong_options_is_refused_where_it_is_defined(options: dict[str, Any]):
    async def step() -> None: ...

    with pytest.raises(DefinitionError, match=r"Task `.*step`: .*`"):
        workflow_task(**options)(step)
