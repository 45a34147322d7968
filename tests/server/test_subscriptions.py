"""Clients that hear of runs without asking: `subscriptions/listen`, and `resources/subscribe` of the era before."""

import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, MISSING_REQUIRED_CLIENT_CAPABILITY, ResourceUpdatedNotification

from mcp_agent.errors import EngineUnavailable
from mcp_agent.executor.runs import RunState
from mcp_agent.server import feeds, listening
from mcp_agent.server.app_server import AgentServer
from mcp_agent.server.callers import Caller
from mcp_agent.server.feeds import Feed
from mcp_agent.server.listening import run_of
from tests.server.tasks_client import Wire, accept
from tests.support import call, refusal, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def modern(server: AgentServer) -> AsyncGenerator[Client, None]:
    async with Client(server.mcp) as connected:
        yield connected


@pytest.fixture
async def wire(url: str) -> AsyncGenerator[Wire, None]:
    async with httpx2.AsyncClient(timeout=20) as http:
        yield Wire(http, url)


async def counting(client: Client, until_ticks: int = 3) -> str:
    run = await call(client, "workflows-Counts-run", run_parameters={"until": until_ticks}, wait_seconds=0)
    return run["run_id"]


async def tick(client: Client, run_id: str, times: int = 1) -> None:
    await call(client, "workflows-Counts-resume", run_id=run_id, signal_name="tick", payload={"times": times})


async def nobody_watches(server: AgentServer) -> None:
    async def empty() -> bool:
        return len(server.runs.watches) == 0

    await until(empty)


async def test_both_eras_are_told_that_resources_can_be_followed(server: AgentServer, mode: Any):
    async with Client(server.mcp, mode=mode) as client:
        assert client.server_capabilities.resources is not None
        assert client.server_capabilities.resources.subscribe


class TestListening:
    @pytest.mark.promise("issue: subscriptions in both eras")
    async def test_each_page_of_a_run_is_told_when_the_run_has_changed(self, server: AgentServer, modern: Client):
        run_id = await counting(modern)
        uris = [f"run://{run_id}{page}" for page in ("", "/transcript", "/log")]
        async with modern.listen(resource_subscriptions=[*uris, "run://nope", "workflow://Counts"]) as told:
            assert sorted(told.honored.resource_subscriptions or ()) == sorted(uris)
            await tick(modern, run_id)
            with anyio.fail_after(10):
                heard = {event.uri async for event in _first(told, 3)}
        assert heard == set(uris)
        await nobody_watches(server)

    async def test_lists_never_change_but_a_client_may_listen_for_it(self, server: AgentServer, modern: Client):
        async with modern.listen(tools_list_changed=True, prompts_list_changed=True, resources_list_changed=True) as told:
            assert told.honored.tools_list_changed
            assert told.honored.prompts_list_changed
            assert told.honored.resources_list_changed
            server.runs.drain()
            assert [event async for event in told] == []

    @pytest.mark.promise("issue: SIGTERM drains: streams end with their result")
    async def test_a_server_that_stops_ends_its_streams_with_their_result(self, server: AgentServer, wire: Wire):
        task_id = await wire.start("workflows-Forever-run")
        async with wire.listening(taskIds=[task_id]) as heard:
            await heard.task(lambda task: task["status"] == "working")
            await server.drain()
            last = await heard.frame()
        assert last["result"]["resultType"] == "complete"
        assert "io.modelcontextprotocol/subscriptionId" in last["result"]["_meta"]
        async with wire.listening(taskIds=[task_id]) as heard:  # a new stream ends at once
            while "result" not in (last := await heard.frame()):
                assert last["method"] == "notifications/tasks"

    async def test_a_stream_ends_with_the_token_that_it_was_opened_with(
        self, server: AgentServer, modern: Client, monkeypatch: pytest.MonkeyPatch
    ):
        run_id = await counting(modern)
        monkeypatch.setattr(listening, "current_caller", lambda: Caller(expires_at=time.time() + 0.1))
        async with modern.listen(resource_subscriptions=[f"run://{run_id}"]) as told:
            with anyio.fail_after(10):
                assert [event async for event in told] == []
        await nobody_watches(server)

    async def test_an_engine_that_is_away_for_a_while_ends_no_stream(
        self, server: AgentServer, modern: Client, monkeypatch: pytest.MonkeyPatch
    ):
        run_id = await counting(modern)
        executor: Any = await server.runs.executor()
        monkeypatch.setattr(feeds, "FIRST_PAUSE", 0.01)
        failures, watch_run = [2], executor.watch_run

        async def shaky(*args: Any, **options: Any) -> AsyncGenerator[RunState, None]:
            if failures[0]:
                failures[0] -= 1
                raise EngineUnavailable("The engine is away.")
            async for state in watch_run(*args, **options):
                yield state

        monkeypatch.setattr(executor, "watch_run", shaky)
        async with modern.listen(resource_subscriptions=[f"run://{run_id}"]) as told:
            await tick(modern, run_id)
            with anyio.fail_after(10):
                assert await anext(aiter(told)) == ResourceUpdated(uri=f"run://{run_id}")
        assert failures == [0]

    async def test_more_subscriptions_or_streams_than_there_may_be_are_refused(
        self, modern: Client, monkeypatch: pytest.MonkeyPatch
    ):
        with pytest.raises(MCPError, match="101 subscriptions are too many"):
            async with modern.listen(resource_subscriptions=[f"run://{number}" for number in range(101)]):
                pass
        monkeypatch.setattr(listening, "MOST_STREAMS", 1)
        await self.one_stream_and_no_other(modern)

    async def test_a_caller_has_no_more_streams_than_it_may(self, modern: Client, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(listening, "MOST_OF_A_CALLER", 1)
        async with modern.listen(tools_list_changed=True):
            monkeypatch.setattr(listening, "current_caller", lambda: Caller(tag="ada"))
            await self.one_stream_and_no_other(modern)

    @staticmethod
    async def one_stream_and_no_other(client: Client) -> None:
        async with client.listen(tools_list_changed=True):
            with pytest.raises(MCPError, match="Too many clients") as caught:
                async with client.listen(tools_list_changed=True):
                    pass
        assert caught.value.data == {"code": "rate_limited", "retryable": True}

    async def test_nothing_is_left_of_a_client_that_is_gone(self, server: AgentServer, wire: Wire):
        task_ids = [await wire.start("workflows-Forever-run") for _ in range(3)]
        async with wire.listening(taskIds=task_ids) as heard:
            await heard.task(lambda task: True)
            assert len(server.runs.watches) == 3
        await nobody_watches(server)


class TestTasks:
    @pytest.mark.promise("issue: notifications of tasks through `subscriptions/listen`")
    async def test_a_task_is_told_as_it_is_now_and_then_after_each_change(self, server: AgentServer, wire: Wire):
        task_id = await wire.start("workflows-Review-run", run_parameters={"text": "it"})
        async with wire.listening(taskIds=[task_id, "nope"]) as heard:
            assert heard.granted == {"taskIds": [task_id]}
            first = (await heard.frame())["params"]
            assert first["taskId"] == task_id
            assert first["status"] in ("working", "input_required")
            asked = first if first["status"] == "input_required" else await heard.task(lambda task: "inputRequests" in task)
            assert list(asked["inputRequests"]) == ["verdict#1"]
            await self.answer(wire, task_id, "verdict#1", ok="perhaps")
            again = await heard.task(lambda task: "verdict#1/2" in task.get("inputRequests", ()))
            assert "`ok`" in again["inputRequests"]["verdict#1/2"]["params"]["message"]
            await self.answer(wire, task_id, "verdict#1/2", ok=True)
            done = await heard.task(lambda task: task["status"] == "completed")
        told = (await wire.call("tasks/get", {"taskId": task_id}, task_id))["result"]
        assert {name: told[name] for name in done if name != "_meta"} == {name: done[name] for name in done if name != "_meta"}

    @staticmethod
    async def answer(wire: Wire, task_id: str, key: str, **content: Any) -> None:
        answered = await wire.call("tasks/update", {"taskId": task_id, "inputResponses": {key: accept(**content)}}, task_id)
        assert answered["result"]["resultType"] == "complete"

    async def test_a_task_that_has_ended_is_told_once(self, wire: Wire):
        task_id = await wire.start("workflows-Greet-run", run_parameters={"name": "Ada"})
        async with wire.listening(taskIds=[task_id]) as heard:
            await heard.task(lambda task: task["status"] == "completed")
        async with wire.listening(taskIds=[task_id]) as heard:
            assert (await heard.frame())["params"]["status"] == "completed"

    async def test_every_listener_of_a_task_is_told(self, server: AgentServer, wire: Wire):
        task_id = await wire.start("workflows-Forever-run")
        async with AsyncExitStack() as stack:
            listeners = [await stack.enter_async_context(wire.listening(taskIds=[task_id])) for _ in range(3)]
            for heard in listeners:
                await heard.task(lambda task: task["status"] == "working")
            assert len(server.runs.watches) == 1
            await wire.call("tasks/cancel", {"taskId": task_id}, task_id)
            for heard in listeners:
                await heard.task(lambda task: task["status"] == "cancelled")

    async def test_only_clients_that_know_tasks_may_listen_for_them(self, wire: Wire):
        task_id = await wire.start("workflows-Forever-run")
        wire.capabilities = {}
        error = await wire.error("subscriptions/listen", {"notifications": {"taskIds": [task_id]}})
        assert error["code"] == MISSING_REQUIRED_CLIENT_CAPABILITY

    @pytest.mark.parametrize("wanted", [{"taskIds": "all"}, {"taskIds": [7]}, {"resourceSubscriptions": {}}])
    async def test_a_filter_that_is_none_is_refused(self, wire: Wire, wanted: dict[str, Any]):
        assert (await wire.error("subscriptions/listen", {"notifications": wanted}))["code"] == INVALID_PARAMS


@pytest.mark.promise("issue: a slow reader gets the newest state, not a queue of old ones")
async def test_who_reads_slowly_is_told_the_newest_state_alone(server: AgentServer, modern: Client):
    run_id = await counting(modern, 1_000)
    feed = Feed(server.runs)
    feed.follow(run_id)
    states = feed.news()
    assert (await anext(states)).run_id == run_id
    for _ in range(20):
        await tick(modern, run_id)
    await tick(modern, run_id, times=80)
    told = [await anext(states)]
    while told[-1].progress is None or told[-1].progress.done < 100:
        told.append(await anext(states))
    assert len(told) <= 3
    feed.end()
    assert [state async for state in states] == []
    feed.close()
    await nobody_watches(server)


@pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")
class TestSessions:
    """Up to 2025-11-25."""

    @pytest.fixture(params=["memory", "http"])
    def target(self, request: pytest.FixtureRequest, server: AgentServer, url: str) -> Any:
        return server.mcp if request.param == "memory" else url

    async def test_a_session_is_told_of_what_it_subscribed_to_until_it_ends(self, server: AgentServer, target: Any):
        send, heard = anyio.create_memory_object_stream[str](10)
        async with Client(target, mode="legacy", message_handler=_noting(send)) as client:
            run_id = await counting(client)
            for page in ("", "/log"):
                await client.subscribe_resource(f"run://{run_id}{page}")
            await tick(client, run_id)
            with anyio.fail_after(10):
                assert {await heard.receive(), await heard.receive()} == {f"run://{run_id}", f"run://{run_id}/log"}
            await client.unsubscribe_resource(f"run://{run_id}/log")
            await tick(client, run_id)
            with anyio.fail_after(10):
                assert await heard.receive() == f"run://{run_id}"
            assert len(server.runs.watches) == 1
        await nobody_watches(server)
        send.close()
        heard.close()

    async def test_unsubscribing_from_the_last_page_lets_the_run_go(self, server: AgentServer):
        async with Client(server.mcp, mode="legacy") as client:
            run_id = await counting(client)
            await client.subscribe_resource(f"run://{run_id}")

            async def watched() -> bool:
                return len(server.runs.watches) == 1

            await until(watched)
            await client.unsubscribe_resource(f"run://{run_id}")
            await client.unsubscribe_resource("run://never")
            await nobody_watches(server)

    @pytest.mark.parametrize("uri", ["run://nope", "run://", "other://x", "run://nope/log"])
    async def test_what_cannot_be_read_cannot_be_subscribed_to(self, server: AgentServer, uri: str):
        async with Client(server.mcp, mode="legacy") as client:
            with pytest.raises(MCPError, match="There is no") as caught:
                await client.subscribe_resource(uri)
            assert caught.value.code == INVALID_PARAMS
            assert caught.value.data["code"] == "not_found"

    async def test_a_workflow_never_changes(self, server: AgentServer):
        async with Client(server.mcp, mode="legacy") as client:
            with pytest.raises(MCPError, match="never changes"):
                await client.subscribe_resource("workflow://Counts")

    async def test_a_session_has_no_more_subscriptions_than_it_may(self, server: AgentServer, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(listening, "MOST_SUBSCRIPTIONS", 1)
        async with Client(server.mcp, mode="legacy") as client:
            run_id = await counting(client)
            for _ in range(2):  # the same again is none more
                await client.subscribe_resource(f"run://{run_id}")
            with pytest.raises(MCPError, match="too many"):
                await client.subscribe_resource(f"run://{run_id}/log")

    async def test_a_server_that_stops_tells_sessions_no_more(self, server: AgentServer):
        async with Client(server.mcp, mode="legacy") as client:
            run_id = await counting(client)
            await client.subscribe_resource(f"run://{run_id}")
            server.runs.drain()
            await nobody_watches(server)
            await client.subscribe_resource(f"run://{run_id}/log")
            assert (await refusal(client, "workflows-Greet-run", run_parameters={"name": "Ada"}))["code"] == "engine_unavailable"
            assert len(server.runs.watches) == 0


@pytest.mark.parametrize(
    ("uri", "run_id"),
    [
        ("run://Greet.ABC", "Greet.ABC"),
        ("run://Greet.ABC/log", "Greet.ABC"),
        ("run://Greet.a%2Fb/transcript", "Greet.a/b"),
        ("run://Greet.a%20b", "Greet.a b"),
    ],
)
def test_a_resource_s_run_is_read_off_its_address(uri: str, run_id: str):
    assert run_of(uri) == run_id


async def _first(told: Any, number: int) -> AsyncGenerator[Any, None]:
    events = aiter(told)
    for _ in range(number):
        yield await anext(events)


def _noting(send: Any) -> Any:
    async def note(message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            await send.send(str(message.params.uri))

    return note
