"""Fakes of the model providers' HTTP APIs by two independent authors, scripted alike: `llmock`, and aimock from npm.

aimock is installed once, into the user's cache folder, and runs offline from then on.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from llmock.pytest_plugin import LLMock
from llmock.scenarios import Reply
from llmock.scenarios import ToolCall as LLMockToolCall

from mcp_agent.executor.temporal.locks import Kind, locked
from mcp_agent.executor.temporal.making import CannotMake, Command, Report, cache_dir, emptied
from tests.support import until

PACKAGE = "@copilotkit/aimock"
VERSION = "1.43.0"
INSTALL_WITHIN = 300.0
ANSWERS_WITHIN = 30.0


async def aimock_program(report: Report) -> Path:
    """aimock's command line, a program for Node: the one in the cache, or one that npm installs there now.

    Raises:
        CannotMake: Node or npm is missing, or npm cannot get the package.
    """
    if shutil.which("node") is None:
        raise CannotMake("aimock needs `node` on PATH")
    folder = cache_dir() / f"aimock-{VERSION}"
    program = folder / "node_modules" / PACKAGE / "dist" / "cli.js"
    if program.is_file():
        return program
    npm = shutil.which("npm")
    if npm is None:
        raise CannotMake("aimock is got with `npm`, which is not on PATH")
    async with locked(cache_dir() / "aimock.lock", Kind.EXCLUSIVE) as lock:
        if not program.is_file():
            report(f"installing `{PACKAGE}` {VERSION} with npm into the cache")
            new = emptied(cache_dir() / "aimock.part")
            quiet = ("--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")
            install = [npm, "install", "--prefix", new, *quiet, f"{PACKAGE}@{VERSION}"]
            await Command(install, new, INSTALL_WITHIN, hold=[lock]).run(report)
            shutil.rmtree(folder, ignore_errors=True)
            new.rename(folder)
    return program


@dataclass(frozen=True, slots=True)
class Refuses:
    """An HTTP error. `retry_after`: seconds, for a 429."""

    status: int
    message: str = "said the provider"
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Says:
    text: str


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of tools, each by name with arguments."""

    tools: tuple[tuple[str, dict[str, Any]], ...]
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Breaks:
    """Begins to stream a text, and ends in the middle of it as that fake does: in good order, or with the connection."""

    text: str


Answer = Refuses | Says | Calls | Breaks


class Fake(ABC):
    """A fake of every provider."""

    name: str

    @abstractmethod
    def root(self, section: str) -> str:
        """The address that stands for a provider's own; `section` is the provider's of the configuration."""

    @abstractmethod
    async def script(self, question: str, *answers: Answer) -> None:
        """What it answers, one request after the other, to a conversation whose user last said `question`."""


class LLMockFake(Fake):
    """`llmock` answers in the order of its script, whatever is asked: for one conversation at a time."""

    name = "llmock"

    def __init__(self, llmock: LLMock) -> None:
        self._llmock = llmock

    def root(self, section: str) -> str:
        provider = {"azure": "openai", "google": "gemini"}.get(section, section)
        return self._llmock.base_url(provider).removesuffix("/v1")

    async def script(self, question: str, *answers: Answer) -> None:
        self._llmock.reset().tool_mode("off")
        refused = [isinstance(answer, Refuses) for answer in answers]
        assert refused == sorted(refused, reverse=True), "it refuses before it says anything: give refusals first"
        for answer in answers:
            match answer:
                case Refuses():
                    self._llmock.fail(answer.status, retry_after=answer.retry_after, message=answer.message)
                case Says():
                    self._llmock.reply(answer.text)
                case Breaks():
                    self._llmock.reply(answer.text).truncate(after_chunks=2)
                case Calls():
                    self._llmock.add(Reply(tool_calls=tuple(LLMockToolCall(*tool) for tool in answer.tools)))

    @property
    def llmock(self) -> LLMock:
        """For faults that are its own."""
        return self._llmock


class AIMock(Fake):
    """aimock looks for an answer that fits what is asked; what fits nothing is refused with status 503."""

    name = "aimock"

    def __init__(self, address: str) -> None:
        self.address = address

    def root(self, section: str) -> str:
        return self.address

    async def script(self, question: str, *answers: Answer) -> None:
        fixtures = [
            {"match": {"userMessage": question, "sequenceIndex": place}, **aimock_fixture(answer)}
            for place, answer in enumerate(answers)
        ]
        await anyio.to_thread.run_sync(self._post, "/__aimock/fixtures", {"fixtures": fixtures})

    def _post(self, path: str, body: Any) -> None:
        with urllib.request.urlopen(self.address + path, json.dumps(body).encode(), timeout=ANSWERS_WITHIN) as answered:
            answered.read()


def aimock_fixture(answer: Answer) -> dict[str, Any]:
    match answer:
        case Refuses():
            wait = {} if answer.retry_after is None else {"retryAfter": answer.retry_after}
            return {"response": {"error": {"message": answer.message}, "status": answer.status, **wait}}
        case Says():
            return {"response": {"content": answer.text}}
        case Breaks():
            return {"response": {"content": answer.text}, "truncateAfterChunks": 2}
        case Calls():
            ids = answer.ids or tuple(f"call_{place}" for place in range(len(answer.tools)))
            tools = zip(answer.tools, ids, strict=True)
            calls = [{"name": name, "arguments": args, "id": id_} for (name, args), id_ in tools]
            return {"response": {"toolCalls": calls}}


@asynccontextmanager
async def aimock(program: Path, folder: Path, fixtures: Iterable[dict[str, Any]] = ()) -> AsyncGenerator[AIMock, None]:
    """Runs aimock on a free port.

    Args:
        program: See `aimock_program`.
        folder: Where its fixtures are written.
        fixtures: What it answers from the beginning, in its own form; nothing checks these.
    """
    never = {"match": {"userMessage": "nobody says this"}, "response": {"content": "at least one is needed"}}
    (folder / "fixtures.json").write_text(json.dumps({"fixtures": [never, *fixtures]}))
    log = folder / "aimock.log"
    command = ["node", str(program), "--port", "0", "--fixtures", str(folder), "--strict"]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield AIMock(await until(lambda: _address(process, log)))
    finally:
        process.kill()
        process.wait()


async def _address(process: subprocess.Popen[bytes], log: Path) -> str | None:
    said = log.read_text()
    assert process.poll() is None, said
    found = re.search(r"listening on (http://\S+)", said)
    return found[1] if found else None
