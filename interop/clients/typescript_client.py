"""The TypeScript SDKs, in a Node process that is told line by line what to do."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from scenarios import DECISION, Answer, Client, Target, main


@dataclass(kw_only=True)
class TypeScript(Client):
    process: asyncio.subprocess.Process
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    spoken: str | None = None
    ids: Any = field(default_factory=itertools.count)
    waiting: dict[int, asyncio.Future[Any]] = field(default_factory=dict)

    async def listen(self) -> None:
        """Takes what the process tells, until it ends."""
        while line := await self.process.stdout.readline():
            message = json.loads(line)
            if "asked" in message:
                self.asked.append(message["asked"])
            elif "ready" in message:
                self.spoken = message["revision"]
                self.ready.set()
            elif (answered := self.waiting.pop(message["id"], None)) and not answered.done():
                answered.set_result(message)
        for left in self.waiting.values():
            left.set_exception(ConnectionError("the Node process has ended"))
        self.ready.set()

    async def ask(self, what: str, **given: Any) -> Any:
        """Raises RuntimeError with the words of an error in the process."""
        number = next(self.ids)
        answered = self.waiting[number] = asyncio.get_running_loop().create_future()
        self._write({"id": number, "do": what, **given})
        try:
            answer = await answered
        except asyncio.CancelledError:
            self._write({"cancel": number})
            raise
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    def _write(self, message: dict[str, Any]) -> None:
        self.process.stdin.write(json.dumps(message).encode() + b"\n")

    def revision(self) -> str | None:
        return self.spoken

    async def tools(self) -> list[str]:
        return await self.ask("tools")

    async def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        result = await self.ask("call", tool=tool, arguments=arguments)
        text = "\n".join(block["text"] for block in result["content"] if block["type"] == "text")
        return Answer(text, result.get("structuredContent"), result.get("isError", False))

    async def read(self, uri: str) -> str:
        return (await self.ask("read", uri=uri))["contents"][0]["text"]


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Client]:
    told = {
        "transport": target.transport,
        "command": target.command,
        "environment": target.environment,
        "http": target.http,
        "sse": target.sse,
        "answer": DECISION,
        "mode": target.options.get("mode"),
    }
    process = await asyncio.create_subprocess_exec(
        target.options["node"],
        f"{target.options['folder']}/{target.options['module']}",
        json.dumps(told),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=16 * 1024 * 1024,
    )
    client = TypeScript(process=process)
    listening = asyncio.create_task(client.listen())
    try:
        await client.ready.wait()
        yield client
    finally:
        process.stdin.close()
        await process.wait()
        await listening


if __name__ == "__main__":
    main(connect)
