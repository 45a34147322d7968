"""`make demo`: an MCP client starts the server over stdio, runs the research brief on Temporal and answers its question."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import CallToolResult, TextContent
from rich.console import Console
from rich.panel import Panel

from mcp_agent.executor.temporal.dev_server import data_dir, run_page, status

QUESTION = "Should our library open on Sundays?"
SCRIPT = Path(__file__).with_name("demo_script.yaml")
WAIT = 20

console = Console()


class Demo:
    """One run of the research brief, from the client's side."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def run(self) -> dict[str, Any]:
        """Starts the run and stays with it until it has ended."""
        run = await self._call("run", {"run_parameters": {"question": QUESTION}, "wait_seconds": WAIT})
        console.print(f"run [bold]{run['run_id']}[/]")
        while True:
            match run["status"]:
                case "waiting_for_input":
                    run = await self._answer(run)
                case "queued" | "running" | "blocked":
                    run = await self._call("get_status", {"run_id": run["run_id"], "wait_seconds": WAIT})
                case _:
                    return run

    async def _answer(self, run: dict[str, Any]) -> dict[str, Any]:
        request = run["pending_inputs"][0]
        console.print(Panel(request["message"], title=f"the run asks a person ({request['request_id']})"))
        payload = await asyncio.to_thread(decision)
        arguments = {"run_id": run["run_id"], "request_id": request["request_id"], "payload": payload}
        answered = await self._call("resume", arguments)
        return answered["run"]

    async def _call(self, action: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """One call; while the engine is made ready for the first time, it is repeated."""
        while True:
            result = await self._client.call_tool(f"workflows-ResearchBrief-{action}", arguments, progress_callback=progress)
            data: dict[str, Any] = result.structured_content or {}
            if data.get("code") == "engine_starting":
                console.print("[dim]the engine is still starting[/]")
                continue
            if "status" not in data and "run" not in data:
                raise SystemExit(text_of(result))
            return data


async def progress(progress: float, total: float | None, message: str | None) -> None:
    """Shows what the server says while a call waits."""
    console.print(f"[dim]{message}[/]")


def decision() -> dict[str, str]:
    """What the person says; without a terminal the demo approves by itself, and says so."""
    if not sys.stdin.isatty():
        console.print("[yellow]no terminal: the demo approves the draft by itself[/]")
        return {"decision": "approve"}
    said = console.input("Press Enter to approve, or say what to change: ").strip()
    return {"decision": "change", "comments": said} if said else {"decision": "approve"}


def text_of(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


def environment() -> dict[str, str]:
    """The server's: with a key the real model, without one the scripted one."""
    own = dict(os.environ)
    if not own.get("OPENAI_API_KEY"):
        console.print("[yellow]no OPENAI_API_KEY: the scripted model answers[/]")
        own["MCP_AGENT__SCRIPTED__FILE"] = str(SCRIPT)
    own.setdefault("MCP_AGENT_LOG_LEVEL", "info" if not status(data_dir()) else "warning")
    return own


async def main() -> None:
    command = StdioServerParameters(command=sys.executable, args=["-m", "mcp_agent.cli", "serve", "--stdio"], env=environment())
    async with Client(command) as client:
        tools = (await client.list_tools()).tools
        console.print(f"connected: {len(tools)} tools. Question: [bold]{QUESTION}[/]")
        run = await Demo(client).run()
    show(run)


def show(run: dict[str, Any]) -> None:
    """Prints how the run ended, and where it can be looked at."""
    if run["status"] != "completed":
        raise SystemExit(f"the run ended as {run['status']}: {json.dumps(run.get('error'))}")
    console.print(Panel(run["result"]["text"], title="the brief"))
    console.print(f"completed; stored at {run['result']['stored_at']}", soft_wrap=True)
    server = status(data_dir())
    if server is not None:
        page = run_page(server.ui_url, "default", run["run_id"], run["temporal_run_id"])
        console.print(f"the run in Temporal's web page (up for a minute after its last client): {page}", soft_wrap=True)


if __name__ == "__main__":
    asyncio.run(main())
