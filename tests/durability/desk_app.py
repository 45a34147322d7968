"""The app of the durability tests: a run that passes every kind of waiting, and notes what it does in a file."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

from mcp_agent import workflow
from mcp_agent.agents.agent import Agent
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM

app = MCPApp(name="desk")


def note(text: str) -> None:
    with (Path(os.environ["DESK_FOLDER"]) / "log.txt").open("a") as log:
        log.write(text + "\n")


@app.workflow_task(name="desk.first")
async def first(name: str) -> str:
    note(f"first {name}")
    return f"{name} begun"


@app.workflow_task(name="desk.last")
async def last(name: str) -> str:
    note(f"last {name}")
    return f"{name} done"


@app.workflow
class Passage(Workflow[list[str]]):
    """A timer, a step, a model call, a downstream call, a person, a step."""

    @app.workflow_run
    async def run(self, name: str) -> WorkflowResult[list[str]]:
        await workflow.sleep(timedelta(seconds=2))
        begun = await first(name)
        async with Agent("clerk", "You file things.", server_names=["archive"]) as clerk:
            llm = await clerk.attach_llm(OpenAIAugmentedLLM)
            filed = await llm.generate_str(f"File {name}.")
        answer = await app.context.executor.signal_bus.wait_for_signal(Signal("seal", payload_type=str))
        return WorkflowResult(value=[begun, filed, answer, await last(name)])


@app.workflow
class Quick(Workflow[str]):
    """Waits for a gate in one step."""

    @app.workflow_run
    async def run(self, name: str) -> str:
        return await gated(name)


@app.workflow_task(name="desk.gated", heartbeat_timeout=timedelta(seconds=3))
async def gated(name: str) -> str:
    note(f"begin {name}")
    while not (Path(os.environ["DESK_FOLDER"]) / f"gate-{name}").exists():
        await asyncio.sleep(0.05)
    note(f"end {name}")
    return name
