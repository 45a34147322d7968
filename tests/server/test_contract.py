"""What clients see (`contract.md`), field by field, in both protocol eras."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import jsonschema
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent

from mcp_agent.config import Settings
from mcp_agent.server.app_server import AgentServer, instructions
from tests.server import desk
from tests.support import call, call_text, refusal, until

pytestmark = pytest.mark.anyio

FIELDS = {"run_id", "temporal_run_id", "workflow", "existing", "status", "cancel_requested", "started_at", "updated_at"}


def text(result: CallToolResult) -> str:
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


async def waiting(client: Client) -> dict[str, Any]:
    run = await call(client, "workflows-Review-run", run_parameters={"text": "it"})
    assert run["status"] == "waiting_for_input"
    return run


class TestTools:
    async def test_the_list_is_sorted_complete_and_the_same_each_time(self, client: Client):
        first = [tool.name for tool in (await client.list_tools()).tools]
        assert first == sorted(first) == [tool.name for tool in (await client.list_tools()).tools]
        per_workflow = [f"workflows-{w}-{a}" for w in ("Greet", "Review") for a in ("run", "get_status", "resume", "cancel")]
        generic = ["workflows-get_status", "workflows-resume", "workflows-cancel", "workflows-list", "workflows-runs-list"]
        assert {*per_workflow, *generic, "add", "later"} <= set(first)
        assert "workflows-run" not in first

    async def test_every_tool_has_what_a_host_needs(self, client: Client):
        for tool in (await client.list_tools()).tools:
            assert tool.title
            assert tool.description
            assert len(f"mcp__desk__{tool.name}") <= 64
            jsonschema.Draft202012Validator.check_schema(tool.input_schema)
            assert tool.input_schema["type"] == "object"
            assert (tool.output_schema is None) == (tool.name in ("content", "unserializable"))  # their signatures tell no data
            jsonschema.Draft202012Validator.check_schema(tool.output_schema or {})

    @pytest.mark.promise("issue: every client; there are clients that hold refused calls to the tool's output schema")
    async def test_a_refused_call_fits_its_tool_s_output_schema(self, client: Client):
        checked = [tool for tool in (await client.list_tools()).tools if tool.output_schema is not None]
        assert {"workflows-list", "workflows-Greet-run", "workflows-Greet-cancel", "later"} <= {tool.name for tool in checked}
        for tool in checked:
            told = await refusal(client, tool.name, no_such_argument=1)
            assert told["code"] == "invalid_arguments"
            jsonschema.validate(told, tool.output_schema or {})

    async def test_annotations_tell_what_is_safe(self, client: Client):
        tools = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
        status, cancel, run = (tools[f"workflows-Greet-{action}"] for action in ("get_status", "cancel", "run"))
        assert status is not None
        assert status.read_only_hint
        assert cancel is not None
        assert cancel.destructive_hint
        assert cancel.idempotent_hint
        assert run is not None
        assert not run.read_only_hint

    async def test_the_run_tool_s_schema_comes_from_run_s_signature(self, client: Client):
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        schema = tools["workflows-Greet-run"].input_schema
        assert schema["properties"]["run_parameters"]["properties"]["name"]["type"] == "string"
        assert schema["required"] == ["run_parameters"]
        assert set(schema["properties"]) == {"run_parameters", "workflow_id", "wait_seconds"}
        assert "required" not in tools["workflows-Letters-run"].input_schema
        assert "Greets somebody." in (tools["workflows-Greet-run"].description or "")

    async def test_workflows_are_listed_with_their_schemas_signals_and_tools(self, client: Client):
        listed = {one["name"]: one for one in (await call(client, "workflows-list"))["workflows"]}
        letters = listed["Letters"]
        assert letters["queries"] == ["so_far"]
        assert [signal["name"] for signal in letters["signals"]] == ["letter", "resume"]
        assert letters["signals"][0]["schema"]["required"] == ["text"]
        assert letters["output_schema"] == {"type": "array", "items": {"type": "string"}}
        assert letters["tools"]["run"] == "workflows-Letters-run"
        assert "later" not in listed

    async def test_with_many_workflows_one_set_of_tools_serves_them_all(self, mode: Any):
        app = desk.make()
        app.use(Settings(server={"max_workflow_tools": 3}))
        async with AgentServer.open(app) as server, Client(server.mcp, mode=mode) as client:
            names = [tool.name for tool in (await client.list_tools()).tools if tool.name.startswith("workflows-")]
            actions = ("cancel", "get_status", "list", "resume", "run", "runs-list")
            assert names == [f"workflows-{action}" for action in actions]
            assert "`workflows-run`" in (client.instructions or "")
            listed = await call_text(client, "workflows-list")
            assert "- Greet(name: string, times?: integer): " in listed
            (taught,) = (await client.get_prompt("use-workflows")).messages
            assert isinstance(taught.content, TextContent)
            assert taught.content.text.count("`workflows-run`") == 1
            run = await call(client, "workflows-run", workflow="Greet", run_parameters={"name": "you"})
            assert run["result"] == "hello you"
            assert (await call(client, "workflows-get_status", run_id=run["run_id"]))["status"] == "completed"
            told = await refusal(client, "workflows-run", workflow="Gret")
            assert told["code"] == "not_found"
            assert "`Greet`" in told["message"]
            function = await refusal(client, "workflows-run", workflow="later", run_parameters={"text": "a"})
            assert function["code"] == "invalid_arguments"  # it would pass by the function's own checks
            assert "`later` is a tool" in function["message"]

    def test_instructions_are_short(self):
        app = desk.make()
        app.use(Settings())
        assert len(instructions(app)) < 600
        app.description = "long " * 500
        assert len(instructions(app)) < 600

    async def test_an_unknown_tool_is_a_protocol_error_that_names_near_ones(self, client: Client):
        with pytest.raises(MCPError, match="`workflows-Greet-run`") as caught:
            await client.call_tool("workflows-Gret-run", {})
        assert caught.value.code == -32602


class TestRun:
    async def test_a_run_to_its_end(self, client: Client):
        result = await client.call_tool("workflows-Greet-run", {"run_parameters": {"name": "you", "times": 2}})
        run = result.structured_content or {}
        assert set(run) >= FIELDS
        assert (run["status"], run["result"], run["workflow"]) == ("completed", "hello you hello you", "Greet")
        assert run["run_id"].startswith("Greet.")
        assert len(run["run_id"]) == len("Greet.") + 26
        assert run["next_action"] is None
        for name in ("started_at", "updated_at", "closed_at"):
            assert datetime.fromisoformat(run[name]).tzinfo is not None
        assert text(result).startswith("hello you hello you\n\nRun `Greet.")

    async def test_parameters_may_stand_beside_the_others(self, client: Client):
        assert (await call(client, "workflows-Greet-run", name="you", wait_seconds=5))["result"] == "hello you"

    async def test_parameters_that_clash_must_be_nested(self, client: Client):
        nested = {"workflow_id": "a", "wait_seconds": "b"}
        assert (await call(client, "workflows-Clash-run", run_parameters=nested))["result"] == ["a", "b"]

    async def test_the_same_key_is_the_same_run(self, client: Client):
        arguments = {"run_parameters": {"name": "you"}, "workflow_id": "my key"}
        first = await call(client, "workflows-Greet-run", **arguments)
        second = await call(client, "workflows-Greet-run", **arguments)
        assert first["run_id"] == second["run_id"] == "Greet.my key"
        assert (first["existing"], second["existing"]) == (False, True)
        told = await refusal(client, "workflows-Greet-run", run_parameters={"name": "me"}, workflow_id="my key")
        assert told["code"] == "idempotency_conflict"

    async def test_waiting_ends_with_the_budget_and_names_the_next_call(self, client: Client):
        result = await client.call_tool("workflows-Forever-run", {"wait_seconds": 0.1})
        run = result.structured_content or {}
        assert run["status"] == "running"
        action = run["next_action"]
        assert action["tool"] == "workflows-Forever-get_status"
        assert action["arguments"] == {"run_id": run["run_id"], "wait_seconds": 30}
        assert f"Call `workflows-Forever-get_status` with run_id=`{run['run_id']}`" in text(result)
        assert "Do not start it again" in text(result)
        with anyio.fail_after(4):
            assert (await call(client, action["tool"], run_id=run["run_id"], wait_seconds=0.1))["status"] == "running"
        await call(client, "workflows-Forever-cancel", run_id=run["run_id"])

    async def test_progress_is_told_while_a_call_waits(self, client: Client):
        told: list[str] = []

        async def progress(progress: float, total: float | None, message: str | None) -> None:
            told.append(message or "")

        arguments = {"wait_seconds": 0.2}
        result = await client.call_tool("workflows-Forever-run", arguments, progress_callback=progress)
        run_id = (result.structured_content or {})["run_id"]
        assert told
        assert run_id in told[0]
        await call(client, "workflows-Forever-cancel", run_id=run_id)

    @pytest.mark.promise("issue: tokens flow to whoever watches the run: status and progress notifications")
    async def test_an_answer_is_told_while_it_is_written(self, mode: Any, tmp_path: Path):
        script = tmp_path / "script.yaml"
        script.write_text("agents: {writer: [{text: one two three four five six, delay_seconds: 3}]}")
        told: list[str] = []

        async def progress(progress: float, total: float | None, message: str | None) -> None:
            told.append(message or "")

        app = desk.make()
        app.use(Settings(scripted={"file": script}))
        async with AgentServer.open(app) as server, Client(server.mcp, mode=mode) as client:
            run = await call(client, "workflows-Writes-run", wait_seconds=0)

            async def growing() -> str | None:
                now = await call(client, "workflows-Writes-get_status", run_id=run["run_id"])
                return next((step["partial_text"] for step in now.get("steps", []) if "partial_text" in step), None)

            assert "one two three four five six".startswith(await until(growing) or "?")
            arguments = {"run_id": run["run_id"], "wait_seconds": 10}
            result = await client.call_tool("workflows-Writes-get_status", arguments, progress_callback=progress)
            assert (result.structured_content or {})["result"] == "one two three four five six"
            assert any("llm.generate: …one two" in message for message in told), told
            usage = (result.structured_content or {})["usage"]
            assert (usage["model_calls"], usage["agents"]["writer"]["model_calls"]) == (1, 1)

    @pytest.mark.parametrize(("how", "code"), [("error", "workflow_error"), ("exception", "LookupError")])
    async def test_a_failed_run_is_an_error_of_run_and_not_of_get_status(self, client: Client, how: str, code: str):
        result = await client.call_tool("workflows-Fails-run", {"run_parameters": {"how": how}})
        assert result.is_error
        run = result.structured_content or {}
        assert run["status"] == "failed"
        assert run["error"]["code"] == code
        assert code in text(result)
        status = await client.call_tool("workflows-Fails-get_status", {"run_id": run["run_id"]})
        assert not status.is_error
        assert (status.structured_content or {})["error"] == run["error"]

    async def test_a_large_result_is_read_as_a_resource(self, client: Client):
        run = await call(client, "workflows-Large-run", run_parameters={"size": 60_000})
        assert run["truncated"]
        assert "result" not in run
        assert run["result_uri"] == f"run://{run['run_id']}"
        (contents,) = (await client.read_resource(run["result_uri"])).contents
        assert "x" * 60_000 in contents.text  # type: ignore[union-attr]
        small = await call(client, "workflows-Large-run", run_parameters={"size": 40_000})
        assert len(small["result"]) == 40_000

    async def test_a_resource_that_is_not_there_is_an_error(self, client: Client):
        for uri in ("run://Greet.none", "run://", "file:///etc/passwd"):
            with pytest.raises(MCPError) as caught:
                await client.read_resource(uri)
            assert caught.value.code == -32602


class TestPeople:
    async def test_a_waiting_run_asks_and_says_how_to_answer(self, client: Client):
        result = await client.call_tool("workflows-Review-run", {"run_parameters": {"text": "it"}})
        run = result.structured_content or {}
        (request,) = run["pending_inputs"]
        assert set(request) == {"request_id", "kind", "name", "message", "schema", "created_at"}
        assert (request["request_id"], request["name"], request["message"]) == ("verdict#1", "verdict", "Is 'it' good?")
        assert run["next_action"]["tool"] == "workflows-Review-resume"
        said = text(result)
        assert "Ask the user; do not answer yourself" in said
        assert "request_id=`verdict#1`" in said
        await call(client, "workflows-Review-cancel", run_id=run["run_id"])

    @pytest.mark.parametrize("how", [{"request_id": "verdict#1"}, {"signal_name": "verdict"}, {}])
    async def test_it_is_answered(self, client: Client, how: dict[str, str]):
        run = await waiting(client)
        answered = await call(
            client, "workflows-Review-resume", run_id=run["run_id"], payload={"ok": True, "reason": "fine"}, **how
        )
        assert (answered["accepted"], answered["duplicate"], answered["signal"]) == (True, False, "verdict")
        assert answered["request_id"] == "verdict#1"
        status = await call(client, "workflows-Review-get_status", run_id=run["run_id"], wait_seconds=5)
        assert (status["status"], status["result"]) == ("completed", "True fine")

    async def test_answering_twice(self, client: Client):
        run = await waiting(client)
        arguments = {"run_id": run["run_id"], "request_id": "verdict#1"}
        await call(client, "workflows-Review-resume", payload={"ok": True}, **arguments)
        again = await call(client, "workflows-Review-resume", payload={"ok": True}, **arguments)
        assert (again["accepted"], again["duplicate"]) == (False, True)
        other = await refusal(client, "workflows-Review-resume", payload={"ok": False}, **arguments)
        assert other["code"] in ("already_answered", "already_closed")

    async def test_an_answer_that_does_not_fit_is_refused_and_the_question_stays(self, client: Client):
        run = await waiting(client)
        told = await refusal(client, "workflows-Review-resume", run_id=run["run_id"], payload={"ok": "who knows"})
        assert told["code"] == "invalid_arguments"
        assert "`ok`" in told["message"]
        assert (await call(client, "workflows-Review-get_status", run_id=run["run_id"]))["status"] == "waiting_for_input"

    async def test_declared_signals_are_sent_with_their_arguments(self, client: Client):
        run = await call(client, "workflows-Letters-run", wait_seconds=0)
        assert [signal["name"] for signal in run["signals"]] == ["letter", "resume"]
        tool, run_id = "workflows-Letters-resume", run["run_id"]
        await call(client, tool, run_id=run_id, signal_name="letter", payload="a")
        await call(client, tool, run_id=run_id, signal_name="letter", payload={"text": "b", "copies": 2})
        told = await refusal(client, tool, run_id=run_id, signal_name="letter", payload={"text": 5})
        assert told["code"] == "invalid_arguments"
        told = await refusal(client, tool, run_id=run_id, signal_name="letter")
        assert told["code"] == "invalid_arguments"
        await call(client, tool, run_id=run_id)  # its own signal `resume` is the default
        status = await call(client, "workflows-Letters-get_status", run_id=run_id, wait_seconds=5)
        assert status["result"] == ["a", "b", "b"]

    async def test_a_run_that_waits_for_nothing_takes_no_answer(self, client: Client):
        run = await call(client, "workflows-Forever-run", wait_seconds=0)
        told = await refusal(client, "workflows-Forever-resume", run_id=run["run_id"], payload=1)
        assert told["code"] == "not_waiting"
        await call(client, "workflows-Forever-cancel", run_id=run["run_id"])

    async def test_a_closed_run_takes_no_answer(self, client: Client):
        run = await call(client, "workflows-Greet-run", run_parameters={"name": "you"})
        told = await refusal(client, "workflows-Greet-resume", run_id=run["run_id"], payload=1)
        assert told["code"] == "already_closed"


class TestCancelAndList:
    async def test_cancelling_twice_is_harmless(self, client: Client):
        run = await call(client, "workflows-Forever-run", wait_seconds=0)
        first = await call(client, "workflows-Forever-cancel", run_id=run["run_id"], reason="enough")
        assert (first["accepted"], first["already_closed"], first["run"]["status"]) == (True, False, "cancelled")
        status = await call(client, "workflows-Forever-get_status", run_id=run["run_id"], wait_seconds=5)
        assert status["status"] == "cancelled"
        assert status["cancel_requested"]
        second = await call(client, "workflows-Forever-cancel", run_id=run["run_id"])
        assert (second["accepted"], second["already_closed"]) == (False, True)

    async def test_a_run_that_was_cancelled_while_it_asked_does_not_tell_to_ask_the_user(self, client: Client):
        run = await call(client, "workflows-Review-run", run_parameters={"text": "it"})
        assert run["status"] == "waiting_for_input"
        result = await client.call_tool("workflows-Review-cancel", {"run_id": run["run_id"]})
        assert isinstance(result.content[0], TextContent)
        assert "was cancelled" in result.content[0].text
        assert "Ask the user" not in result.content[0].text

    async def test_runs_are_listed_page_by_page(self, client: Client):
        ids = [(await call(client, "workflows-Greet-run", run_parameters={"name": str(n)}))["run_id"] for n in range(5)]
        await client.call_tool("workflows-Fails-run", {"run_parameters": {"how": "x"}})
        seen: list[str] = []
        cursor = None
        while True:
            page = await call(client, "workflows-runs-list", workflow="Greet", limit=2, cursor=cursor)
            seen += [run["run_id"] for run in page["runs"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == ids[::-1]
        failed = await call(client, "workflows-runs-list", status="failed")
        assert [run["workflow"] for run in failed["runs"]] == ["Fails"]

    async def test_a_missing_run_and_another_workflow_s_look_the_same(self, client: Client):
        run = await call(client, "workflows-Greet-run", run_parameters={"name": "you"})
        for action in ("get_status", "resume", "cancel"):
            foreign = await refusal(client, f"workflows-Review-{action}", run_id=run["run_id"])
            missing = await refusal(client, f"workflows-Review-{action}", run_id="Greet.none")
            assert foreign["code"] == missing["code"] == "not_found"
            assert foreign["message"].replace(run["run_id"], "Greet.none") == missing["message"]
            assert re.search(r"forgotten 30 days after it has ended|the last 1,000", missing["message"])


class TestFunctions:
    @pytest.mark.parametrize(
        ("tool", "arguments", "said", "data"),
        [
            ("add", {"a": 2}, '{"sum":3}', {"sum": 3}),
            ("shout", {"text": "hey"}, "HEY", {"result": "HEY"}),
            ("model", {"numbers": [1, 2]}, '{"total":3}', {"total": 3}),
            ("content", {}, "one", None),
            ("nothing", {}, "null", {"result": None}),
        ],
    )
    async def test_a_function_s_result(self, client: Client, tool: str, arguments: Any, said: str, data: Any):
        result = await client.call_tool(tool, arguments)
        assert not result.is_error
        assert text(result) == said
        assert result.structured_content == data

    @pytest.mark.parametrize(("tool", "code"), [("broken", "ValueError"), ("unserializable", "unserializable_result")])
    async def test_a_function_that_fails_is_an_error_of_the_call(self, client: Client, tool: str, code: str):
        assert (await refusal(client, tool))["code"] == code

    async def test_an_async_tool_answers_at_once_with_a_run(self, client: Client):
        run = await call(client, "later", text="hey")
        assert run["workflow"] == "later"
        status = await call(client, "workflows-get_status", run_id=run["run_id"], wait_seconds=5)
        assert (status["status"], status["result"]) == ("completed", "HEY!")

    async def test_a_call_that_outlives_its_wait_becomes_a_run(self, mode: Any):
        desk.GATES.append(gate := anyio.Event())
        app = desk.make()
        app.use(Settings(server={"wait_budget_seconds": 0.1}))
        async with AgentServer.open(app) as server, Client(server.mcp, mode=mode) as client:
            run = await call(client, "slow")
            assert run["status"] == "running"
            action = run["next_action"]
            gate.set()
            while (status := await call(client, action["tool"], run_id=run["run_id"]))["status"] == "running":
                await anyio.lowlevel.checkpoint()
            assert status["result"] == "done"
            desk.GATES.append(anyio.Event())
            other = await call(client, "slow")
            cancelled = await call(client, "workflows-cancel", run_id=other["run_id"])
            assert cancelled["accepted"]


class TestDraining:
    @pytest.mark.promise("issue: SIGTERM drains: no new runs")
    async def test_a_server_that_stops_begins_nothing_and_still_tells_of_runs(self, server: AgentServer, client: Client):
        run = await call(client, "workflows-Forever-run", wait_seconds=0)
        await server.drain()
        refused = await refusal(client, "workflows-Greet-run", run_parameters={"name": "a"})
        assert (refused["code"], refused["retryable"]) == ("engine_unavailable", True)
        now = await call(client, "workflows-Forever-get_status", run_id=run["run_id"], wait_seconds=5)
        assert now["status"] == "running"
