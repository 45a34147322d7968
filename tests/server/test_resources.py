"""What clients read, complete, and are sent of what runs log."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from unittest import mock

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    LoggingMessageNotificationParams,
    PromptReference,
    ResourceTemplateReference,
)

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import EncryptionError
from mcp_agent.executor.asyncio.executor import InProcessExecutor
from mcp_agent.executor.records import PAGE_BYTES
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.server.app_server import AgentServer
from mcp_agent.server.callers import Caller
from mcp_agent.server.resources import TEMPLATES
from mcp_agent.server.run_logs import LINES_WAITING, LoggedLine, RunLogs
from tests.server import desk

pytestmark = pytest.mark.anyio

CALLER = "mcp_agent.server.app_server.current_caller"
RUN = "run://{run_id}"

SECRET = "hunter2-hunter2"
marks = MCPApp("marks")


@marks.workflow_task(name="resources.step")
async def step(text: str) -> None:
    logging.getLogger("my.step").warning("step %s", text)


@marks.workflow_task(name="resources.plain")
def plain_step(text: str) -> None:
    logging.getLogger("my.step").warning("thread %s", text)


class Notes(Workflow[str]):
    """Writes what it does, and waits in between."""

    @workflow.signal
    def go(self) -> None:
        self.gone = True

    @marks.workflow_run
    async def run(self, text: str) -> WorkflowResult[str]:
        self.gone = False
        marks.context.logger.info("begins %s", text)
        await workflow.wait_condition(lambda: self.gone)
        workflow.logger.debug("goes on %s", text)
        await step(text)
        await plain_step(text)
        workflow.logger.error("the key is %s", SECRET)
        return WorkflowResult(value=text)


class Wordy(Workflow[int]):
    """Writes many lines."""

    @marks.workflow_run
    async def run(self, lines: int) -> WorkflowResult[int]:
        for number in range(lines):
            workflow.logger.info("%d %s", number, "x" * 300)
        return WorkflowResult(value=lines)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[AgentServer, None]:
    script = tmp_path / "script.yaml"
    script.write_text("agents: {writer: [{text: once upon a time}]}")
    app = desk.make()
    app.workflow(Notes)
    app.workflow(Wordy)
    settings: dict[str, Any] = {"openai": {"api_key": SECRET}, "scripted": {"file": script}}
    app.use(Settings(server={"wait_budget_seconds": 30}, **settings))
    async with AgentServer.open(app) as opened:
        yield opened


async def read(client: Client, uri: str) -> dict[str, Any]:
    (content,) = (await client.read_resource(uri)).contents
    assert (content.uri, content.mime_type) == (uri, "application/json")
    return json.loads(cast("Any", content).text)


async def run(client: Client, name: str, /, *, key: str | None = None, wait: float = 30, **parameters: Any) -> dict[str, Any]:
    arguments = {"run_parameters": parameters, "wait_seconds": wait, **({} if key is None else {"workflow_id": key})}
    result = await client.call_tool(f"workflows-{name}-run", arguments)
    return cast("dict[str, Any]", result.structured_content)


async def refused(client: Client, uri: str) -> Any:
    with pytest.raises(MCPError) as caught:
        await client.read_resource(uri)
    return caught.value.error


class TestRuns:
    async def test_a_large_result_is_whole_at_the_address_that_its_run_names(self, client: Client):
        run_ = await run(client, "Large", size=60_000)
        assert "result" not in run_
        assert run_["truncated"]
        whole = await read(client, run_["result_uri"])
        assert whole["result"] == "x" * 60_000

    @pytest.mark.parametrize("key", ["a/b", "../x", "50% of #1?", "ключ", "log", "a b&c=d"])
    async def test_whatever_a_key_holds_its_run_has_an_address(self, client: Client, key: str):
        run_ = await run(client, "Large", size=60_000, key=key)
        assert (await read(client, run_["result_uri"]))["run_id"] == run_["run_id"] == f"Large.{key}"
        assert (await read(client, f"{run_['result_uri']}/log"))["entries"][-1]["status"] == "completed"

    @pytest.mark.promise("issue: run://{run_id}/log")
    async def test_its_log_tells_what_happened_without_secrets(self, client: Client):
        run_ = await run(client, "Notes", wait=0, text="it")
        waiting = await read(client, f"run://{run_['run_id']}/log")
        assert (waiting["status"], waiting["next"]) == ("running", None)
        assert [entry["what"] for entry in waiting["entries"]] == ["started", "line"]
        await client.call_tool("workflows-Notes-resume", {"run_id": run_["run_id"], "signal_name": "go"})
        await client.call_tool("workflows-Notes-get_status", {"run_id": run_["run_id"], "wait_seconds": 30})
        log = await read(client, f"run://{run_['run_id']}/log")
        assert [entry["message"] for entry in log["entries"] if entry["what"] == "line"] == [
            "begins it",
            "goes on it",
            "the key is ***",
        ]
        assert {entry["name"] for entry in log["entries"] if entry["what"] == "step_completed"} == {
            "resources.step",
            "resources.plain",
        }
        assert (log["entries"][-1]["what"], log["entries"][-1]["status"]) == ("ended", "completed")

    @pytest.mark.promise("issue: run://{run_id}/transcript")
    async def test_its_transcript_tells_what_was_said(self, client: Client):
        run_ = await run(client, "Writes")
        transcript = await read(client, f"run://{run_['run_id']}/transcript")
        asked, answered = transcript["entries"]
        assert (asked["role"], asked["agent"], asked["content"]) == ("user", "writer", [{"type": "text", "text": "write"}])
        assert answered["content"] == [{"type": "text", "text": "once upon a time"}]
        assert answered["stop_reason"] == "end_turn"
        assert answered["usage"]["output_tokens"] > 0

    @pytest.mark.promise("issue: paging for long ones")
    async def test_a_long_log_names_the_address_of_its_next_page(self, client: Client):
        run_ = await run(client, "Wordy", lines=600)
        uri: str | None = f"run://{run_['run_id']}/log"
        lines: list[int] = []
        pages = 0
        while uri is not None:
            text = cast("Any", (await client.read_resource(uri)).contents[0]).text
            assert len(text) < PAGE_BYTES * 1.28
            page, pages = json.loads(text), pages + 1
            lines += [int(entry["message"].split()[0]) for entry in page["entries"] if entry["what"] == "line"]
            uri = page["next"]
        assert pages > 1
        assert lines == list(range(600))

    async def test_a_function_call_that_became_a_run_has_a_log_too(self, server: AgentServer, mode: Any):
        desk.GATES.append(anyio.Event())
        app = desk.make()
        app.use(Settings(server={"wait_budget_seconds": 0.05}))
        async with AgentServer.open(app) as small, Client(small.mcp, mode=mode) as client:
            run_ = cast("dict[str, Any]", (await client.call_tool("slow", {})).structured_content)
            assert [e["what"] for e in (await read(client, f"run://{run_['run_id']}/log"))["entries"]] == ["started"]
            assert (await read(client, f"run://{run_['run_id']}/transcript"))["entries"] == []
            desk.GATES[-1].set()


class TestAddresses:
    @pytest.mark.promise("fault: path tricks in resource URIs")
    async def test_what_is_not_there_looks_the_same_whatever_it_is(self, client: Client):
        run_id = (await run(client, "Greet", name="Ada"))["run_id"]
        tricks = [
            "run://",
            "run:///",
            "run://nobody",
            "run://../x",
            f"run://{run_id}/..",
            f"run://{run_id}/../log",
            f"run://{run_id}/",
            f"run://{run_id}//log",
            f"run://{run_id}%2flog",
            f"run://{run_id}%2Flog",
            f"run://{run_id}%00",
            f"run://{run_id}\0",
            f"run://{run_id}%0a",
            f"run://{run_id}%zz",
            f"run://{run_id}%ff%fe",
            f"run://{run_id}?x=1",
            f"run://{run_id}#log",
            f"run://{run_id}/log?cursor=",
            f"run://{run_id}/log?cursor=a&cursor=b",
            f"run://{run_id}/log?page=2",
            f"run://{run_id}/LOG",
            f"run://{run_id}/secrets",
            f"RUN://{run_id}",
            f" run://{run_id}",
            f"run://user@{run_id}",
            "run://" + "x" * 100_000,
            "run://%s%s%n",
            "run://' OR 1=1 --",
            "workflow://",
            "workflow://Nobody",
            "workflow://../Greet",
            "workflow://Greet/log",
            "workflow://Greet?x",
            "file:///etc/passwd",
            "http://127.0.0.1/",
            "",
            "\u202erun://x",
        ]
        for uri in tricks:
            error = await refused(client, uri)
            assert (error.code, error.data["code"], error.data["retryable"]) == (INVALID_PARAMS, "not_found", False), uri
            assert error.message.startswith("There is no resource `"), uri
            assert len(error.message) < 400

    @pytest.mark.promise("issue: cursors are opaque and cannot be tampered with")
    async def test_a_cursor_that_no_page_has_named_is_refused(self, client: Client):
        run_id = (await run(client, "Greet", name="Ada"))["run_id"]
        for record in ("log", "transcript"):
            error = await refused(client, f"run://{run_id}/{record}?cursor=AAAA")
            assert (error.code, error.data["code"]) == (INVALID_PARAMS, "invalid_arguments")

    async def test_what_cannot_be_decrypted_is_no_bare_internal_error(self, client: Client):
        run_id = (await run(client, "Greet", name="Ada"))["run_id"]
        problem = EncryptionError("Key `old` is not given.")
        with mock.patch.object(InProcessExecutor, "run_log", side_effect=problem):
            error = await refused(client, f"run://{run_id}/log")
        assert (error.code, error.data["code"]) == (INTERNAL_ERROR, "internal_error")
        assert "Key `old` is not given." in error.message

    @pytest.mark.promise("issue: a foreign run and a missing one look the same")
    async def test_a_run_of_somebody_elses_is_not_there(self, server: AgentServer):
        async with Client(server.mcp) as client:
            run_id = (await run(client, "Greet", name="Ada"))["run_id"]
            with mock.patch(CALLER, return_value=Caller(tag="stranger")):
                for suffix in ("", "/log", "/transcript", "/log?cursor=AAAA"):
                    with pytest.raises(MCPError) as caught:
                        await client.read_resource(f"run://{run_id}{suffix}")
                    assert caught.value.error.data["code"] == "not_found"


class TestLists:
    @pytest.mark.promise("issue: workflow://{name}; templates")
    async def test_the_workflows_are_listed_and_described_as_by_their_tool(self, client: Client):
        resources = [one for one in (await client.list_resources()).resources if not one.uri.startswith("ui:")]
        listed = cast("dict[str, Any]", (await client.call_tool("workflows-list", {})).structured_content)["workflows"]
        assert [r.uri for r in resources] == sorted(f"workflow://{one['name']}" for one in listed)
        assert all(r.title and r.mime_type == "application/json" for r in resources)
        for one in listed:
            assert await read(client, f"workflow://{one['name']}") == one

    async def test_runs_do_not_change_what_is_listed(self, client: Client):
        before = (await client.list_resources()).resources
        await run(client, "Greet", name="Ada")
        assert (await client.list_resources()).resources == before

    async def test_every_template_says_what_it_is_for(self, client: Client):
        templates = (await client.list_resource_templates()).resource_templates
        assert [t.uri_template for t in templates] == [
            "run://{run_id}",
            "run://{run_id}/transcript{?cursor}",
            "run://{run_id}/log{?cursor}",
            "workflow://{name}",
        ]
        assert all(t.title and t.description and t.mime_type == "application/json" for t in templates)


async def completed(client: Client, template: str, name: str, begins: str) -> Any:
    argument = {"name": name, "value": begins}
    return (await client.complete(ResourceTemplateReference(uri=template), argument)).completion


class TestCompletions:
    @pytest.mark.promise("issue: completion of ids")
    async def test_run_ids_are_completed_the_newest_first(self, client: Client):
        ids = [(await run(client, "Greet", name="Ada", key=f"k{number}"))["run_id"] for number in range(3)]
        other = (await run(client, "Large", size=1))["run_id"]
        for template in [t.uri_template for t in TEMPLATES if "run_id" in t.uri_template] + ["run://{run_id}/log"]:
            assert (await completed(client, template, "run_id", "Greet.k")).values == ids[::-1]
        assert (await completed(client, "run://{run_id}", "run_id", "")).values == [other, *ids[::-1]]
        assert (await completed(client, "run://{run_id}", "run_id", "Nobody")).values == []

    async def test_what_is_no_id_completes_to_nothing(self, client: Client):
        await run(client, "Greet", name="Ada", key="it's")
        assert (await completed(client, "run://{run_id}", "run_id", "Greet.it'")).values == ["Greet.it's"]
        for begins in ("' OR 1=1 --", "%", "_reet", "Greet*", "\0", "x" * 10_000):
            assert (await completed(client, "run://{run_id}", "run_id", begins)).values == []

    async def test_at_most_a_hundred_are_given(self, client: Client):
        for number in range(103):
            await run(client, "Greet", name="Ada", key=str(number), wait=0)
        found = await completed(client, "run://{run_id}", "run_id", "Greet.")
        assert (len(found.values), found.has_more, found.total) == (100, True, None)

    async def test_workflow_names_are_completed(self, client: Client):
        assert (await completed(client, "workflow://{name}", "name", "L")).values == ["Large", "Letters"]

    async def test_a_template_that_there_is_not_is_refused(self, client: Client):
        with pytest.raises(MCPError) as caught:
            await completed(client, "file://{path}", "path", "/etc")
        assert caught.value.error.code == INVALID_PARAMS
        with pytest.raises(MCPError) as caught:
            await client.complete(PromptReference(name="nobody"), {"name": "x", "value": ""})
        assert caught.value.error.code == INVALID_PARAMS

    @pytest.mark.promise("issue: a foreign run and a missing one look the same")
    async def test_only_the_callers_own_runs_are_completed(self, server: AgentServer):
        async with Client(server.mcp) as client:
            await run(client, "Greet", name="Ada")
            assert (await completed(client, RUN, "run_id", "")).values
            with mock.patch(CALLER, return_value=Caller(tag="stranger")):
                for begins in ("", "Greet", "stranger.", "str"):
                    assert (await completed(client, RUN, "run_id", begins)).values == []

    async def test_only_runs_that_the_callers_token_lets_it_read_are_completed(self, server: AgentServer):
        async with Client(server.mcp) as client:
            await run(client, "Greet", name="Ada")
            readable = (await run(client, "Large", size=1))["run_id"]
            reader, other = (Caller(scopes=frozenset({scope})) for scope in ("workflows:read:Large", "workflows:cancel"))
            with mock.patch(CALLER, return_value=reader):
                assert (await completed(client, RUN, "run_id", "")).values == [readable]
            with mock.patch(CALLER, return_value=other), pytest.raises(MCPError) as caught:
                await completed(client, RUN, "run_id", "")
        assert caught.value.error.data["code"] == "insufficient_scope"


class Listener:
    """A client that is sent what it asks for."""

    def __init__(self, client: Client, heard: list[LoggingMessageNotificationParams]) -> None:
        self.client = client
        self.heard = heard

    @property
    def told(self) -> list[tuple[str, str | None, Any]]:
        return [(one.level, one.logger, one.data) for one in self.heard]


@asynccontextmanager
async def listener(server: AgentServer, mode: Any, level: Any) -> AsyncGenerator[Listener, None]:
    heard: list[LoggingMessageNotificationParams] = []

    async def hear(params: LoggingMessageNotificationParams) -> None:
        heard.append(params)

    async with Client(server.mcp, mode=mode, logging_callback=hear, log_level=level) as client:
        if level is not None and mode == "legacy":
            await client.set_logging_level(level)
        yield Listener(client, heard)


class TestLogs:
    @pytest.fixture(autouse=True)
    def everything_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "mcp_agent.workflow")

    @pytest.mark.promise("issue: logs and progress of a run reach only the clients that asked for that run")
    async def test_the_lines_of_a_run_reach_only_the_clients_that_wait_for_it(self, server: AgentServer, mode: Any):
        async with (
            listener(server, mode, "debug") as first,
            listener(server, mode, "debug") as second,
            listener(server, mode, None) as silent,
            anyio.create_task_group() as group,
        ):
            mine = await run(first.client, "Notes", wait=0, text="mine")
            others = await run(second.client, "Notes", wait=0, text="others")
            waited = {"run_id": mine["run_id"], "wait_seconds": 30}
            group.start_soon(first.client.call_tool, "workflows-Notes-get_status", waited)
            group.start_soon(silent.client.call_tool, "workflows-Notes-get_status", waited)
            group.start_soon(second.client.call_tool, "workflows-Notes-get_status", {**waited, "run_id": others["run_id"]})
            await until_waited_for(server, mine["run_id"], 1)
            await until_waited_for(server, others["run_id"], 1)
            for run_ in (mine, others):
                await silent.client.call_tool("workflows-Notes-resume", {"run_id": run_["run_id"], "signal_name": "go"})
        expected = [
            ("debug", "mcp_agent.workflow", "goes on {}"),
            ("warning", "my.step", "step {}"),
            ("warning", "my.step", "thread {}"),
            ("error", "mcp_agent.workflow", "the key is ***"),
        ]
        assert first.told == [(level, name, text.format("mine")) for level, name, text in expected]
        assert second.told == [(level, name, text.format("others")) for level, name, text in expected]
        assert silent.told == []

    async def test_who_starts_a_run_and_waits_is_sent_its_first_line(self, server: AgentServer, mode: Any):
        async with listener(server, mode, "info") as client:
            await run(client.client, "Notes", wait=0.05, text="it")
        assert client.told == [("info", "mcp_agent.workflow", "begins it")]

    async def test_only_lines_of_the_level_that_was_asked_for_are_sent(self, server: AgentServer, mode: Any):
        async with listener(server, mode, "error") as client, anyio.create_task_group() as group:
            run_ = await run(client.client, "Notes", wait=0, text="it")
            group.start_soon(
                client.client.call_tool, "workflows-Notes-get_status", {"run_id": run_["run_id"], "wait_seconds": 30}
            )
            await until_waited_for(server, run_["run_id"], 1)
            await client.client.call_tool("workflows-Notes-resume", {"run_id": run_["run_id"], "signal_name": "go"})
        assert [level for level, _, _ in client.told] == ["error"]

    async def test_nothing_is_kept_of_waits_that_are_over(self, server: AgentServer, mode: Any):
        async with listener(server, mode, "debug") as client:
            run_ = await run(client.client, "Notes", wait=0, text="it")
            for _ in range(2):
                arguments = {"run_id": run_["run_id"], "wait_seconds": 0.05}
                await client.client.call_tool("workflows-Notes-get_status", arguments)
        assert server.runs._logs._readers == {}

    async def test_a_client_that_goes_away_while_it_waits_is_forgotten(self, server: AgentServer, mode: Any):
        async with listener(server, mode, "debug") as client:
            run_ = await run(client.client, "Notes", wait=0, text="it")
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    arguments = {"run_id": run_["run_id"], "wait_seconds": 30}
                    group.start_soon(client.client.call_tool, "workflows-Notes-get_status", arguments)
                    await until_waited_for(server, run_["run_id"], 1)
                    scope.cancel()
            await until_waited_for(server, run_["run_id"], 0)


async def until_waited_for(server: AgentServer, run_id: str, readers: int) -> None:
    with anyio.fail_after(30):
        while len(server.runs._logs._readers.get(run_id, ())) != readers:
            await anyio.lowlevel.checkpoint()


class TestLines:
    """The handler by itself."""

    @pytest.fixture
    def logs(self) -> RunLogs:
        return RunLogs(lambda text: text)

    async def test_a_slow_reader_loses_the_oldest_lines_and_is_told(self, logs: RunLogs):
        with logs.of("r") as lines:
            for number in range(LINES_WAITING + 50):
                lines.put(LoggedLine("info", "x", str(number)))
        texts = [line.text async for line in lines]
        assert texts[0] == "50 lines were left out: they are read too slowly."
        assert texts[1:] == [str(number) for number in range(50, LINES_WAITING + 50)]

    async def test_lines_come_from_any_thread(self, logs: RunLogs):
        def write() -> None:
            record = logging.LogRecord("x", logging.INFO, "", 0, "from %s", ("afar",), None)
            record.run_id = "r"
            logs.handle(record)

        with logs.of("r") as lines:
            reading = asyncio.create_task(anext(aiter(lines)))
            thread = threading.Thread(target=write)
            thread.start()
            assert (await reading).text == "from afar"
            thread.join()

    async def test_what_libraries_and_other_runs_log_is_not_told(self, logs: RunLogs):
        with logs.of("r") as lines:
            for name, run_id in [("httpx2", "r"), ("x", "other"), ("x", None)]:
                record = logging.LogRecord(name, logging.INFO, "", 0, "text", (), None)
                record.run_id = run_id
                logs.handle(record)
        assert [line async for line in lines] == []

    async def test_a_line_that_cannot_be_written_harms_nobody(self, logs: RunLogs):
        with logs.of("r") as lines:
            for message, arguments in [("%d", ("x",)), ("a \ud800 b", ())]:
                record = logging.LogRecord("x", logging.INFO, "", 0, message, arguments, None)
                record.run_id = "r"
                logs.handle(record)
        broken, odd = [line.text async for line in lines]
        assert broken == "(a line that cannot be written: TypeError)"
        assert odd == "a \\ud800 b"
