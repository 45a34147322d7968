"""What a run asks reaches a person through whichever way the client knows, in both protocol eras."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ElicitRequestFormParams, ElicitRequestParams, ElicitResult, InputRequiredResult

from mcp_agent.config import Settings
from mcp_agent.server.app_server import AgentServer
from tests.server import desk
from tests.support import call, refusal, until

pytestmark = pytest.mark.anyio

REVIEW = "workflows-Review-run"
IT = {"run_parameters": {"text": "it"}}
Person = Callable[[ElicitRequestParams], Awaitable[ElicitResult]]


def asked_by(server: AgentServer, mode: Any, person: Person) -> Client:
    """A client whose person answers."""

    async def elicited(_: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        return await person(params)

    return Client(server.mcp, mode=mode, elicitation_callback=elicited)


def saying(*answers: ElicitResult, told: list[ElicitRequestParams]) -> Person:
    """A person who says these, one after the other, and whose questions are noted."""
    left = list(answers)

    async def person(params: ElicitRequestParams) -> ElicitResult:
        told.append(params)
        return left.pop(0)

    return person


def accept(**content: Any) -> ElicitResult:
    return ElicitResult(action="accept", content=content)


async def runs_of(client: Client) -> list[dict[str, Any]]:
    return (await call(client, "workflows-runs-list"))["runs"]


@pytest.mark.promise("issue: answered by live elicitation, or by an input-required result")
async def test_a_client_that_can_ask_gets_the_result_in_one_call(server: AgentServer, mode: Any):
    told: list[ElicitRequestParams] = []
    async with asked_by(server, mode, saying(accept(ok=True, reason="good"), told=told)) as client:
        run = await call(client, REVIEW, **IT)
        assert (run["status"], run["result"]) == ("completed", "True good")
        assert [one["run_id"] for one in await runs_of(client)] == [run["run_id"]]
    [asked] = told
    assert isinstance(asked, ElicitRequestFormParams)
    assert asked.message == "Is 'it' good?"
    assert set(asked.requested_schema["properties"]) == {"ok", "reason"}


async def test_a_client_that_asks_for_the_status_is_asked_too(server: AgentServer, mode: Any):
    told: list[ElicitRequestParams] = []
    async with asked_by(server, mode, saying(accept(ok=False), told=told)) as client:
        run = await call(client, REVIEW, wait_seconds=0, **IT)
        assert run["status"] != "completed"
        assert not told
        run = await call(client, "workflows-Review-get_status", run_id=run["run_id"], wait_seconds=5)
        assert (run["status"], run["result"]) == ("completed", "False")


async def test_an_answer_that_does_not_fit_is_asked_for_again_with_the_reason(server: AgentServer, mode: Any):
    told: list[ElicitRequestParams] = []
    async with asked_by(server, mode, saying(accept(ok="maybe"), accept(ok=True), told=told)) as client:
        run = await call(client, REVIEW, **IT)
        assert (run["status"], run["result"]) == ("completed", "True")
    assert (
        told[1].message
        == told[0].message + "\n\nThe last answer did not fit: `ok`: Input should be a valid boolean, unable to interpret input."
    )


async def test_a_person_whose_answers_never_fit_is_asked_three_times_and_then_left_alone(server: AgentServer, mode: Any):
    told: list[ElicitRequestParams] = []
    async with asked_by(server, mode, saying(*[accept(ok="maybe")] * 3, told=told)) as client:
        run = await call(client, REVIEW, **IT)
        assert len(told) == 3
        assert run["status"] == "waiting_for_input"
        assert run["next_action"]["tool"] == "workflows-Review-resume"


@pytest.mark.promise("contract: existing: true when an idempotency key met a run that was there")
async def test_an_answer_does_not_make_a_run_one_that_was_there_before(server: AgentServer, mode: Any):
    told: list[ElicitRequestParams] = []
    async with asked_by(server, mode, saying(*[accept(ok=True)] * 2, told=told)) as client:
        assert [(await call(client, REVIEW, **IT, workflow_id="k"))["existing"] for _ in range(2)] == [False, True]


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_person_who_does_not_answer_leaves_the_question_open(server: AgentServer, mode: Any, action: Any):
    told: list[ElicitRequestParams] = []
    async with asked_by(server, mode, saying(ElicitResult(action=action), told=told)) as client:
        run = await call(client, REVIEW, **IT)
        assert run["status"] == "waiting_for_input"
        assert run["next_action"]["tool"] == "workflows-Review-resume"
        assert len(told) == 1
        arguments = {"run_id": run["run_id"], "payload": {"ok": True}}
        done = await call(client, "workflows-Review-resume", **arguments)
        assert done["accepted"]


async def test_a_client_that_cannot_ask_finds_the_question_in_the_run(client: Client):
    run = await call(client, REVIEW, **IT)
    assert run["status"] == "waiting_for_input"
    assert run["pending_inputs"][0]["message"] == "Is 'it' good?"


@pytest.mark.promise("issue: no client time-out loses a run, or an answer")
async def test_an_answer_that_comes_after_the_wait_still_reaches_the_run():
    app = desk.make()
    app.use(Settings(server={"wait_budget_seconds": 0.3}))
    decided = anyio.Event()

    async def person(_: ElicitRequestParams) -> ElicitResult:
        await decided.wait()
        return accept(ok=True)

    async with AgentServer.open(app) as server, asked_by(server, "legacy", person) as client:
        run = await call(client, REVIEW, **IT)
        assert run["status"] == "waiting_for_input"
        again = await call(client, "workflows-Review-get_status", run_id=run["run_id"], wait_seconds=0.2)
        assert again["status"] == "waiting_for_input"
        decided.set()

        async def completed() -> bool:
            return (await call(client, "workflows-Review-get_status", run_id=run["run_id"]))["status"] == "completed"

        await until(completed, limit=10)


async def test_a_question_that_was_answered_elsewhere_is_withdrawn(server: AgentServer):
    shown, withdrawn = anyio.Event(), anyio.Event()

    async def person(_: ElicitRequestParams) -> ElicitResult:
        shown.set()
        try:
            await anyio.sleep_forever()
        finally:
            withdrawn.set()

    async with Client(server.mcp) as other, asked_by(server, "legacy", person) as client, anyio.create_task_group() as tasks:

        async def answer_elsewhere() -> None:
            await shown.wait()
            [run] = await runs_of(other)
            await call(other, "workflows-Review-resume", run_id=run["run_id"], payload={"ok": True})

        tasks.start_soon(answer_elsewhere)
        run = await call(client, REVIEW, **IT)
        assert run["status"] == "completed"
        with anyio.fail_after(5):
            await withdrawn.wait()


class TestSealedState:
    """2026-07-28: the question is the call's result, and the call comes again with its answer."""

    @staticmethod
    async def begun(client: Client, **more: Any) -> InputRequiredResult:
        result = await client.session.call_tool(REVIEW, {**IT, **more}, allow_input_required=True)
        assert isinstance(result, InputRequiredResult)
        assert result.request_state is not None
        return result

    @staticmethod
    async def again(client: Client, state: str | None, answer: ElicitResult, tool: str = REVIEW, text: str = "it") -> Any:
        arguments = {"run_parameters": {"text": text}}
        result = await client.session.call_tool(
            tool, arguments, input_responses={"verdict#1": answer}, request_state=state, allow_input_required=True
        )
        return result.structured_content if isinstance(result, CallToolResult) else result

    @pytest.fixture
    async def client(self, server: AgentServer) -> Any:
        async with asked_by(server, "auto", saying(told=[])) as client:
            yield client

    @pytest.mark.promise("issue: an input-required result whose sealed state never starts a second run")
    async def test_the_same_answer_again_gives_the_same_run(self, client: Client):
        asked = await self.begun(client)
        first = await self.again(client, asked.request_state, accept(ok=True))
        second = await self.again(client, asked.request_state, accept(ok=True))
        other = await self.again(client, asked.request_state, accept(ok=False))
        assert first["run_id"] == second["run_id"] == other["run_id"]
        assert {first["result"], second["result"], other["result"]} == {"True"}
        assert len(await runs_of(client)) == 1

    async def test_the_state_shows_nothing_of_the_run(self, client: Client):
        asked = await self.begun(client, workflow_id="secret-key")
        assert asked.request_state is not None
        assert "Review" not in asked.request_state
        assert "secret-key" not in asked.request_state

    async def test_a_changed_state_is_refused_and_starts_nothing(self, client: Client):
        asked = await self.begun(client)
        assert asked.request_state is not None
        head, tail = asked.request_state[:40], asked.request_state[41:]
        changed = head + ("A" if asked.request_state[40] != "A" else "B") + tail
        for state in (changed, "v1.AAAA", "", json.dumps(["Review.x", []])):
            with pytest.raises(MCPError, match="requestState"):
                await self.again(client, state, accept(ok=True))
        assert len(await runs_of(client)) == 1

    async def test_the_state_belongs_to_its_tool_and_its_arguments(self, client: Client):
        asked = await self.begun(client)
        with pytest.raises(MCPError, match="requestState"):
            await self.again(client, asked.request_state, accept(ok=True), text="else")
        with pytest.raises(MCPError, match="requestState"):
            await client.session.call_tool(
                "workflows-Greet-run", IT, request_state=asked.request_state, allow_input_required=True
            )
        assert len(await runs_of(client)) == 1

    async def test_a_call_that_comes_again_without_an_answer_finds_the_question_in_the_run(self, client: Client):
        asked = await self.begun(client)
        result = await client.session.call_tool(REVIEW, IT, request_state=asked.request_state, allow_input_required=True)
        assert isinstance(result, CallToolResult)
        assert (result.structured_content or {})["status"] == "waiting_for_input"


async def test_an_answer_without_a_payload_is_not_taken_for_a_no(client: Client):
    run = await call(client, "workflows-Permission-run")
    assert run["next_action"]["arguments"] == {"run_id": run["run_id"], "request_id": "elicitation#1"}
    refused = await refusal(client, "workflows-Permission-resume", **run["next_action"]["arguments"])
    assert (refused["code"], "`payload`" in refused["message"]) == ("invalid_arguments", True)
    done = await call(client, "workflows-Permission-resume", run_id=run["run_id"], payload=None)
    assert done["accepted"]
