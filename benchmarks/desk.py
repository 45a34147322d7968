"""The app that is measured."""

from mcp_agent.agents.agent import Agent
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM, RequestParams

app = MCPApp(name="bench")


@app.tool
async def add(a: int, b: int) -> dict[str, int]:
    """Adds two numbers."""
    return {"sum": a + b}


@app.workflow_task(name="bench.step")
async def step(number: int) -> int:
    return number


@app.workflow
class Trivial(Workflow[str]):
    @app.workflow_run
    async def run(self, name: str) -> WorkflowResult[str]:
        return WorkflowResult(value=f"hello {name}")


@app.workflow
class Ten(Workflow[int]):
    """Ten steps, one after the other."""

    @app.workflow_run
    async def run(self) -> WorkflowResult[int]:
        total = 0
        for number in range(10):
            total += await step(number)
        return WorkflowResult(value=total)


@app.workflow
class Many(Workflow[int]):
    """As many steps as asked, and then it waits."""

    @app.workflow_run
    async def run(self, steps: int) -> WorkflowResult[int]:
        for number in range(steps):
            await step(number)
        await app.context.executor.signal_bus.wait_for_signal(Signal("go"))
        return WorkflowResult(value=steps)


@app.workflow
class Research(Workflow[int]):
    """An agent that looks things up, in as many turns as its model's script has."""

    @app.workflow_run
    async def run(self, turns: int) -> WorkflowResult[int]:
        llm = await Agent("researcher", "You look things up.", server_names=["fifty"]).attach_llm(OpenAIAugmentedLLM)
        await llm.generate_str("What is known?", RequestParams(max_turns=turns + 1))
        return WorkflowResult(value=sum(len(message.model_dump_json()) for message in llm.history))


@app.workflow
class Talk(Workflow[int]):
    """A conversation."""

    @app.workflow_run
    async def run(self, turns: int) -> WorkflowResult[int]:
        llm = await Agent("talker", "You talk.").attach_llm(OpenAIAugmentedLLM)
        for turn in range(turns):
            await llm.generate_str(f"turn {turn}")
        return WorkflowResult(value=turns)
