"""Keys stay with the process that needs them: planted ones are found in no history, log, memo or answer."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from mcp import Client

from tests.support import Desk

pytestmark = pytest.mark.anyio

KEYS = {"OPENAI_API_KEY": "sk-planted-in-the-environment", "ARCHIVE_TOKEN": "planted-for-the-archive"}


@asynccontextmanager
async def provider_that_tells_the_key() -> AsyncGenerator[str, None]:
    """A provider that refuses every key, and quotes it."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = head.lower().partition("authorization: bearer ")[2].split()[0]
        body = json.dumps({"error": {"message": f"Incorrect API key provided: {key}.", "code": "invalid_api_key"}}).encode()
        writer.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nconnection: close\r\n")
        writer.write(f"content-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


@pytest.mark.promise("design: secrets never reach histories, logs, memos or error texts")
async def test_planted_keys_are_nowhere_to_be_found(desk: Desk):
    desk.environment |= KEYS
    config = desk.folder / "mcp_agent.config.yaml"
    async with provider_that_tells_the_key() as url:
        text = config.read_text().replace("scripted: {file: script.yaml}", f"openai: {{base_url: '{url}'}}")
        text = text.replace("level: warning", "level: debug")
        config.write_text(text.replace("DESK_FOLDER:", 'ARCHIVE_TOKEN: "${ARCHIVE_TOKEN}", DESK_FOLDER:'))
        desk.open_gate("archive")
        server = await desk.serve()
        async with Client(server.url) as client:
            result = await client.call_tool("workflows-Passage-run", {"run_parameters": {"name": "a"}})
    assert result.is_error
    said = result.model_dump_json()
    assert "Incorrect API key" in said
    searched = 0
    for path in desk.folder.rglob("*"):
        if path.is_file() and path.suffix != ".lock":
            searched += 1
            content = path.read_bytes()
            for key in KEYS.values():
                assert key.encode() not in content, path
    assert any(path.name == "temporal.db" for path in desk.folder.rglob("*"))
    assert searched > 5
    for key in KEYS.values():
        assert key not in said
