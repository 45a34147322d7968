"""What an engine has recorded of a run, alike on both engines."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from mcp_agent.errors import InvalidArguments, NotFound
from mcp_agent.executor.executor import Executor, WorkflowHandle
from mcp_agent.executor.records import PAGE_BYTES, LogEntry, Position, RecordPage
from mcp_agent.executor.runs import Answer, RunState
from tests.behaviour.records_desk import ARTICLE
from tests.support import until

pytestmark = pytest.mark.anyio


async def pages(read: Callable[[str, str | None], Awaitable[RecordPage[Any]]], run_id: str) -> AsyncIterator[RecordPage[Any]]:
    page = await read(run_id, None)
    yield page
    while page.cursor is not None:
        page = await read(run_id, page.cursor)
        yield page


async def log(executor: Executor, run_id: str) -> list[LogEntry]:
    return [entry async for page in pages(executor.run_log, run_id) for entry in page.entries]


async def transcript(executor: Executor, run_id: str) -> list[Any]:
    return [entry async for page in pages(executor.run_transcript, run_id) for entry in page.entries]


async def asking(executor: Executor, run_id: str) -> RunState:
    async def there() -> RunState | None:
        state = await executor.describe_run(run_id)
        return state if state.pending_inputs or state.closed else None

    return await until(there)


async def closed(executor: Executor, run_id: str) -> RunState:
    async def there() -> RunState | None:
        state = await executor.describe_run(run_id)
        return state if state.closed else None

    return await until(there)


@pytest.fixture
async def chronicle(executor: Executor) -> WorkflowHandle[Any]:
    handle = await executor.start_workflow("Chronicle")
    await asking(executor, handle.id)
    await handle.signal("poke")
    assert await handle.update("push", "gently") == "gently"
    await executor.answer_run(handle.id, Answer(request_id="go#1", payload={"secret": "of the person"}))
    await handle.result()
    return handle


def short(entry: LogEntry) -> str:
    return " ".join(str(one) for one in (entry.what, entry.name, entry.attempt, entry.status, entry.level) if one is not None)


class TestLog:
    @pytest.mark.promise("issue: run://{run_id}/log")
    async def test_it_tells_in_order_what_happened(self, executor: Executor, chronicle: WorkflowHandle[Any]):
        entries = await log(executor, chronicle.id)
        told = [short(entry) for entry in entries if not entry.what.startswith("timer")]
        assert told == [
            "started Chronicle",
            "line info",
            "step_scheduled flaky",
            "step_attempt_failed flaky 1",
            "step_completed flaky 2",
            "step_scheduled refused",
            "step_failed refused 1",
            "line warning",
            "child_started Echo",
            "child_ended Echo completed",
            "progress",
            "asked go",
            "signal_received poke",
            "update_received push",
            "answered go",
            "settled go",
            "line error",
            "ended completed",
        ]
        assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
        by = {f"{entry.what} {entry.name}": entry for entry in entries}
        assert by["step_attempt_failed flaky"].message == "ConnectionError: not yet (desk.py:67, in flaky)"
        assert by["step_failed refused"].message == "Refused: no"
        assert by["child_ended Echo"].id == f"{chronicle.id}.child"
        assert by["asked go"].message == "May I?"
        assert by["asked go"].id == by["answered go"].id == by["settled go"].id == "go#1"
        assert by["step_completed flaky"].seconds is not None
        assert {entry.what: entry.seconds for entry in entries}["timer_started"] == 0.01
        assert [entry.message for entry in entries if entry.what == "line"] == [
            "begins with key-of-the-desk",
            "refused: Refused",
            "nearly there",
        ]

    @pytest.mark.promise("issue: what a person answers is in no log")
    async def test_it_does_not_tell_what_a_person_answered(self, executor: Executor, chronicle: WorkflowHandle[Any]):
        assert "of the person" not in str(await log(executor, chronicle.id))

    async def test_a_failed_run_ends_with_its_error(self, executor: Executor):
        for how, told in {"error": "it did not work", "exception": "nothing there"}.items():
            handle = await executor.start_workflow("Ends", how)
            state = await closed(executor, handle.id)
            last = (await log(executor, handle.id))[-1]
            assert (last.what, last.status) == ("ended", state.status) == ("ended", "failed")
            assert told in (last.message or "")

    async def test_a_step_under_way_tells_its_last_failed_attempt(self, executor: Executor):
        handle = await executor.start_workflow("Reports")

        async def failing() -> list[LogEntry]:
            return [entry for entry in await log(executor, handle.id) if entry.what == "step_attempt_failed"]

        (entry,) = await until(failing)
        assert (entry.name, entry.attempt) == ("reports-attempt", 1)
        assert "come back later" in (entry.message or "")
        await handle.cancel()
        state = await closed(executor, handle.id)
        told = await log(executor, handle.id)
        assert [entry.what for entry in told][-3:] == ["cancel_requested", "step_cancelled", "ended"]
        assert told[-1].status == state.status == "cancelled"

    async def test_it_goes_on_when_the_run_continues_as_new(self, executor: Executor):
        handle = await executor.start_workflow("Continued")
        await handle.result()
        whats = [entry.what for entry in await log(executor, handle.id)]
        steps = ["step_scheduled", "step_completed"]
        assert whats == ["started", *steps, "continued", *steps, "continued", *steps, "ended"]

    @pytest.mark.promise("issue: paging for long ones")
    async def test_a_long_one_comes_in_pages_that_hold_every_entry_once(self, executor: Executor):
        handle = await executor.start_workflow("Wordy", 700)
        await handle.result()
        read = [page async for page in pages(executor.run_log, handle.id)]
        assert len(read) > 1
        entries = [entry for page in read for entry in page.entries]
        lines = [int((entry.message or "").split()[0]) for entry in entries if entry.what == "line"]
        assert lines == list(range(700))
        assert [entry.what for entry in entries if entry.what != "line"].count("step_completed") == 7
        assert (entries[0].what, entries[-1].what) == ("started", "ended")
        for page in read:
            assert sum(len(entry.model_dump_json(exclude_none=True)) for entry in page.entries) <= PAGE_BYTES

    async def test_of_too_many_lines_the_last_ones_are_kept(self, executor: Executor):
        handle = await executor.start_workflow("Wordy", 1_300)
        await handle.result()
        lines = [entry.message or "" for entry in await log(executor, handle.id) if entry.what == "line"]
        assert lines[-1].startswith("1299 ")
        assert 500 < len(lines) <= 1_000


class TestTranscript:
    @pytest.mark.promise("issue: run://{run_id}/transcript")
    async def test_it_tells_who_said_what_with_the_results_of_tools(self, executor: Executor):
        handle = await executor.start_workflow("Reads")
        await handle.result()
        told = await transcript(executor, handle.id)
        assert [(entry.agent, entry.role) for entry in told] == [
            ("reader", "user"),
            ("reader", "assistant"),
            ("reader", "user"),
            ("reader", "assistant"),
            ("echo", "user"),
            ("echo", "assistant"),
        ]
        asked, called, gave, read, _, judged = told
        assert asked.content == [{"type": "text", "text": "read 0"}]
        assert called.content[0]["type"] == "tool_use"
        assert (called.content[0]["name"], called.content[0]["input"]) == ("article", {"number": 7})
        assert called.stop_reason == "tool_use"
        assert called.model
        assert called.usage
        (result,) = gave.content
        assert result["toolUseId"] == called.content[0]["id"]
        assert result["content"] == [{"type": "text", "text": f"7: {ARTICLE}"}]
        assert read.content == [{"type": "text", "text": "read it"}]
        assert (read.stop_reason, read.conversation) == ("end_turn", called.conversation)
        assert judged.conversation != read.conversation
        assert [entry.at for entry in told] == sorted(entry.at for entry in told)

    @pytest.mark.promise("issue: paging for long ones")
    async def test_a_long_one_comes_in_pages_whose_results_are_all_there(self, executor: Executor):
        handle = await executor.start_workflow("Reads", 80)
        await handle.result()
        read = [page async for page in pages(executor.run_transcript, handle.id)]
        assert len(read) > 1
        entries = [entry for page in read for entry in page.entries]
        assert len(entries) == 80 * 4 + 2
        results = [entry.content[0]["content"][0]["text"] for entry in entries if entry.content[0]["type"] == "tool_result"]
        assert results == [f"7: {ARTICLE}"] * 80

    async def test_a_run_without_agents_has_an_empty_one(self, executor: Executor):
        handle = await executor.start_workflow("Echo", 1)
        await handle.result()
        assert await executor.run_transcript(handle.id) == RecordPage(())


class TestWhichRun:
    @pytest.mark.parametrize("read", ["run_log", "run_transcript"])
    async def test_a_run_that_is_not_there_has_no_record(self, executor: Executor, read: str):
        with pytest.raises(NotFound):
            await getattr(executor, read)("Echo.nobody")

    @pytest.mark.parametrize("read", ["run_log", "run_transcript"])
    @pytest.mark.promise("issue: cursors are opaque and cannot be tampered with")
    async def test_a_cursor_that_no_page_of_the_run_has_named_is_refused(self, executor: Executor, read: str):
        handle = await executor.start_workflow("Echo", 1)
        await handle.result()
        good = Position(events=1).cursor(handle.id)
        others = Position(events=1).cursor("Echo.other")
        for cursor in ["", "x", "é", "\0", "A" * 5_000, good[:-2], f"{good}AA", others, "1"]:
            with pytest.raises(InvalidArguments, match="`cursor`"):
                await getattr(executor, read)(handle.id, cursor)
