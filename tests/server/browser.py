"""A headless Chromium, driven by its DevTools protocol over the one WebSocket that it opens."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.support import until

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LIMIT = 30.0
"""Seconds for a call, and what it waits for."""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
# Ends the browser when its standard input ends: with the test's process, however that ends.
_GUARDED = '"$@" & read -r _; kill -9 $!; wait'
# Resolves as soon as the expression is true in the document, which may be so already.
_WHEN = """new Promise((resolve, reject) => {
  const look = () => {
    let found;
    try { found = %s } catch (error) { found = null }
    if (found) { clearTimeout(limit); watcher.disconnect(); resolve(found) }
  };
  const limit = setTimeout(() => reject(new Error("never so: " + %s + "; there is: " + document.body.innerText)), 25000);
  const watcher = new MutationObserver(look);
  watcher.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  look();
})"""


def chromium() -> str | None:
    """The browser's path; `None` if this machine has none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """Calls of the protocol, and the targets (tabs and the frames of other sites) that have come up."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = count(1)
        self._calls: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded: dict[str, asyncio.Event] = {}
        self._frames: asyncio.Queue[Target] = asyncio.Queue()

    async def receive(self) -> None:
        """Reads until the browser closes."""
        async for text in self._socket:
            message = json.loads(text)
            if (waiting := self._calls.pop(message.get("id"), None)) is not None:
                waiting.set_result(message)
            elif message.get("method") == "Page.loadEventFired":
                self._loaded[message["sessionId"]].set()
            elif message.get("method") == "Target.attachedToTarget":
                info = message["params"]
                if info["targetInfo"]["type"] == "iframe":
                    self._frames.put_nowait(Target(self, info["sessionId"]))

    async def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        self._calls[number] = asyncio.get_running_loop().create_future()
        sent = {"id": number, "method": method, "params": params} | ({} if session is None else {"sessionId": session})
        await self._socket.send(json.dumps(sent))
        async with asyncio.timeout(LIMIT):
            answer = await self._calls[number]
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    @asynccontextmanager
    async def tab(self, url: str) -> AsyncGenerator[Target, None]:
        """A tab, which is closed at the end."""
        target = (await self.call("Target.createTarget", url="about:blank"))["targetId"]
        session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        await self.call("Target.setAutoAttach", session, autoAttach=True, waitForDebuggerOnStart=False, flatten=True)
        loaded = self._loaded[session] = asyncio.Event()
        await self.call("Page.enable", session)
        await self.call("Page.navigate", session, url=url)
        await loaded.wait()
        yield Target(self, session)
        await self.call("Target.closeTarget", targetId=target)

    async def frame(self) -> Target:
        """The next frame of another site, as a sandbox makes it."""
        return await self._frames.get()


class Target:
    """A document."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self.session = session

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        return await self._browser.call(method, self.session, **params)

    async def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of its promise."""
        asked = {"expression": expression, "awaitPromise": True, "returnByValue": True, "userGesture": True}
        answer = await self.call("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]["exception"].get("description")
        return answer["result"].get("value")

    async def when(self, expression: str) -> Any:
        """The expression's value, once it is true."""
        return await self.run(_WHEN % (expression, json.dumps(expression)))


@asynccontextmanager
async def browser_in(profile: Path) -> AsyncGenerator[Browser, None]:
    """A browser with a profile of its own; both are gone at the end."""
    path = chromium()
    assert path is not None
    port = profile / "DevToolsActivePort"
    process = subprocess.Popen(
        ["sh", "-c", _GUARDED, "sh", path, *FLAGS, f"--user-data-dir={profile}"],
        env={**os.environ, "HOME": str(profile), "TMPDIR": str(profile)},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    async def address() -> str | None:
        lines = port.read_text().splitlines() if port.exists() else []
        return f"ws://127.0.0.1:{lines[0]}{lines[1]}" if len(lines) == 2 else None

    try:
        async with connect(await until(address), max_size=None, proxy=None) as socket:
            browser = Browser(socket)
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(browser.receive())
                yield browser
                reading.cancel()
    finally:
        process.communicate()
        shutil.rmtree(profile, ignore_errors=True)
