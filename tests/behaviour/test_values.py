"""Values of every type travel alike on both engines."""

from datetime import timedelta
from typing import Any

import pytest

from mcp_agent.errors import DefinitionError
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
