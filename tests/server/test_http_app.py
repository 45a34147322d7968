"""What HTTP itself asks of the server."""

import asyncio
import json
from urllib.parse import urlsplit

import pytest

from tests.server.guarded import guarded

pytestmark = pytest.mark.anyio

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


async def test_white_space_around_a_header_s_value_is_no_part_of_it():
    """Sent as bytes: client libraries would trim it."""
    call = {"name": "add", "arguments": {"a": 1}, "_meta": META}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
    async with guarded() as server:
        address = urlsplit(server.base)
        lines = [
            "POST /mcp HTTP/1.1",
            f"Host: {address.netloc}",
            "Content-Type: application/json",
            "Accept: application/json, text/event-stream",
            "MCP-Protocol-Version: 2026-07-28",
            "Mcp-Method: tools/call",
            "Mcp-Name: \t add \t ",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        read, write = await asyncio.open_connection(address.hostname, address.port)
        write.write("\r\n".join([*lines, "", body]).encode())
        answer = (await read.read()).decode()
        write.close()
        await write.wait_closed()
    assert answer.startswith("HTTP/1.1 200")
    assert json.loads(answer.rpartition("\r\n\r\n")[2])["result"]["structuredContent"] == {"sum": 2}
