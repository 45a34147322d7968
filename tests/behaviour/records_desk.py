"""Workflows in which much happens, for what an engine records of it."""

from typing import Any

from mcp_agent import workflow
from mcp_agent.agents.agent import Agent
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM
from tests.behaviour.desk import app, bus, double, flaky, refused

LONG_LINE = "x" * 250
ARTICLE = "y" * 3_000


def article(number: int) -> str:
    """Gives an article of 3,000 letters."""
    return f"{number}: {ARTICLE}"


@app.workflow
class Chronicle(Workflow[Any]):
    """Does one of everything."""

    @app.workflow_run
    async def run(self) -> WorkflowResult[Any]:
        app.context.logger.info("begins with %s", "key-of-the-desk")
        await flaky(2)
        try:
            await refused(True)
        except WorkflowApplicationError as error:
            workflow.logger.warning("refused: %s", error.type)
        await workflow.sleep(0.01)
        await workflow.execute_child_workflow("Echo", "hello", id=f"{self.id}.child")
        app.context.report_progress(1, 2, "half")
        await bus().wait_for_signal(Signal("go", message="May I?"))
        await workflow.sleep(0.01)
        workflow.logger.error("nearly there")
        return WorkflowResult(value="done")

    @workflow.signal
    def poke(self) -> None: ...

    @workflow.update
    def push(self, how: str) -> str:
        return how


@app.workflow
class Wordy(Workflow[int]):
    """Writes many lines and makes some steps."""

    @app.workflow_run
    async def run(self, lines: int) -> WorkflowResult[int]:
        for number in range(lines):
            if number % 100 == 0:
                await double(number)
            workflow.logger.info("%d %s", number, LONG_LINE)
        return WorkflowResult(value=lines)


@app.workflow
class Continued(Workflow[str]):
    """Continues as new, twice."""

    @app.workflow_run
    async def run(self, left: int = 2) -> WorkflowResult[str]:
        await double(left)
        if left:
            workflow.continue_as_new(left - 1)
        return WorkflowResult(value="over")


@app.workflow
class Reads(Workflow[str]):
    """Two agents talk; one reads articles that are too long to be told twice."""

    @app.workflow_run
    async def run(self, articles: int = 1) -> WorkflowResult[str]:
        reader = await Agent("reader", "Read.", functions=[article]).attach_llm(OpenAIAugmentedLLM)
        for number in range(articles):
            await reader.generate_str(f"read {number}")
        critic = await Agent("echo", "Judge.").attach_llm(OpenAIAugmentedLLM)
        return WorkflowResult(value=await critic.generate_str("and?"))
