"""Runs as tasks (SEP-2663): with the real SDK client, and on the wire for what it lacks."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.shared.exceptions import MCPError
from mcp_types import HEADER_MISMATCH, INVALID_PARAMS, METHOD_NOT_FOUND, MISSING_REQUIRED_CLIENT_CAPABILITY, ElicitResult
from pydantic import AnyHttpUrl

from mcp_agent.config import Settings
from mcp_agent.errors import EngineUnavailable
from mcp_agent.executor.runs import PendingInput, RunFailure, RunState
from mcp_agent.executor.temporal.binary import find_or_make_binary
from mcp_agent.server.app_server import AgentServer
from mcp_agent.server.tasks import created
from mcp_agent.server.workflow_tools import GENERIC
from tests.mcp.able_server import serving
from tests.server import desk
from tests.server.tasks_client import EXTENSION, Tasks, Told, Wire, accept, begun, cancel, get, update
from tests.support import Desk, call, desk_in, until

pytestmark = pytest.mark.anyio

SCOPES = ["workflows:read", "workflows:run", "workflows:cancel"]


async def no_answer(context: Any, params: Any) -> ElicitResult:
    raise AssertionError("nothing is asked here")


@pytest.fixture
async def client(server: AgentServer) -> AsyncGenerator[Client, None]:
    """A client that knows tasks and can show forms."""
    async with Client(server.mcp, extensions=[Tasks()], elicitation_callback=no_answer) as connected:
        yield connected


@pytest.fixture
async def wire(url: str) -> AsyncGenerator[Wire, None]:
    async with httpx2.AsyncClient(timeout=20) as http:
        yield Wire(http, url)


async def task_in(client: Client, task_id: str, status: str) -> Told:
    async def there() -> Told | None:
        task = await get(client, task_id)
        return task if task.status == status else None

    return await until(there)


def text(task: Told) -> str:
    assert task.result is not None
    return task.result["content"][0]["text"]


class TestRuns:
    @pytest.mark.promise("contract: a client that declared the Tasks extension gets a task whose id is the run")
    @pytest.mark.parametrize("arguments", [{}, {"wait_seconds": 20}])
    async def test_a_run_is_a_task_of_the_same_id(self, client: Client, arguments: dict[str, Any]):
        seed = await begun(client, "workflows-Greet-run", run_parameters={"name": "Ada"}, **arguments)
        task = await task_in(client, seed.task_id, "completed")
        assert text(task).startswith("hello Ada\n\nRun")
        assert task.result is not None
        run = task.result["structuredContent"]
        assert run["run_id"] == seed.task_id
        assert run["result"] == "hello Ada"
        assert not task.result["isError"]
        assert task.poll_interval_ms is None

    async def test_a_client_that_will_not_wait_gets_a_handle(self, client: Client):
        run = await call(client, "workflows-Forever-run", run_parameters={}, wait_seconds=0)
        assert run["next_action"]["tool"] == "workflows-Forever-get_status"

    async def test_a_task_that_works_says_how_far_it_is_and_when_to_ask_again(self, client: Client):
        seed = await begun(client, "workflows-Counts-run", run_parameters={"until": 2})
        assert seed.status == "working"
        assert 250 <= (seed.poll_interval_ms or 0) <= 5_000
        await call(client, "workflows-Counts-resume", run_id=seed.task_id, signal_name="tick")

        async def told() -> bool:
            task = await get(client, seed.task_id)
            return task.status == "working" and "1 done: tick 1" in (task.status_message or "")

        await until(told)

    async def test_the_same_key_is_the_same_task(self, client: Client):
        first, second = [await begun(client, "workflows-Forever-run", run_parameters={}, workflow_id="mine") for _ in range(2)]
        assert first.task_id == second.task_id == "Forever.mine"

    @pytest.mark.parametrize("how", ["error", "exception"])
    async def test_a_failed_run_is_a_completed_task_with_an_error_in_its_result(self, client: Client, how: str):
        seed = await begun(client, "workflows-Fails-run", run_parameters={"how": how})
        task = await task_in(client, seed.task_id, "completed")
        assert task.result is not None
        assert task.result["isError"]
        assert task.result["structuredContent"]["status"] == "failed"
        assert task.error is None
        assert "failed" in (task.status_message or "")

    async def test_bad_arguments_are_refused_and_start_no_task(self, client: Client):
        result = await client.call_tool("workflows-Greet-run", {"run_parameters": {"who": "Ada"}})
        assert result.is_error
        assert (await call(client, "workflows-runs-list"))["runs"] == []

    async def test_cancel_is_acknowledged_as_often_as_it_is_asked_for(self, client: Client):
        seed = await begun(client, "workflows-Forever-run", run_parameters={})
        await cancel(client, seed.task_id)
        task = await task_in(client, seed.task_id, "cancelled")
        assert task.result is None
        assert "was cancelled" in (task.status_message or "")
        await cancel(client, seed.task_id)
        assert (await get(client, seed.task_id)).status == "cancelled"

    async def test_a_client_without_the_extension_gets_what_it_always_got(self, server: AgentServer, mode: Any):
        async with Client(server.mcp, mode=mode) as plain:
            run = await call(plain, "workflows-Greet-run", run_parameters={"name": "Ada"})
            assert run["status"] == "completed"

    @pytest.mark.promise("issue: tasks are announced only where clients can use them")
    async def test_the_extension_is_announced_to_the_modern_era_alone(self, server: AgentServer, mode: Any):
        async with Client(server.mcp, mode=mode) as plain:
            announced = plain.server_capabilities.extensions or {}
            assert (EXTENSION in announced) == (mode == "auto")


@pytest.mark.parametrize(
    ("status", "told", "is_error"),
    [
        ("queued", "working", None),
        ("running", "working", None),
        ("blocked", "working", None),
        ("waiting_for_input", "working", None),
        ("completed", "completed", False),
        ("failed", "completed", True),
        ("timed_out", "completed", True),
        ("cancelled", "cancelled", None),
        ("terminated", "cancelled", None),
    ],
)
async def test_each_status_of_a_run_is_one_of_a_task(server: AgentServer, status: Any, told: str, is_error: bool | None):
    shown = server.runs.shown(run_in(status), None, GENERIC)
    seed = created(shown)
    assert seed.status == told
    assert seed.ttl_ms == 60_000
    assert (seed.status_message is None) == (status == "completed")
    if is_error is not None:
        assert shown.result(failed_is_error=True).is_error == is_error


def run_in(status: Any) -> RunState:
    now = datetime.now(UTC)
    asked = PendingInput(request_id="seal#1", name="seal", message="Which seal?", created_at=now)
    return RunState(
        run_id="Seal.1",
        workflow="Seal",
        status=status,
        started_at=now,
        updated_at=now,
        expires_at=now + timedelta(minutes=1),
        blocked="no worker serves it" if status == "blocked" else None,
        error=RunFailure(code="x", message="it went wrong") if status == "failed" else None,
        pending_inputs=(asked,) if status == "waiting_for_input" else (),
    )


class TestFunctions:
    async def test_an_async_tool_is_a_task(self, client: Client):
        seed = await begun(client, "later", text="hi")
        task = await task_in(client, seed.task_id, "completed")
        assert task.result is not None
        assert task.result["structuredContent"]["result"] == "HI!"

    async def test_a_quick_call_is_none(self, client: Client):
        result = await client.call_tool("add", {"a": 1, "b": 2})
        assert result.structured_content == {"sum": 3}

    async def test_a_call_that_outlives_its_wait_becomes_a_task_with_the_call_s_own_result(self, impatient: Client):
        desk.GATES.append(anyio.Event())
        seed = await begun(impatient, "slow")
        assert (await get(impatient, seed.task_id)).status == "working"
        desk.GATES[-1].set()
        task = await task_in(impatient, seed.task_id, "completed")
        assert task.result is not None
        assert task.result["content"] == [{"type": "text", "text": "done"}]
        assert task.result["structuredContent"] == {"result": "done"}

    async def test_a_call_that_ends_in_a_protocol_error_is_a_failed_task(self, impatient: Client):
        desk.GATES.append(anyio.Event())
        seed = await begun(impatient, "refuses")
        desk.GATES[-1].set()
        task = await task_in(impatient, seed.task_id, "failed")
        assert task.error == {"code": -32001, "message": "no such thing", "data": {"why": "a test"}}
        assert task.result is None

    @pytest.fixture
    async def impatient(self) -> AsyncGenerator[Client, None]:
        app = desk.make()
        app.use(Settings(server={"wait_budget_seconds": 0.01}))
        async with AgentServer.open(app) as server, Client(server.mcp, extensions=[Tasks()]) as connected:
            yield connected


class TestPeople:
    @pytest.mark.promise("issue: people in the loop are reached by task update")
    async def test_a_task_aware_client_asks_its_person_and_gets_the_result(self, server: AgentServer):
        async def person(context: Any, params: Any) -> ElicitResult:
            assert params.message == "Is 'it' good?"
            return ElicitResult(action="accept", content={"ok": True, "reason": "fine"})

        driver = Tasks()
        async with Client(server.mcp, extensions=[driver], elicitation_callback=person) as client:
            result = await client.call_tool("workflows-Review-run", {"run_parameters": {"text": "it"}})
        assert result.structured_content is not None
        assert result.structured_content["result"] == "True fine"
        assert "input_required" in driver.seen

    async def asked(self, client: Client) -> str:
        seed = await begun(client, "workflows-Review-run", run_parameters={"text": "it"})
        task = await task_in(client, seed.task_id, "input_required")
        assert task.input_requests is not None
        assert list(task.input_requests) == ["verdict#1"]
        request = task.input_requests["verdict#1"]
        assert request["method"] == "elicitation/create"
        assert set(request["params"]["requestedSchema"]["properties"]) == {"ok", "reason"}
        return seed.task_id

    async def test_an_answer_that_does_not_fit_opens_the_question_anew_with_the_problem(self, client: Client):
        task_id = await self.asked(client)
        await update(client, task_id, verdict_1=accept(ok="perhaps"))
        task = await get(client, task_id)
        assert task.input_requests is not None
        assert list(task.input_requests) == ["verdict#1/2"]
        assert "`ok`" in task.input_requests["verdict#1/2"]["params"]["message"]
        await update(client, task_id, verdict_1=accept(ok=True))  # its key is used up
        assert list((await get(client, task_id)).input_requests or {}) == ["verdict#1/2"]
        await update(client, task_id, verdict_1_2=accept(ok=True, reason="now"))
        assert text(await task_in(client, task_id, "completed")).startswith("True now")

    @pytest.mark.parametrize("response", [{"action": "perhaps"}, {}, 7, None, {"action": "accept", "content": [1]}])
    async def test_what_is_no_answer_is_a_problem_too(self, client: Client, response: Any):
        task_id = await self.asked(client)
        await update(client, task_id, verdict_1=response)
        assert list((await get(client, task_id)).input_requests or {}) == ["verdict#1/2"]

    @pytest.mark.promise("issue: answers that come late or twice are harmless")
    async def test_late_double_and_unknown_answers_are_acknowledged_and_change_nothing(self, client: Client):
        task_id = await self.asked(client)
        await update(client, task_id, verdict_7=accept(ok=False), other=accept(ok=False))
        await update(client, task_id, verdict_1=accept(ok=True, reason="first"))
        await update(client, task_id, verdict_1=accept(ok=False, reason="second"))
        assert text(await task_in(client, task_id, "completed")).startswith("True first")
        await update(client, task_id, verdict_1=accept(ok=False, reason="third"))
        assert text(await get(client, task_id)).startswith("True first")

    async def test_a_question_that_is_put_away_stays_open(self, client: Client):
        task_id = await self.asked(client)
        await update(client, task_id, verdict_1={"action": "cancel"})
        assert list((await get(client, task_id)).input_requests or {}) == ["verdict#1"]

    async def test_questions_are_answered_one_by_one(self, client: Client):
        seed = await begun(client, "workflows-Double-run", run_parameters={})

        async def both() -> bool:
            return list((await get(client, seed.task_id)).input_requests or {}) == ["first#1", "second#1"]

        await until(both)
        await update(client, seed.task_id, first_1=accept(answer="one"))
        assert list((await get(client, seed.task_id)).input_requests or {}) == ["second#1"]
        await update(client, seed.task_id, second_1=accept(answer="two"))
        task = await task_in(client, seed.task_id, "completed")
        assert task.result is not None
        assert task.result["structuredContent"]["result"] == ["one", "two"]

    @pytest.mark.promise("contract: a wait returns early when a human is needed, and names the next action")
    async def test_the_task_of_a_client_that_can_show_no_form_ends_with_the_question(self, server: AgentServer):
        async with Client(server.mcp, extensions=[Tasks()]) as client:
            seed = await begun(client, "workflows-Review-run", run_parameters={"text": "it"})
            waiting = await task_in(client, seed.task_id, "completed")
            assert waiting.result is not None
            assert waiting.result["structuredContent"]["next_action"]["tool"] == "workflows-Review-resume"
            await call(client, "workflows-Review-resume", run_id=seed.task_id, payload={"ok": True})

            async def told() -> bool:
                return text(await get(client, seed.task_id)).startswith("True")

            await until(told)

    async def test_two_clients_share_a_task(self, server: AgentServer, client: Client):
        task_id = await self.asked(client)
        async with Client(server.mcp, extensions=[Tasks()], elicitation_callback=no_answer) as other:
            await update(other, task_id, verdict_1=accept(ok=True))
            await task_in(other, task_id, "completed")
        assert (await get(client, task_id)).status == "completed"


class TestErrors:
    @pytest.mark.parametrize("task_id", ["nope", "Greet.nope", "x" * 1_000, "no\x00thing", "run://x"])
    async def test_a_missing_task_is_told_by_every_method(self, client: Client, task_id: str):
        for ask in (get, cancel, update):
            with pytest.raises(MCPError, match="Task not found") as caught:
                await ask(client, task_id)
            assert caught.value.code == INVALID_PARAMS

    async def test_an_engine_that_is_away_is_not_a_missing_task(
        self, server: AgentServer, client: Client, monkeypatch: pytest.MonkeyPatch
    ):
        async def away() -> Any:
            raise EngineUnavailable("The engine is away.")

        monkeypatch.setattr(server.runs, "executor", away)
        with pytest.raises(MCPError, match="away") as caught:
            await get(client, "Greet.any")
        assert caught.value.data == {"code": "engine_unavailable", "retryable": True}

    async def test_a_request_without_the_extension_is_told_what_is_missing(self, wire: Wire):
        task_id = await wire.start("workflows-Forever-run")
        wire.capabilities = {}
        for method, more in (("tasks/get", {}), ("tasks/update", {"inputResponses": {}}), ("tasks/cancel", {})):
            error = await wire.error(method, {"taskId": task_id, **more}, task_id)
            assert error["code"] == MISSING_REQUIRED_CLIENT_CAPABILITY
            assert error["data"] == {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
        answer = await wire.call(
            "tools/call", {"name": "workflows-Forever-run", "arguments": {"wait_seconds": 0}}, "workflows-Forever-run"
        )
        assert answer["result"]["resultType"] == "complete"

    async def test_a_name_header_must_fit_but_may_be_missing(self, wire: Wire):
        task_id = await wire.start("workflows-Forever-run")
        assert (await wire.call("tasks/get", {"taskId": task_id}, task_id))["result"]["status"] == "working"
        assert (await wire.call("tasks/get", {"taskId": task_id}))["result"]["ttlMs"] is None
        assert (await wire.error("tasks/get", {"taskId": task_id}, "other"))["code"] == HEADER_MISMATCH

    async def test_a_seed_and_an_acknowledgement_have_nothing_that_belongs_to_a_detailed_task(self, wire: Wire):
        called = {"name": "workflows-Review-run", "arguments": {"run_parameters": {"text": "it"}}}
        seed = (await wire.call("tools/call", called, "workflows-Review-run"))["result"]
        assert {"taskId", "status", "createdAt", "lastUpdatedAt", "ttlMs", "resultType"} <= set(seed)
        assert not {"result", "error", "inputRequests", "task", "requestState"} & set(seed)
        acknowledged = (await wire.call("tasks/cancel", {"taskId": seed["taskId"]}, seed["taskId"]))["result"]
        assert set(acknowledged) == {"resultType", "_meta"}

    async def test_a_call_that_comes_again_with_an_answer_becomes_a_task_as_well(self, wire: Wire):
        named = {"name": "workflows-Review-run", "arguments": {"run_parameters": {"text": "it"}}}
        knows, wire.capabilities = wire.capabilities, {"elicitation": {"form": {}}}
        asked = (await wire.call("tools/call", named, named["name"]))["result"]
        assert asked["resultType"] == "input_required"
        (key,) = asked["inputRequests"]
        wire.capabilities = knows
        answered = {**named, "inputResponses": {key: accept(ok=True, reason="fine")}, "requestState": asked["requestState"]}
        seed = (await wire.call("tools/call", answered, named["name"]))["result"]
        assert seed["resultType"] == "task"
        assert "requestState" not in seed
        async with wire.listening(taskIds=[seed["taskId"]]) as heard:
            done = await heard.task(lambda task: task["status"] == "completed")
        assert done["result"]["structuredContent"]["result"] == "True fine"

    async def test_there_are_no_tasks_in_the_legacy_era(self, server: AgentServer):
        async with Client(server.mcp, mode="legacy", extensions=[Tasks()]) as old:
            run = await call(old, "workflows-Greet-run", run_parameters={"name": "Ada"})
            for ask in (get, cancel, update):
                with pytest.raises(MCPError) as caught:
                    await ask(old, run["run_id"])
                assert caught.value.code == METHOD_NOT_FOUND


class Verifier:
    """Takes a token's text for its owner's name."""

    async def verify_token(self, token: str) -> AccessToken | None:
        return AccessToken(
            token=token, client_id="host", subject=token, scopes=["workflows:read", "workflows:run", "workflows:cancel"]
        )


@pytest.mark.promise("issue: a foreign token on every task gets the same as a missing one")
async def test_somebody_else_s_task_looks_like_a_missing_one(server: AgentServer):
    site = AnyHttpUrl("http://127.0.0.1")
    auth = AuthSettings(issuer_url=site, resource_server_url=site, required_scopes=[], validate_token_resource=False)
    async with (
        serving(server.mcp.streamable_http_app(auth=auth, token_verifier=Verifier())) as base,
        httpx2.AsyncClient(headers={"Authorization": "Bearer alice"}) as hers,
        httpx2.AsyncClient(headers={"Authorization": "Bearer bob"}) as his,
    ):
        alice, bob = Wire(hers, f"{base}/mcp"), Wire(his, f"{base}/mcp")
        task_id = await alice.start("workflows-Forever-run")
        for method, more in (("tasks/get", {}), ("tasks/update", {"inputResponses": {}}), ("tasks/cancel", {})):
            foreign = await bob.error(method, {"taskId": task_id, **more}, task_id)
            missing = await bob.error(method, {"taskId": "nope", **more}, "nope")
            assert foreign == missing
        assert (await alice.call("tasks/get", {"taskId": task_id}))["result"]["status"] == "working"
        async with bob.listening(taskIds=[task_id], resourceSubscriptions=[f"run://{task_id}"]) as heard:
            assert heard.granted == {}


APP = """
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal

app = MCPApp(name="desk")


@app.workflow
class Seal(Workflow[str]):
    @app.workflow_run
    async def run(self, text: str) -> WorkflowResult[str]:
        seal = await app.context.executor.signal_bus.wait_for_signal(Signal("seal", payload_type=str, message="Which seal?"))
        return WorkflowResult(value=f"{text} {seal}")
"""


@pytest.mark.promise("issue: a task outlives the server process that began it")
async def test_a_task_on_temporal_is_answered_and_followed_through_another_server(tmp_path: Any):
    binary = await find_or_make_binary(None, print)
    config = f"execution_engine: temporal\nserver: {{app: 'sealing:app'}}\ntemporal: {{binary: {binary}}}\n"
    async with desk_in(tmp_path, binary, config, {"sealing.py": APP}) as made, httpx2.AsyncClient(timeout=30) as http:
        task_id = await _begun_on_a_server_that_is_killed(made, http)
        wire = Wire(http, (await made.serve()).url)
        async with wire.listening(taskIds=[task_id], resourceSubscriptions=[f"run://{task_id}"]) as heard:
            asked = await heard.task(lambda task: task["status"] == "input_required")
            (key,) = asked["inputRequests"]
            other = await made.serve()
            wrong = {"taskId": task_id, "inputResponses": {key: accept(answer=5)}}
            await Wire(http, other.url).call("tasks/update", wrong, task_id)
            asked = await heard.task(lambda task: key not in task.get("inputRequests", {key: ""}))  # the run remembers it
            other.kill()
            (key,) = asked["inputRequests"]
            assert "did not fit" in asked["inputRequests"][key]["params"]["message"]
            await wire.call("tasks/update", {"taskId": task_id, "inputResponses": {key: accept(answer="in red")}}, task_id)
            done = await heard.task(lambda task: task["status"] == "completed")
        assert done["result"]["structuredContent"]["result"] == "a deed in red"
        told = (await wire.call("tasks/get", {"taskId": task_id}, task_id))["result"]
        assert told["ttlMs"] > 0
        assert told["result"] == done["result"]


async def _begun_on_a_server_that_is_killed(made: Desk, http: httpx2.AsyncClient) -> str:
    first = await made.serve()
    wire = Wire(http, first.url)

    async def started() -> str | None:
        answer = await wire.call(
            "tools/call", {"name": "workflows-Seal-run", "arguments": {"text": "a deed"}}, "workflows-Seal-run"
        )
        return answer["result"].get("taskId")

    task_id = await until(started)
    first.kill()
    return task_id
