"""An app whose runs write, ask and talk, for what Temporal records of them."""

from mcp_agent import workflow
from mcp_agent.agents.agent import Agent
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM

CANARY = "canary-of-the-diary"
ENTRY = f"{CANARY} " * 200
app = MCPApp("recording")


def entry() -> str:
    """Gives a long entry."""
    return ENTRY


@app.workflow_task(name="recording.count", local=True)
async def count(text: str) -> int:
    return len(text)


@app.workflow
class Diary(Workflow[str]):
    @app.workflow_run
    async def run(self) -> WorkflowResult[str]:
        app.context.logger.info("first %s", CANARY)
        await count("four")
        reader = await Agent("reader", functions=[entry]).attach_llm(OpenAIAugmentedLLM)
        await reader.generate_str("read")
        workflow.logger.warning("second")
        await app.context.executor.signal_bus.wait_for_signal(Signal("go", message=f"May {CANARY} go?"))
        workflow.logger.info("third")
        return WorkflowResult(value="closed")
