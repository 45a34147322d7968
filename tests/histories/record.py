"""Records the runs of the flows beside it with the code of today: `python -m tests.histories.record`.

Recorded files are kept for good: what there is a file of for this version is not recorded again.
"""

import asyncio
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp_agent import __version__
from mcp_agent.config import Settings
from mcp_agent.executor.runs import Answer, PendingInput
from mcp_agent.executor.temporal.executor import TemporalExecutor, TemporalRunHandle
from tests.histories import agent_flows, people_flows
from tests.histories.flows import app
from tests.support import until

HERE = Path(__file__).parent


@asynccontextmanager
async def opened(folder: Path) -> AsyncGenerator[TemporalExecutor, None]:
    documents = folder / "documents"
    documents.mkdir()
    (documents / "long.txt").write_text("a line of a long text\n" * 100)
    (documents / "secret.txt").write_text("hush")
    server = {"command": sys.executable, "args": ["-m", "server.files", str(documents)], "cwd": os.getcwd()}
    settings = Settings(
        execution_engine="temporal",
        temporal={"data_dir": folder / "data"},
        scripted={"file": HERE / "agent_script.yaml"},
        mcp={"servers": {"documents": server}},
    )
    assert agent_flows.app is people_flows.app is app
    app.use(settings)
    async with app.open_executor(worker=True) as executor:
        assert isinstance(executor, TemporalExecutor)
        yield executor


async def talk(executor: TemporalExecutor, handle: TemporalRunHandle) -> None:
    async def asked() -> bool:
        return bool((await handle.describe()).pending_inputs)

    await until(asked)
    await executor.answer_run(handle.id, Answer(name="answer", payload="yes"))
    await handle.signal("answer", "early, for the next round")
    await handle.signal("tell", "one")
    await handle.update("add", "two")
    await handle.result()


async def answer_all(executor: TemporalExecutor, handle: TemporalRunHandle, payloads: dict[str, Any]) -> None:
    """Answers each kind of question once."""

    async def asked() -> list[PendingInput]:
        pending = list((await handle.describe()).pending_inputs)
        return pending if len(pending) == len(payloads) else []

    for question in await until(asked):
        payload = payloads["approval" if question.kind == "approval" else "human_input"]
        await executor.answer_run(handle.id, Answer(request_id=question.request_id, payload=payload))
    await handle.result()


async def answer_people(executor: TemporalExecutor, handle: TemporalRunHandle, number: int, payloads: dict[str, Any]) -> None:
    """Answers the `number`th question of each name."""
    for name, payload in payloads.items():
        request_id = f"{name}#{number}"

        async def asked(request_id: str = request_id) -> bool:
            return request_id in {question.request_id for question in (await handle.describe()).pending_inputs}

        await until(asked)
        await executor.answer_run(handle.id, Answer(request_id=request_id, payload=payload))


async def under_way(handle: TemporalRunHandle) -> None:
    async def stepping() -> bool:
        return bool((await handle.describe()).steps)

    await until(stepping)


async def record(executor: TemporalExecutor) -> None:
    plain = {"Steps": ([1, 2],), "Waits": (), "Family": (), "Agents": ("question",), "Small": ("fail",)}
    for name, args in {**plain, "AgentTools": ("question",), "AgentForms": ()}.items():
        handle = await executor.start_workflow(name, *args, workflow_id=f"{name}.recorded")
        await handle.temporal.result() if name != "Small" else await ended(handle)
        await keep(executor, handle.id, name)
    handle = await executor.start_workflow("Idle", workflow_id="Idle.recorded")
    await under_way(handle)
    await handle.cancel()
    await ended(handle)
    await keep(executor, handle.id, "Idle")
    handle = await executor.start_workflow("Talks", 1, workflow_id="Talks.recorded")
    first = await handle.temporal.describe()
    await talk(executor, handle)
    await keep(executor, handle.id, "Talks-continued", first.run_id)
    await keep(executor, handle.id, "Talks")
    handle = await executor.start_workflow("AgentAsks", "question", workflow_id="AgentAsks.recorded")
    await answer_all(executor, handle, {"human_input": "the red one", "approval": {"approved": True}})
    await keep(executor, handle.id, "AgentAsks")
    handle = await executor.start_workflow("People", 1, workflow_id="People.recorded")
    first = await handle.temporal.describe()
    await answer_people(executor, handle, 1, {"choice": {"colour": "blue"}, "address": True})
    await answer_people(executor, handle, 2, {"choice": False, "address": {"action": "cancel"}, "left open": "yes"})
    await handle.result()
    await keep(executor, handle.id, "People-continued", first.run_id)
    await keep(executor, handle.id, "People")


async def ended(handle: TemporalRunHandle) -> None:
    async def closed() -> bool:
        return (await handle.describe()).closed

    await until(closed)


async def keep(executor: TemporalExecutor, workflow_id: str, name: str, run_id: str | None = None) -> None:
    history = await executor.client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
    file = HERE / __version__ / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    if file.exists():
        return
    file.write_text(json.dumps(without_machine(history.to_json_dict()), indent=1) + "\n")


def without_machine(value: Any) -> Any:
    """Without the names of processes, machines and folders."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if key != "stackTrace"}
        return {key: without_machine(item) for key, item in kept.items()}
    if isinstance(value, list):
        return [without_machine(item) for item in value]
    return value.replace(f"{os.getpid()}@{socket.gethostname()}", "recorder") if isinstance(value, str) else value


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="histories-") as folder:
        async with opened(Path(folder)) as executor:
            await record(executor)


if __name__ == "__main__":
    asyncio.run(main())
