"""Workflows of agents that ask a provider's model; `floor/asking.py` is the same with bare temporalio and the bare SDK."""

from benchmarks.floor.looking import look_up
from benchmarks.greeting import app
from mcp_agent.agents.agent import Agent
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM

INSTRUCTION = "You answer questions in few words, and look up what you do not know."


@app.workflow
class Ask(Workflow[int]):
    """As many questions as asked, one after the other, in one conversation."""

    @app.workflow_run
    async def run(self, calls: int) -> WorkflowResult[int]:
        llm = await Agent("asker", INSTRUCTION).attach_llm(OpenAIAugmentedLLM)
        for number in range(calls):
            await llm.generate_str(f"question {number}, in some more words")
        return WorkflowResult(value=calls)


@app.workflow
class LookUp(Workflow[int]):
    """One question, whose answer takes as many calls of a tool as the model asks for."""

    @app.workflow_run
    async def run(self) -> WorkflowResult[int]:
        llm = await Agent("researcher", INSTRUCTION, functions=[look_up]).attach_llm(OpenAIAugmentedLLM)
        return WorkflowResult(value=len(await llm.generate("What is known?")))
