"""What a worker opens: one HTTP client a provider, one connection a downstream server, however many calls there are."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_agent.config import Settings
from mcp_agent.executor.executor import Executor
from tests.behaviour.connections_desk import PROVIDERS, app
from tests.providers_http import RawServer, raw_server, sse

pytestmark = pytest.mark.anyio

ODD_SERVER = Path(__file__).parents[1] / "mcp" / "odd_server.py"
CALLS = 10
TOOL = "odd_pid"


def openai(call: bool) -> bytes:
    function = {"index": 0, "id": "one", "type": "function", "function": {"name": TOOL, "arguments": "{}"}}
    delta = {"tool_calls": [function]} if call else {"content": "done"}
    said = {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    ended = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls" if call else "stop"}]}
    return sse(said, ended, "[DONE]")


def anthropic(call: bool) -> bytes:
    block = {"type": "tool_use", "id": "one", "name": TOOL, "input": {}} if call else {"type": "text", "text": "done"}
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "claude", "content": [], "usage": usage}
    delta = {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
    return sse(
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": delta, "usage": usage},
        {"type": "message_stop"},
    )


def google(call: bool) -> bytes:
    part = {"functionCall": {"id": "one", "name": TOOL, "args": {}}} if call else {"text": "done"}
    candidate = {"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
    return sse({"candidates": [candidate]})


ANSWERS = {"openai": openai, "anthropic": anthropic, "google": google}
RESULTS = {"openai": '"role":"tool"', "anthropic": '"type":"tool_result"', "google": '"functionResponse":'}


@asynccontextmanager
async def model(provider: str) -> AsyncGenerator[RawServer]:
    """Asks for the tool until the conversation holds all but one of `CALLS` answers with its result."""

    async def respond(body: bytes, writer: asyncio.StreamWriter) -> None:
        results = json.dumps(json.loads(body), separators=(",", ":")).count(RESULTS[provider])
        writer.write(ANSWERS[provider](results < CALLS - 1))

    async with raw_server(respond) as server:
        yield server


@asynccontextmanager
async def engine(kind: str, provider: str, root: str, data: Path, noted: Path) -> AsyncGenerator[Executor]:
    url = f"{root}/v1" if provider == "openai" else root
    settings: dict[str, Any] = {"execution_engine": kind, provider: {"api_key": "planted-key", "base_url": url}}
    odd = {"command": sys.executable, "args": [str(ODD_SERVER)], "env": {"ODD_PID": str(noted)}}
    settings["mcp"] = {"servers": {"odd": odd}}
    if kind == "temporal":
        settings["temporal"] = {"data_dir": data}
    app.use(Settings.model_validate(settings))
    async with app.open_executor(worker=True) as opened:
        yield opened


@pytest.mark.promise("issue: one connection per downstream server per worker, one HTTP client per provider")
@pytest.mark.parametrize("kind", ["asyncio", "temporal"])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_two_runs_of_many_calls_share_a_connection_of_each_kind(provider: str, kind: str, temporal: Path, tmp_path: Path):
    noted = tmp_path / "pids.txt"
    async with model(provider) as server:
        root = server.url.removesuffix("/v1")
        async with engine(kind, provider, root, temporal, noted) as executor:
            for _ in range(2):
                handle = await executor.start_workflow("AsksOften", provider)
                assert (await handle.result()).value == CALLS

    started = noted.read_text().split()
    assert len(server.bodies) == 2 * CALLS
    assert json.dumps(server.bodies[-1]).count(started[0]) == CALLS - 1, "the server that was started answered each call"
    assert (server.connections, len(started)) == (1, 1)
