"""The specification's approval with a signal that carries the answer ("Signals for Human-in-the-Loop")."""

from mcp_agent.agents.agent import Agent
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM
from server.app import app


@app.workflow
class ApprovalWorkflow(Workflow[str]):
    """Improves a document, waits for a person's approval, then finalizes it."""

    @app.workflow_run
    async def run(self, document: str) -> WorkflowResult[str]:
        agent = Agent(name="processor", instruction="Process and improve the document.")
        async with agent:
            llm = await agent.attach_llm(OpenAIAugmentedLLM)
            processed = await llm.generate_str(f"Improve this document: {document}")

        await app.context.executor.signal_bus.wait_for_signal(
            Signal(name="approve", workflow_id=self.id, run_id=self.run_id, message=f"Approve document?\n\n{processed}")
        )

        async with agent:
            llm = await agent.attach_llm(OpenAIAugmentedLLM)
            finalized = await llm.generate_str(f"Finalize approved document: {processed}")
        return WorkflowResult(value=finalized)
