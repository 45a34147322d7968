"""Malformed messages and arguments, over every transport: an error that says something, never a crash or a hang."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from anyio.abc import ByteReceiveStream
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp import Client
from mcp.shared.message import SessionMessage
from mcp_types import INVALID_REQUEST, PARSE_ERROR

from mcp_agent.server.app_server import AgentServer
from mcp_agent.server.stdio import Refusals
from tests.attacks import desk
from tests.attacks.leftovers import LEFT, collected
from tests.attacks.storm import ENVELOPE, KNOWING_TASKS, MODERN, line, messages, must_be_answered
from tests.server.guarded import INITIALIZE, Guarded, guarded
from tests.support import call

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings(LEFT)]

AT_ONCE = 25
HANGS_AFTER = 10.0
SAYS_NOTHING = {"", "Internal error", "Internal server error", "Handler returned an invalid result"}
Send = Callable[[Any], Awaitable[Iterable[Any]]]


@pytest.fixture
async def server() -> AsyncGenerator[Guarded, None]:
    async with guarded(app=desk.make(), wait_budget_seconds=0.01) as listening:
        async with Client(listening.agent.mcp) as client:
            for name in ("Ask", "Forever"):
                await call(client, f"workflows-{name}-run", workflow_id="known", wait_seconds=0)
        yield listening
    collected()


async def storm(sent: list[Any], send: Send) -> None:
    """Sends all; each is answered, by something that says something. Broken ones go alone: their ids may be in use."""
    whole = [message for message in sent if isinstance(message, dict)]
    batches = [whole[at : at + AT_ONCE] for at in range(0, len(whole), AT_ONCE)]
    for batch in [*batches, *([message] for message in sent if isinstance(message, bytes))]:
        with anyio.fail_after(HANGS_AFTER):
            answers = await asyncio.gather(*(send(message) for message in batch))
        for message, answered in zip(batch, answers, strict=True):
            for answer in answered:
                check(answer, message)


def check(answer: Any, message: Any) -> None:
    assert isinstance(answer, dict), (answer, message)
    error = answer.get("error")
    if error is not None:
        assert isinstance(error["code"], int), (answer, message)
        assert error["code"] != 0, (answer, message)
        assert error["message"].strip(), (answer, message)
        assert error["code"] != -32603 or error["message"] not in SAYS_NOTHING, (answer, message)
    elif "result" in answer and answer["result"].get("isError"):
        data = answer["result"]["structuredContent"]
        assert data.get("code") != "internal_error", (answer, message)


async def tools_of(server: AgentServer) -> list[Any]:
    async with Client(server.mcp) as client:
        return (await client.list_tools()).tools


async def still_serves(server: Guarded, way: str) -> None:
    async with server.client(way) as client:
        run = await call(
            client, "workflows-Order-run", run_parameters={"lines": [{"article": "pen", "count": 3}]}, wait_seconds=5
        )
        while run["status"] != "completed":
            run = await call(client, "workflows-Order-get_status", run_id=run["run_id"], wait_seconds=5)
        assert run["result"] == 3


@dataclass
class Posts:
    """Posts messages to an endpoint, and reads what comes back."""

    http: httpx2.AsyncClient
    url: str
    headers: dict[str, str]

    async def __call__(self, message: Any) -> list[Any]:
        answer = await self.http.post(self.url, content=line(message), headers={**self.headers, **self.of(message)})
        assert answer.status_code < 500, (answer.status_code, answer.text, message)
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            return [json.loads(line[5:]) for line in answer.text.split("\r\n") if line.startswith("data:") and line[5:].strip()]
        if answer.content and "json" in answer.headers.get("content-type", ""):
            return [answer.json()]
        assert answer.status_code != 200, (answer.text, message)
        return []

    def of(self, message: Any) -> dict[str, str]:
        return {}


class Modern(Posts):
    def of(self, message: Any) -> dict[str, str]:
        """The headers that a message of 2026-07-28 comes with, as far as they can be written."""
        if not isinstance(message, dict) or not isinstance(message["method"], str):
            return {}
        params = message["params"] if isinstance(message["params"], dict) else {}
        name = params.get("name", params.get("uri", params.get("taskId")))
        headers = {"Mcp-Method": message["method"], **({"Mcp-Name": name} if isinstance(name, str) else {})}
        return {
            key: value for key, value in headers.items() if value.isascii() and value.isprintable() and value.strip() == value
        }


HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


def in_process(server: Guarded) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=server.app), base_url=server.base, timeout=HANGS_AFTER)


@pytest.mark.promise("fault: malformed messages and arguments, over streamable HTTP of 2026-07-28")
async def test_modern_http_answers_every_malformed_message(server: Guarded):
    sent = messages(await tools_of(server.agent), 3_500, 1, KNOWING_TASKS)
    async with in_process(server) as http:
        await storm(sent, Modern(http, f"{server.base}/mcp", {**HEADERS, "MCP-Protocol-Version": MODERN}))
    await still_serves(server, "http-auto")


@pytest.mark.promise("fault: malformed messages and arguments, over streamable HTTP up to 2025-11-25")
async def test_legacy_http_answers_every_malformed_message(server: Guarded):
    sent = messages(await tools_of(server.agent), 3_500, 2, None)
    opened = await server.begin()
    headers = {**HEADERS, "Mcp-Session-Id": opened.headers["mcp-session-id"]}
    async with in_process(server) as http:
        send = Posts(http, f"{server.base}/mcp", headers)
        await send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        await storm(sent, send)
    await still_serves(server, "http-legacy")


class Duplex:
    """Notes what comes back on a stream of its own."""

    def __init__(self) -> None:
        self.answers: dict[Any, Any] = {}
        self.news = asyncio.Event()

    def heard(self, answer: Any) -> None:
        self.answers[json.dumps(answer.get("id"))] = answer
        self.news.set()

    async def all_answered(self, sent: list[Any]) -> None:
        wanted = {json.dumps(number): message for message in sent if (number := must_be_answered(message)) is not None}
        with anyio.move_on_after(HANGS_AFTER):
            while wanted.keys() - self.answers.keys():
                self.news.clear()
                await self.news.wait()
        assert not [message for number, message in wanted.items() if number not in self.answers]
        for number, answer in self.answers.items():
            check(answer, wanted.get(number))


@pytest.mark.promise("fault: malformed messages and arguments reach Temporal")
async def test_temporal_is_asked_nothing_that_it_cannot_read(temporal: Path):
    settings = {"execution_engine": "temporal", "temporal": {"data_dir": temporal}}
    async with guarded(app=desk.app, settings=settings, wait_budget_seconds=0.2) as server:
        await server.agent.runs._host.executor(60)
        sent = messages(await tools_of(server.agent), 400, 6, KNOWING_TASKS)
        async with in_process(server) as http:
            await storm(sent, Modern(http, f"{server.base}/mcp", {**HEADERS, "MCP-Protocol-Version": MODERN}))
        await still_serves(server, "http-auto")


class Pieces(ByteReceiveStream):
    """What a response brings, as a stream."""

    def __init__(self, response: httpx2.Response) -> None:
        self.pieces = response.aiter_bytes()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return await anext(self.pieces)

    async def aclose(self) -> None: ...


@pytest.mark.promise("fault: malformed messages and arguments, over SSE")
async def test_sse_answers_every_malformed_message(server: Guarded):
    sent, duplex = messages(await tools_of(server.agent), 1_500, 3, None), Duplex()
    async with httpx2.AsyncClient(timeout=HANGS_AFTER) as http, http.stream("GET", f"{server.base}/sse") as stream:
        # Not `aiter_lines`, which also ends a line where a text has one of Unicode's other line breaks.
        pieces = BufferedByteReceiveStream(Pieces(stream))

        async def data() -> AsyncGenerator[str]:
            while True:
                one = await pieces.receive_until(b"\r\n", 10_000_000)
                if one.startswith(b"data:"):
                    yield one[5:].strip().decode()

        frames = data()
        send = Posts(http, server.base + await anext(frames), HEADERS)

        async def listen() -> None:
            async for frame in frames:
                duplex.heard(json.loads(frame))

        listening = asyncio.create_task(listen())
        await send(INITIALIZE)
        await send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        await storm(sent, send)
        await duplex.all_answered(sent)
        listening.cancel()
    await still_serves(server, "sse-legacy")


@pytest.mark.parametrize(
    ("text", "number", "code"),
    [
        ('{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": "x"}', 7, INVALID_REQUEST),
        ('{"jsonrpc": "2.0", "id": 7, "method": "ping", "params": {"a": "\\ud800"}}', 7, PARSE_ERROR),
        ('{"jsonrpc": "2.0", "id": "\\ud800", "method": "ping"}', None, PARSE_ERROR),  # no id that can be sent back
        ('{"jsonrpc": "2.0", "id": 7, "result": 5}', None, INVALID_REQUEST),  # the number is the server's own
        ('{"jsonrpc": "2.0", "id": 7,', None, PARSE_ERROR),
        ("[" * 100_000, None, PARSE_ERROR),
        ("[]", None, INVALID_REQUEST),
    ],
)
async def test_a_line_that_is_no_message_is_answered(text: str, number: int | None, code: int):
    refusals, sent = Refusals(), list[Any]()

    async def send(message: SessionMessage) -> None:
        sent.append(message.message)

    refusals.to.set_result(send)
    assert await refusals.refused(text)
    assert not await refusals.refused('{"jsonrpc": "2.0", "id": 7, "method": "ping"}')
    [answer] = sent
    assert (answer.id, answer.error.code) == (number, code)
    assert answer.model_dump_json()  # it can be sent


@pytest.mark.promise("fault: malformed messages and arguments, over stdio")
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_stdio_answers_every_malformed_message(server: Guarded, tmp_path: Path, era: str):
    meta = ENVELOPE if era == "modern" else None
    sent, duplex = messages(await tools_of(server.agent), 750, 4, meta), Duplex()
    opening: dict[str, Any] = (
        {"jsonrpc": "2.0", "id": 0, "method": "tools/list", "params": {"_meta": meta}} if meta else INITIALIZE
    )
    (tmp_path / "attacked.py").write_text("from tests.attacks.desk import make\napp = make()\n")
    (tmp_path / "mcp_agent.config.yaml").write_text("server: {app: 'attacked:app', wait_budget_seconds: 0.01}\n")
    async with await anyio.open_process(
        [sys.executable, "-m", "mcp_agent.cli", "serve", "--stdio", "--config", str(tmp_path / "mcp_agent.config.yaml")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        async def listen(stdout: Any) -> None:
            buffered = BufferedByteReceiveStream(stdout)
            with suppress(anyio.IncompleteRead):
                while True:
                    duplex.heard(json.loads(await buffered.receive_until(b"\n", 10_000_000)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen, process.stdout)
            for message in [opening, *sent]:
                await process.stdin.send(line(message).replace(b"\n", b" ") + b"\n")
            await duplex.all_answered(sent)
            await process.stdin.aclose()
        assert await process.wait() == 0
