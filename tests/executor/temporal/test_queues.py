"""Queues for models, tools and steps beside that of the workflows, and which work is done first."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from temporalio.api.common.v1 import Priority
from temporalio.client import WorkflowHistory
from temporalio.worker import PollerBehaviorSimpleMaximum

from mcp_agent.app import MCPApp
from mcp_agent.config import Settings, TemporalSettings
from mcp_agent.errors import ConfigError, DefinitionError, InvalidArguments
from mcp_agent.executor.priority import CallerPriority
from mcp_agent.executor.steps import StepOptions
from mcp_agent.executor.temporal import lasting, untaken
from mcp_agent.executor.temporal.executor import TemporalExecutor
from mcp_agent.executor.temporal.placing import Placing, StepQueues
from mcp_agent.executor.temporal.versioning import serving
from mcp_agent.executor.temporal.worker import create_temporal_worker_for_app
from mcp_agent.executor.temporal.worker_options import worker_options
from mcp_agent.executor.workflow import Workflow
from mcp_agent.executor.workflow_task import TaskDefinition, workflow_task
from tests.executor.temporal import queues_app
from tests.executor.temporal.queues_app import app
from tests.support import until

pytestmark = pytest.mark.anyio
QUEUES: dict[str, Any] = {"models": "q-of-models", "tools": None, "steps": {}, "gpu": {"task_queue": "q-of-gpus"}}


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.yaml"
    path.write_text("agents: {asker: [{turn: 0, tool_calls: [{name: look_up}]}, {any_turn: true, text: 'said '}]}")
    return path


def use(temporal: Path, script: Path, task_queue: str, queues: dict[str, Any], **more: Any) -> None:
    given = {"data_dir": temporal, "task_queue": task_queue, "queues": queues, **more}
    app.use(Settings(execution_engine="temporal", temporal=given, scripted={"file": script}))


@asynccontextmanager
async def engine(*, worker: Any = True) -> AsyncGenerator[TemporalExecutor, None]:
    async with app.open_executor(worker=worker) as opened:
        assert isinstance(opened, TemporalExecutor)
        yield opened


def places(history: WorkflowHistory) -> dict[str, set[str]]:
    """The task queues of the steps of a run, by their names."""
    found: dict[str, set[str]] = {}
    for event in history.events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            step = event.activity_task_scheduled_event_attributes
            found.setdefault(step.activity_type.name, set()).add(step.task_queue.name)
    return found


@pytest.mark.promise("issue 7: separate queues for model calls, tools and workflow code by configuration")
async def test_steps_go_to_the_queues_of_their_kind_and_a_changed_file_breaks_no_replay(temporal: Path, script: Path):
    use(temporal, script, "q-all", QUEUES)
    async with engine() as executor:
        handle = await executor.start_workflow("Everything", True, workflow_id="q-all")
        first = await executor.client.get_workflow_handle("q-all").describe()
        assert (await handle.result()).value == "said own stepdrawn picture"
        histories = [
            await executor.client.get_workflow_handle("q-all", run_id=run_id).fetch_history() for run_id in (first.run_id, None)
        ]
        for history in histories:
            assert places(history) == {
                "mcp_agent.llm.generate": {"q-of-models"},
                "mcp_agent.agent.call_function": {"q-all-tools"},
                "queues.own": {"q-all-steps"},
                "queues.drawn": {"q-of-gpus"},
            }
    use(temporal, script, "q-all", {"models": "q-elsewhere"})
    for history in histories:
        await app.replayer().replay_workflow(history)


@pytest.mark.promise("issue 7: a step that no worker can take is blocked, with cause and fix")
async def test_a_step_that_waits_on_a_queue_without_workers_blocks_its_run_until_there_is_one(
    temporal: Path, script: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(untaken, "UNTAKEN", timedelta(seconds=0.1))
    use(temporal, script, "q-apart", {"steps": "q-apart-alone"})
    async with engine(worker=["workflows"]) as executor:
        handle = await executor.start_workflow("Notes", "apart", workflow_id="q-apart")

        async def blocked() -> str | None:
            return (await executor.describe_run("q-apart")).blocked

        said = await until(blocked)
        assert said is not None
        assert said.startswith("No worker serves task queue `q-apart-alone`, where step `queues.noted` waits: start the server")
        async with create_temporal_worker_for_app(app, queues=["steps"]) as worker:
            assert worker.task_queues == {"steps": "q-apart-alone"}
            serving_it = asyncio.create_task(worker.run())
            assert (await handle.result()).value == "apart"
            serving_it.cancel()
            await asyncio.gather(serving_it, return_exceptions=True)
        assert (await executor.describe_run("q-apart")).status == "completed"


@pytest.mark.promise("issue 7: a dead worker is rebuilt; graceful drain within a deadline")
async def test_the_workers_of_all_queues_are_made_anew_and_end_in_order(
    temporal: Path, script: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lasting, "FIRST_PAUSE", 0.01)
    queues_app.begun, queues_app.go_on = asyncio.Event(), asyncio.Event()
    use(temporal, script, "q-lasting", {"steps": {}})
    async with create_temporal_worker_for_app(app) as worker:
        workers = worker._workers
        running = asyncio.create_task(worker.run())

        async def ready() -> bool:
            return (await workers.health()).ready

        await until(ready)
        steps = workers.served[1].worker
        tell = steps.current.config().get("on_fatal_error")
        assert tell is not None
        await tell(RuntimeError("refused"))  # as Temporal's core does
        health = await workers.health()
        assert (health.alive, health.ready, health.problem) == (False, False, "the worker of queue `q-lasting-steps` has died")
        await until(ready)
        assert steps.identity.endswith("#2")
        async with engine(worker=False) as executor:
            handle = await executor.start_workflow("Holds", workflow_id="q-holds")
            await queues_app.begun.wait()
            workers.shutdown()
            assert "is stopping" in (await workers.health()).problem
            queues_app.go_on.set()
            await running
            (done,) = [
                event
                for event in (await executor.client.get_workflow_handle("q-holds").fetch_history()).events
                if event.HasField("activity_task_completed_event_attributes")
            ]
            assert done.activity_task_completed_event_attributes.identity == steps.identity
            await executor.terminate_run(handle.id, None)


@pytest.mark.promise("issue 7: workers of other builds wait, on each queue")
async def test_the_newest_build_does_the_steps_of_a_queue(temporal: Path, script: Path):
    async def current() -> str | None:
        version = (await serving(executor.client, "q-builds-steps", "steps")).current
        return None if version is None else version.build_id

    use(temporal, script, "q-builds", {"steps": {}})
    async with engine() as executor:
        assert await until(current) != "newer"
        use(temporal, script, "q-builds", {"steps": {}}, worker_versioning={"build_id": "newer"})
        async with create_temporal_worker_for_app(app, queues=["steps"]) as newer:
            running = asyncio.create_task(newer.run())

            async def is_newer() -> bool:
                return await current() == "newer"

            await until(is_newer)
            assert (await (await executor.start_workflow("Notes", "newer")).result()).value == "newer"
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@pytest.mark.promise("issue 7: priorities and fairness keys per caller")
async def test_a_priority_is_carried_to_steps_children_and_continued_runs(temporal: Path, script: Path):
    use(temporal, script, "q-first", {"steps": {}}, priorities={"Everything": 2})
    queues_app.priorities.clear()
    async with engine() as executor:
        run_id = "ann.Everything.1"
        gold = CallerPriority(priority=1, weight=2.5)
        args = {"run_id": run_id, "input_digest": "x"}
        await executor.start_run(app.workflows["Everything"], [True], priority=gold, **args)
        continued = executor.client.get_workflow_handle(run_id)
        await continued.result()
        described = await continued.describe()
        assert priority_of(described) == Priority(priority_key=1, fairness_key="ann", fairness_weight=2.5)
        events = (await continued.fetch_history()).events
        children = [each.child_workflow_execution_started_event_attributes.workflow_execution.workflow_id for each in events]
        found = [await executor.client.get_workflow_handle(child).describe() for child in children if child]
        levels = [(each.workflow_type, priority_of(each).priority_key) for each in found]
        assert levels == [("Child", 4), ("Heir", 1), ("Heir", 5)]
        assert {priority_of(each).fairness_key for each in found} == {"ann"}
        assert queues_app.priorities == {"step": {1}, "picture": {2}, "child": {4}, "heir": {1, 5}}


@pytest.mark.parametrize(("asked", "gets"), [({}, 2), ({"priority": 5}, 5)])
async def test_a_priority_of_the_call_wins_over_the_configured_one(temporal: Path, script: Path, asked: Any, gets: int):
    use(temporal, script, "q-asked", {}, priorities={"Notes": 2})
    async with engine(worker=False) as executor:
        handle = await executor.start_workflow("Notes", "x", **asked)
        assert priority_of(await executor.client.get_workflow_handle(handle.id).describe()).priority_key == gets
        await executor.terminate_run(handle.id, None)


def priority_of(description: Any) -> Priority:
    return description.raw_description.workflow_execution_info.priority


@pytest.mark.promise("issue 7: priorities")
async def test_what_is_urgent_is_done_before_a_backlog(temporal: Path, script: Path):
    use(temporal, script, "q-busy", {"steps": {"max_concurrent_activities": 1, "activity_pollers": 2}})
    queues_app.done.clear()
    async with engine(worker=["workflows"]) as executor:
        runs = [await executor.start_workflow("Notes", f"slow {number}", priority=5) for number in range(6)]
        runs.append(await executor.start_workflow("Notes", "urgent", priority=1))

        async def wait_for_turns() -> bool:
            return all([(await executor.describe_run(run.id)).steps for run in runs])

        await until(wait_for_turns)
        async with create_temporal_worker_for_app(app, queues=["steps"]) as worker:
            running = asyncio.create_task(worker.run())
            await asyncio.gather(*(run.result() for run in runs))
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert queues_app.done.index("urgent") < 4


@pytest.mark.parametrize("priority", [0, 6, True, "1", 1.5])
def test_a_priority_that_is_none_is_refused(priority: Any):
    says = rf"`priority` is `{priority!r}`: use a number from 1 \(first\) to 5 \(last\)"
    with pytest.raises(InvalidArguments, match=says):
        StepOptions(priority=priority).check()
    with pytest.raises(DefinitionError, match=says):
        workflow_task(priority=priority)(queues_app.look_up)

    class Odd(Workflow[str]):
        async def run(self) -> str:
            return ""

    with pytest.raises(DefinitionError, match=says):
        MCPApp("odd").workflow(priority=priority)(Odd)


def test_a_place_is_said_once_and_the_nearer_one_counts():
    with pytest.raises(InvalidArguments, match="leave one of them out"):
        StepOptions(queue="gpu", task_queue="x").check()
    with pytest.raises(InvalidArguments, match="`queue` does not go with `local`"):
        StepOptions(queue="gpu", local=True).check()
    assert StepOptions(task_queue="x").over(StepOptions(queue="gpu")).queue is None


def queues(**configured: Any) -> StepQueues:
    return StepQueues(TemporalSettings(queues=configured).queues)


def test_a_step_goes_to_the_queue_that_it_names_else_to_that_of_its_kind():
    placed = queues(models={}, steps="mine", gpu=None)
    cases = {
        ("mcp_agent.llm.generate", None): "own-models",
        ("mcp_agent.mcp.call_tool", None): None,
        ("a.step", None): "mine",
        ("a.step", "gpu"): "own-gpu",
        ("a.step", "not-configured"): "mine",
    }
    assert {(step, name): placed.of_step(step, StepOptions(queue=name), "own") for step, name in cases} == cases
    assert placed.of_step("a.step", StepOptions(task_queue="exactly"), "own") == "exactly"


def test_queues_that_cannot_be_served_are_refused():
    step = TaskDefinition("a.step", queues_app.look_up, StepOptions(queue="gpu", task_queue=None))
    queues(gpu={}, tools={}).check_used([step])
    with pytest.raises(ConfigError, match=r"`temporal.queues` has `gpus`, but no step is made with `queue='gpus'`.*`gpu`"):
        queues(gpus={}).check_used([step])
    with pytest.raises(ConfigError, match=r"There is no queue `tool` in `temporal.queues`.*`tools`"):
        queues(tools={}).served("own", ["tool"])
    with pytest.raises(ConfigError, match="Queues `models` and `tools` both have the task queue `x`"):
        queues(models="x", tools="x").served("own")
    with pytest.raises(ConfigError, match="Queues `workflows` and `models` both have the task queue `own`"):
        queues(models="own").served("own")
    app.use(Settings(temporal={"priorities": {"Note": 1}}))
    with pytest.raises(ConfigError, match=r"`temporal.priorities` has `Note`, but there is no such workflow.*`Notes`"):
        Placing.of(app)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"temporal": {"queues": {"workflows": {}}}}, "the queue of the workflows is `temporal.task_queue`"),
        ({"temporal": {"queues": {"Models": {}}}}, "`Models` is no name of a queue"),
        ({"temporal": {"queues": {"models": {"tuner": {}, "max_concurrent_activities": 3}}}}, "keep one"),
        ({"temporal": {"priorities": {"Notes": 9}}}, "less than or equal to 5"),
        (
            {"server": {"worker": ["model"]}, "temporal": {"queues": {"models": {}}}},
            "`server.worker`: There is no queue `model`.*`models`",
        ),
        (
            {
                "server": {"worker": ["workflows"], "auth": {"tokens": [{"subject": "ann", "token": "t" * 20}]}},
                "temporal": {"queues": {"tools": {}}},
                "mcp": {"servers": {"mail": {"url": "http://localhost:1", "auth": {"caller_token": True}}}},
            },
            "needs `tools` in `server.worker`",
        ),
    ],
)
def test_a_configuration_of_queues_that_cannot_be_kept_is_refused(given: dict[str, Any], says: str):
    with pytest.raises(ValidationError, match=says):
        Settings.model_validate(given)


def test_a_queue_has_its_own_limits_else_those_of_the_worker():
    settings = TemporalSettings(
        max_concurrent_activities=10,
        worker={"max_concurrent_workflows": 5, "max_activities_per_second": 3, "activity_pollers": 4},
        queues={"models": {"max_concurrent_activities": 200, "max_queue_activities_per_second": 50}, "tools": {"tuner": {}}},
    )
    assert worker_options(settings, {}, "models") == {
        "max_concurrent_activities": 200,
        "max_activities_per_second": 3,
        "max_task_queue_activities_per_second": 50,
        "activity_task_poller_behavior": PollerBehaviorSimpleMaximum(4),
    }
    tools = worker_options(settings, {}, "tools")
    assert "tuner" in tools
    assert "max_concurrent_activities" not in tools
    assert worker_options(settings, {"max_concurrent_activities": 7}, "models")["max_concurrent_activities"] == 7
