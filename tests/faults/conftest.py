import sys
import uuid
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from llmock.pytest_plugin import LLMock
from llmock.testing import LLMockServer

from mcp_agent.config import Settings
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.temporal.making import CannotMake
from tests import skips
from tests.fakes import AIMock, Fake, LLMockFake, aimock, aimock_program
from tests.faults import desk
from tests.relay import Relay, relay

KEY = "sk-proj-Planted0Key1Zx81aQ55mmNvTTy0"
TOKEN = "planted-token-of-the-ledger"
LEDGER = Path(__file__).parent.parent / "ledger_server.py"
TRIES = {"initial_interval": 0.05, "maximum_interval": 0.3, "maximum_attempts": 8}

SECTIONS: dict[str, dict[str, Any]] = {
    "openai": {"path": "/v1", "options": {"api": "chat"}},
    "azure": {"path": "/v1", "options": {"api": "responses"}},
    "anthropic": {},
    "google": {},
}
"""The providers' sections: between them, every API that is spoken."""

BROKEN_CALL = "broken arguments, please"
EMPTY = "an empty answer, please"
UNCHECKED: list[dict[str, Any]] = [
    {
        "match": {"userMessage": BROKEN_CALL, "hasToolResult": False},
        "response": {"toolCalls": [{"name": "ledger_add", "arguments": '{"text": "half', "id": "one"}]},
    },
    {"match": {"userMessage": BROKEN_CALL, "hasToolResult": True}, "response": {"content": "fine"}},
    {"match": {"userMessage": EMPTY}, "response": {"content": ""}},
]
"""What aimock says, but refuses to be told to while it runs."""


@pytest.fixture(scope="session")
async def front() -> AsyncGenerator[Relay, None]:
    """Where the runs look for every provider."""
    async with relay() as made:
        yield made


@pytest.fixture(scope="session")
async def second_fake(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[AIMock, None]:
    try:
        program = await aimock_program(print)
    except CannotMake as error:
        pytest.skip(f"{skips.NO_SECOND_FAKE}: {error}")
    async with aimock(program, tmp_path_factory.mktemp("aimock"), UNCHECKED) as made:
        yield made


@pytest.fixture
def first_fake(llmock_server: LLMockServer) -> LLMockFake:
    return LLMockFake(LLMock(llmock_server))


@pytest.fixture(params=["first_fake", "second_fake"], ids=["llmock", "aimock"])
def fake(request: pytest.FixtureRequest) -> Fake:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the downstream server notes its calls."""
    return tmp_path_factory.mktemp("ledger") / "log.txt"


@pytest.fixture(scope="session", params=["asyncio", "temporal"])
async def executor(request: pytest.FixtureRequest, temporal: Path, front: Relay, ledger: Path) -> AsyncGenerator[Executor, None]:
    """An engine whose model calls go to `front`."""
    settings: dict[str, Any] = {"execution_engine": request.param}
    if request.param == "temporal":
        settings["temporal"] = {"data_dir": temporal}
    for section, own in SECTIONS.items():
        place = {"base_url": front.root + own.get("path", ""), **own.get("options", {})}
        settings[section] = {"api_key": KEY, "timeout_seconds": 20, "stall_timeout_seconds": 2, **place}
    environment = {"LEDGER_FOLDER": str(ledger.parent), "LEDGER_TOKEN": TOKEN}
    settings["mcp"] = {"servers": {"ledger": {"command": sys.executable, "args": [str(LEDGER)], "env": environment}}}
    settings["workflow_task_retry_policies"] = {"mcp_agent.llm.generate": TRIES}
    desk.app.use(Settings(**settings))
    async with desk.app.open_executor(worker=True) as opened:
        yield opened


@pytest.fixture
def question() -> str:
    """One that nobody else asks."""
    return f"What is {uuid.uuid4().hex}?"
