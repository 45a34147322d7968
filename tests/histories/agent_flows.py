"""The code of recorded runs of agents: as `flows`, never change what is here, add to it."""

from typing import Any

from mcp_types import ToolUseContent
from pydantic import BaseModel

from mcp_agent import workflow
from mcp_agent.agents.agent import Agent
from mcp_agent.executor.workflow import Workflow
from mcp_agent.workflows.llm.augmented_llm import Compaction
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM
from tests.histories.flows import app, double


class Finding(BaseModel):
    name: str
    pages: int


def counted(text: str) -> int:
    """Counts words."""
    return len(text.split())


def is_secret(call: ToolUseContent) -> bool:
    return "secret" in call.input["path"]


@app.workflow
class AgentTools(Workflow[list[str]]):
    """Tools of every kind: a server's, several at once, large results, mistakes, functions, steps, a method."""

    async def tripled(self, number: int) -> int:
        """Triples a number."""
        return number * 3

    @app.workflow_run
    async def run(self, question: str) -> list[str]:
        functions = [counted, double, self.tripled]
        async with Agent("finder", "You find.", server_names=["documents"], functions=functions) as finder:
            llm = await finder.attach_llm(OpenAIAugmentedLLM)
            return [await llm.generate_str(question), await llm.generate_str("once more")]


@app.workflow
class AgentAsks(Workflow[list[str]]):
    """Waits for persons: to answer a question, and to allow a call."""

    @app.workflow_run
    async def run(self, question: str) -> list[str]:
        asks = Agent("asker", server_names=["documents"], human_input=True, approval={"documents.read_file": is_secret})
        llm = await asks.attach_llm(OpenAIAugmentedLLM)
        return [await llm.generate_str(question)]


@app.workflow
class AgentForms(Workflow[list[Any]]):
    """Answers in a type at the second try, makes its conversation shorter, works within a budget."""

    @app.workflow_run
    async def run(self) -> list[Any]:
        workflow.set_budget(workflow.Budget(max_tokens=100_000))
        filler = await Agent("filler").attach_llm(OpenAIAugmentedLLM)
        found = await filler.generate_structured("fill it in", Finding)
        compaction = Compaction(at_tokens=500, how="summarise", keep_messages=2)
        chatter = await Agent("chatter").attach_llm(OpenAIAugmentedLLM, compaction=compaction)
        said = [await chatter.generate_str(f"question {number}") for number in range(4)]
        return [found, *said]
