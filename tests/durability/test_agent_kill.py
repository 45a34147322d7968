"""kill -9 of a worker in the middle of long agent runs: nothing that was recorded is done again, and no word is lost."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections import Counter
from collections.abc import AsyncGenerator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_agent.config import Settings
from mcp_agent.executor.executor import WorkflowHandle
from mcp_agent.executor.temporal.executor import TemporalExecutor
from mcp_agent.mcp.definitions import MCP_CALL_TOOL
from mcp_agent.workflows.llm.messages import LLM_GENERATE
from tests.durability.agent_app import TURNS, app
from tests.support import Desk, desk_in, until, until_gone

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
RUNS = 10
WORDS = 300
"""So many that every other result is named by the model call that follows, not carried."""
SEED = 20261126
CONFIG = """
execution_engine: temporal
temporal: {{binary: {binary}, task_queue: ledger}}
server: {{app: "agent_app:app"}}
scripted: {{file: script.yaml}}
logger: {{level: warning}}
mcp:
  servers:
    ledger:
      command: ${{PYTHON}}
      args: [ledger_server.py]
      cwd: ${{CONFIG_DIR}}
      env: {{LEDGER_FOLDER: "${{CONFIG_DIR}}", LEDGER_SECONDS: "0.1", LEDGER_WORDS: "{words}"}}
"""
SCRIPT = f"""
agents:
  clerk:
    - turn: {TURNS - 1}
      text: "kept: {{last_tool_result}}"
    - any_turn: true
      tool_calls: [{{name: ledger_add, arguments: {{text: "{{last_user}} {{turn}}", heard: "{{last_tool_result}}"}}}}]
      delay_seconds: 0.1
"""


@pytest.fixture
async def desk(tmp_path: Path, binary: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Desk, None]:
    files = {file.name: file.read_text() for file in (HERE / "agent_app.py", HERE.parent / "ledger_server.py")}
    async with desk_in(tmp_path, binary, CONFIG.format(binary=binary, words=WORDS), {**files, "script.yaml": SCRIPT}) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made
        ledgers = pids(made)
    await until_gone(*ledgers)


def pids(desk: Desk) -> list[int]:
    """The downstream servers there have been."""
    return [int(line.removeprefix("pid ")) for line in desk.noted() if line.startswith("pid ")]


@pytest.fixture
async def executor(desk: Desk) -> AsyncGenerator[TemporalExecutor, None]:
    """Starts runs and reads them; the workers are other processes."""
    temporal = {"data_dir": desk.data, "binary": desk.binary, "task_queue": "ledger"}
    app.use(Settings(execution_engine="temporal", temporal=temporal))
    async with app.open_executor(worker=False) as opened:
        assert isinstance(opened, TemporalExecutor)
        yield opened


@dataclass
class Call:
    """A step of a run as Temporal has recorded it."""

    name: str
    argument: Any
    attempt: int = 0
    result: Any = None


@dataclass
class Record:
    """What a run has done so far."""

    calls: dict[int, Call] = field(default_factory=dict)

    def of(self, name: str) -> list[Call]:
        return [call for call in self.calls.values() if call.name == name]

    @property
    def done(self) -> list[int]:
        return [number for number, call in self.calls.items() if call.result is not None]

    @property
    def under_way(self) -> list[str]:
        return [call.name for call in self.calls.values() if call.result is None]

    @property
    def transcript(self) -> list[Any]:
        """All that was said; results that a call names are put in its place."""
        results = iter(call.result["content"] for call in self.of(MCP_CALL_TOOL))
        said = deepcopy([part for call in self.of(LLM_GENERATE) for part in (*call.argument["new"], call.result["message"])])
        for block in (block for message in said for block in message["content"] if block["type"] == "tool_result"):
            content = next(results)
            block["content"] = block["content"] or content
            block.pop("_meta", None)
        return said

    @property
    def read(self) -> list[int]:
        """How much the model read at each turn."""
        return [call.result["usage"]["input_tokens"] for call in self.of(LLM_GENERATE)]


async def recorded(executor: TemporalExecutor, run_id: str) -> Record:
    record = Record()
    async for event in executor.client.get_workflow_handle(run_id).fetch_history_events():
        if event.HasField("activity_task_scheduled_event_attributes"):
            made = event.activity_task_scheduled_event_attributes
            record.calls[event.event_id] = Call(made.activity_type.name, json.loads(made.input.payloads[0].data))
        elif event.HasField("activity_task_started_event_attributes"):
            begun = event.activity_task_started_event_attributes
            record.calls[begun.scheduled_event_id].attempt = begun.attempt
        elif event.HasField("activity_task_completed_event_attributes"):
            done = event.activity_task_completed_event_attributes
            record.calls[done.scheduled_event_id].result = json.loads(done.result.payloads[0].data)
    return record


def said_of(text: str) -> str:
    """What the ledger says."""
    return f"added {text}" + " indeed" * (WORDS if text[-1] in "02468" else 0)


def expected_transcript(name: str) -> list[Any]:
    """What an undisturbed run says and hears."""
    said: list[Any] = [{"role": "user", "content": [{"type": "text", "text": name}]}]
    heard = ""
    for turn in range(TURNS - 1):
        call_id, text = f"call_{turn}_0", f"{name} {turn}"
        use = {"type": "tool_use", "id": call_id, "name": "ledger_add", "input": {"text": text, "heard": heard}}
        heard = said_of(text)
        result = {"type": "tool_result", "toolUseId": call_id, "content": [{"type": "text", "text": heard}]}
        said += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    last = {"type": "text", "text": f"kept: {heard}"}
    return [*said, {"role": "assistant", "content": [last]}]


def read_before(transcript: list[Any]) -> list[int]:
    """What a scripted model counts at each turn: texts and results, four characters a token."""
    counted, length = list[int](), 0
    for message in transcript:
        if message["role"] == "assistant":
            counted.append(length // 4)
        else:
            length += sum(len(block.get("text") or block["content"][0]["text"]) for block in message["content"])
    return counted


async def started_apart(desk: Desk, executor: TemporalExecutor, lags: list[int]) -> list[WorkflowHandle[str]]:
    """Runs, each begun when the first has made so many tool calls."""
    handles: list[WorkflowHandle[str]] = []
    for place, lag in enumerate(lags):
        await until_turn(desk, lag)
        handles.append(await executor.start_workflow("Keeps", f"run {place}", workflow_id=f"Keeps.{place}"))
    return handles


async def until_turn(desk: Desk, turn: int) -> None:
    """Until the first run has made so many tool calls."""

    async def reached() -> bool:
        return sum(line.startswith("end run 0 ") for line in desk.noted()) >= turn

    await until(reached)


@pytest.mark.promise("issue: kill -9 of the worker at ten points of a 30-turn agent run: no call that was recorded is repeated")
@pytest.mark.parametrize(("cache", "workers"), [(None, 1), (0, 1), (None, 2)], ids=["cached", "uncached", "two workers"])
async def test_runs_killed_at_random_turns_say_what_an_undisturbed_run_says(
    desk: Desk, executor: TemporalExecutor, cache: int | None, workers: int
):
    if cache is not None:
        desk.environment["MCP_AGENT__CONVERSATION_CACHE_BYTES"] = str(cache)
    chance = random.Random(f"{SEED} {cache} {workers}")
    lags = [0, *sorted(chance.sample(range(TURNS - 4), RUNS - 1))]
    working = [desk.work() for _ in range(workers)]
    handles = await started_apart(desk, executor, lags)
    await until_turn(desk, TURNS - 3)
    working[0].send_signal(signal.SIGKILL)
    working[0].wait()
    before = [await recorded(executor, handle.id) for handle in handles]
    print(f"seed {SEED}, killed at:", [f"{len(one.of(LLM_GENERATE))} {'+'.join(one.under_way) or 'workflow'}" for one in before])
    if workers == 1:
        desk.work()

    with anyio.fail_after(100):
        results = await asyncio.gather(*(handle.result() for handle in handles))
    noted = Counter(desk.noted())
    for place, (handle, result) in enumerate(zip(handles, results, strict=True)):
        name = f"run {place}"
        record = await recorded(executor, handle.id)
        assert result.value == f"kept: {said_of(f'{name} {TURNS - 2}')}"
        assert record.transcript == expected_transcript(name)
        assert record.read == read_before(expected_transcript(name))
        assert all(record.calls[number] == before[place].calls[number] for number in before[place].done)
        _assert_tools_called_once(record, name, noted)
    assert any(one.under_way for one in before), "one was in the middle of a call"


def _assert_tools_called_once(record: Record, name: str, noted: Counter[str]) -> None:
    """A call that was under way at the kill may be made again, and no other."""
    calls = record.of(MCP_CALL_TOOL)
    assert [call.argument["arguments"]["text"] for call in calls] == [f"{name} {turn}" for turn in range(TURNS - 1)]
    for call in calls:
        text = call.argument["arguments"]["text"]
        assert 1 <= noted[f"end {text}"] <= noted[f"begin {text}"] <= call.attempt
    assert sum(call.attempt - 1 for call in record.calls.values()) <= 1
