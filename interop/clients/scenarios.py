"""What every client has to do with the server of `interop/app.py`, and how its script tells the outcome.

A script makes a `Client` of what it tries out and calls `main`. It is run with the client's own Python, so nothing but the
standard library is imported here.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import traceback
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

ACTIONS = ("run", "get_status", "resume", "cancel")
WORKFLOWS = ("Approve", "Fails", "Greet", "Large", "Long", "Refuses")
TOOLS = sorted(
    ["add", "workflows-list", "workflows-runs-list", *(f"workflows-{name}-{action}" for name in WORKFLOWS for action in ACTIONS)]
)
Play = Callable[[list["Answer"]], tuple[str, dict[str, Any]] | str]
"""A model: what the tools have said so far, to the next call or the last words."""
LINES = 5_000
DECISION = {"approve": True, "comment": "fine"}
QUESTION = "Send 'the letter'?"

PHRASES = {
    "completed": r"` completed in ",
    "failed": r"` failed \(",
    "cancelled": r"` was cancelled ",
    "waiting_for_input": r" waits for a person: ",
    "running": r" is running \(",
}


@dataclass(frozen=True)
class Target:
    """Where the server is, and what to do with it."""

    transport: str
    command: list[str]
    environment: dict[str, str]
    url: str
    scenarios: list[str]
    seconds: float
    options: dict[str, Any]

    @property
    def http(self) -> str:
        return f"{self.url}/mcp"

    @property
    def sse(self) -> str:
        return f"{self.url}/sse"


@dataclass(frozen=True)
class Answer:
    """What a call gave, as the client shows it. `data` is missing where a framework passes on texts only: then everything is
    read off the text, as a model would."""

    text: str
    data: dict[str, Any] | None = None
    is_error: bool = False

    @property
    def run(self) -> dict[str, Any]:
        data = self.data or {}
        return data.get("run", data)

    @property
    def run_id(self) -> str:
        return self.run["run_id"] if self.data else self._told(r"Run `([^`]+)`")

    @property
    def status(self) -> str:
        if self.data:
            return self.run["status"]
        return next((status for status, phrase in PHRASES.items() if re.search(phrase, self.text)), f"unknown: {self.text[:500]}")

    @property
    def request_id(self) -> str:
        return self.run["pending_inputs"][0]["request_id"] if self.data else self._told(r"request `([^`]+)`")

    @property
    def result_uri(self) -> str:
        return self.run["result_uri"] if self.data else self._told(r"read resource `([^`]+)`")

    @property
    def already_closed(self) -> bool:
        return self.data["already_closed"] if self.data else " had ended before " in self.text

    def _told(self, pattern: str) -> str:
        found = re.search(pattern, self.text)
        assert found, f"no {pattern} in: {self.text[:500]}"
        return found[1]


class CannotDo(Exception):
    """The client has no way to do this; the text says why."""


@dataclass
class Client:
    """What is tried out, connected. `asked` holds the questions that it was asked in mid-call."""

    asked: list[str] = field(default_factory=list)

    def revision(self) -> str | None:
        """The protocol that is spoken; `None` where the client does not tell."""
        return None

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[Client]:
        """Who looks on while this client waits in a call: itself, unless its calls come one after the other."""
        yield self

    async def tools(self) -> list[str]:
        """The names of the server's tools, as the client sees them."""
        raise NotImplementedError

    async def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        raise NotImplementedError

    async def start(self, tool: str, arguments: dict[str, Any]) -> Answer:
        """A run that has just been started. To those who know no tasks `wait_seconds=0` gives it at once."""
        return await self.call(tool, {**arguments, "wait_seconds": 0})

    async def read(self, uri: str) -> str:
        """The text of a resource."""
        raise CannotDo("reads no resources")

    async def agent(self, play: Play) -> str:
        """What the framework's own agent says at its end, with `play` for a model."""
        raise CannotDo("has no agents")

    async def task(self, tool: str, arguments: dict[str, Any]) -> tuple[str, Answer]:
        """The id and the result of a call that the server made a task."""
        raise CannotDo("knows no tasks")


# Each scenario gives the word for the table.


async def lists(client: Client, target: Target) -> str:
    assert client.revision() in (None, target.options["revision"]), f"speaks {client.revision()}"
    names = await client.tools()
    missing = sorted(set(TOOLS) - set(names))
    assert not missing, f"misses {missing} among {names}"
    return "yes"


async def runs(client: Client, _: Target) -> str:
    answer = await client.call("workflows-Greet-run", {"run_parameters": {"name": "Ada"}})
    assert not answer.is_error, answer.text
    assert answer.status == "completed", answer.status
    assert "hello Ada" in answer.text, answer.text
    if answer.data is not None:
        assert answer.data["result"] == "hello Ada", answer.data
    added = await client.call("add", {"a": 1, "b": 2})
    assert added.text.strip() == "3", added.text
    return "text" if answer.data is None else "data"


async def person(client: Client, target: Target) -> str:
    answer = await client.call("workflows-Approve-run", {"run_parameters": {"text": "the letter"}})
    how = "asked"
    if not client.asked:
        assert not target.options.get("live"), f"was not asked: {answer.text}"
        how = "resume"
        assert answer.status == "waiting_for_input", answer.text
        assert QUESTION in answer.text, answer.text
        given = {"run_id": answer.run_id, "request_id": answer.request_id, "payload": DECISION}
        resumed = await client.call("workflows-Approve-resume", given)
        assert not resumed.is_error, resumed.text
    elif client.asked != [QUESTION]:
        raise AssertionError(f"was asked {client.asked}")
    ended = await _ended(client, "Approve", answer.run_id)
    assert ended.status == "completed", ended.text
    assert "sent: the letter (fine)" in ended.text, ended.text
    return how


async def cancels(client: Client, _: Target) -> str:
    started = await client.start("workflows-Long-run", {})
    assert started.status in ("queued", "running"), started.text
    cancelled = await client.call("workflows-Long-cancel", {"run_id": started.run_id, "reason": "not needed"})
    assert not cancelled.is_error, cancelled.text
    ended = await _ended(client, "Long", started.run_id)
    assert ended.status == "cancelled", ended.text
    again = await client.call("workflows-Long-cancel", {"run_id": started.run_id})
    assert again.already_closed, again.text
    return "yes"


async def drops(client: Client, _: Target) -> str:
    """A call that the client gives up in mid-wait, once the run is seen to be there, loses nothing."""
    key = uuid.uuid4().hex
    call = asyncio.create_task(client.call("workflows-Long-run", {"workflow_id": key, "wait_seconds": 20}))
    async with client.beside() as other:
        while key not in (await other.call("workflows-runs-list", {"workflow": "Long"})).text:
            assert not call.done(), f"ended by itself: {call.result()}"
            await asyncio.sleep(0.05)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled(), f"was not given up: {call.result()}"
    found = await client.start("workflows-Long-run", {"workflow_id": key})
    assert found.status == "running", found.text
    assert found.run_id.endswith(key), found.run_id
    told = await client.call("workflows-Long-resume", {"run_id": found.run_id, "signal_name": "finish"})
    assert not told.is_error, told.text
    ended = await _ended(client, "Long", found.run_id)
    assert ended.status == "completed", ended.text
    return "yes"


async def large(client: Client, _: Target) -> str:
    whole = "\n".join(f"line {number} äöü" for number in range(LINES))
    answer = await client.call("workflows-Large-run", {"run_parameters": {"lines": LINES}})
    assert answer.status == "completed", answer.text[:500]
    assert len(answer.text) < 2_000, f"a text of {len(answer.text)} characters"
    assert answer.data is None or answer.data["truncated"], answer.data
    try:
        read = json.loads(await client.read(answer.result_uri))
    except CannotDo:
        return "handle"
    assert read["result"] == whole, f"{len(read['result'])} characters in place of {len(whole)}"
    return "read"


async def errors(client: Client, _: Target) -> str:
    """Refused calls and failed runs: the client sees an error, and its text says what is wrong."""
    expected = [
        ("workflows-Greet-run", {"run_parameters": {}}, ["invalid_arguments", "name"]),
        ("workflows-Long-cancel", {"run_id": "Long.nobodys"}, ["not_found", "Long.nobodys"]),
        ("workflows-Fails-run", {}, ["failed", "the ledger is gone"]),
        ("workflows-Refuses-run", {}, ["workflow_error", "the ledger is closed on Sundays"]),
    ]
    for tool, arguments, words in expected:
        answer = await client.call(tool, arguments)
        assert answer.is_error, f"{tool} gave no error but: {answer.text}"
        assert all(word in answer.text for word in words), f"{tool}: {answer.text}"
    return "yes"


async def agent(client: Client, _: Target) -> str:
    """The framework's loop with a model that knows what the texts of the tools say, and no more."""

    def play(said: list[Answer]) -> tuple[str, dict[str, Any]] | str:
        if not said:
            return "workflows-Long-run", {"wait_seconds": 0}
        run_id = said[0].run_id
        calls = [
            ("workflows-Long-get_status", {"run_id": run_id, "wait_seconds": 0}),
            ("workflows-Long-resume", {"run_id": run_id, "signal_name": "finish"}),
            ("workflows-Long-get_status", {"run_id": run_id, "wait_seconds": 20}),
        ]
        return calls[len(said) - 1] if len(said) <= len(calls) else f"The end: {said[-1].text}"

    said = await client.agent(play)
    assert said.startswith("The end: "), said
    assert "finished" in said, said
    return "yes"


async def task(client: Client, _: Target) -> str:
    """A call that the server makes a task: the task is the run."""
    task_id, answer = await client.task("workflows-Greet-run", {"run_parameters": {"name": "Ada"}})
    assert "hello Ada" in answer.text, answer.text
    assert task_id == answer.run_id, f"task `{task_id}` is run `{answer.run_id}`"
    return "yes"


SCENARIOS = {
    "list": lists,
    "run": runs,
    "person": person,
    "cancel": cancels,
    "drop": drops,
    "large": large,
    "error": errors,
    "agent": agent,
    "task": task,
}


async def _ended(client: Client, workflow: str, run_id: str) -> Answer:
    while True:
        answer = await client.call(f"workflows-{workflow}-get_status", {"run_id": run_id, "wait_seconds": 10})
        assert not answer.is_error, answer.text
        if answer.status not in ("queued", "running"):
            return answer


Connect = Callable[[Target], AbstractAsyncContextManager[Client]]


async def _outcome(connect: Connect, target: Target, name: str) -> dict[str, Any]:
    try:
        async with asyncio.timeout(target.seconds), connect(target) as client:
            return {"scenario": name, "ok": True, "detail": await SCENARIOS[name](client, target)}
    except (Exception, BaseExceptionGroup, asyncio.CancelledError) as raised:
        error = _innermost(raised)
        if isinstance(error, CannotDo):
            return {"scenario": name, "ok": None, "detail": str(error)}
        traceback.print_exception(error)
        return {"scenario": name, "ok": False, "detail": f"{type(error).__name__}: {error}"}


def _innermost(error: BaseException) -> BaseException:
    """What went wrong, out of the groups that task groups make of it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def main(connect: Connect) -> None:
    """Plays the scenarios of the target that the command line describes, each on a new connection; a JSON line for each."""
    target = Target(**json.loads(sys.argv[1]))

    async def play() -> None:
        for name in target.scenarios:
            print(json.dumps(await _outcome(connect, target, name)), flush=True)

    asyncio.run(play())
