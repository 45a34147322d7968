"""The same block as in `approval_of_temporal_as_written.py`; `workflow` is this package's, so that it runs on both engines."""
# pyright: basic

from mcp_agent.agents.agent import Agent
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM

app = MCPApp(name="approval_of_facade")


# Section "Signal and Query Handlers"

from mcp_agent import workflow
from typing import Optional

@app.workflow
class ApprovalWorkflow(Workflow[dict]):
    def __init__(self):
        self.approval_status: Optional[str] = None
        self.approval_comments: Optional[str] = None

    @workflow.signal
    async def approve_signal(self, comments: str):
        """Signal handler for approval."""
        self.approval_status = "approved"
        self.approval_comments = comments

    @workflow.signal
    async def reject_signal(self, reason: str):
        """Signal handler for rejection."""
        self.approval_status = "rejected"
        self.approval_comments = reason

    @workflow.query
    def get_status(self) -> dict:
        """Query handler to check current status."""
        return {
            "status": self.approval_status,
            "comments": self.approval_comments
        }

    @app.workflow_run
    async def run(self, document: dict) -> WorkflowResult[dict]:
        # Process initial document
        agent = Agent(name="processor", server_names=["filesystem"])
        async with agent:
            llm = await agent.attach_llm(OpenAIAugmentedLLM)
            processed = await llm.generate_str(f"Process document: {document}")

        # Wait for approval signal (can wait indefinitely)
        await workflow.wait_condition(lambda: self.approval_status is not None)

        if self.approval_status == "approved":
            # Continue with approved workflow
            async with agent:
                finalized = await llm.generate_str(
                    f"Finalize approved document: {processed}. Comments: {self.approval_comments}"
                )

            return WorkflowResult(value={
                "status": "completed",
                "document": finalized,
                "approval_comments": self.approval_comments
            })
        else:
            # Handle rejection
            return WorkflowResult(
                value=None,
                error=f"Document rejected: {self.approval_comments}"
            )

# Send signals from external code
async def send_approval():
    async with app.run() as agent_app:
        executor = agent_app.executor

        # Send approval signal to running workflow
        await executor.signal_workflow(
            "ApprovalWorkflow",
            "workflow-123",
            "approve_signal",
            "Document looks good after review!"
        )

        # Query workflow status
        status = await executor.query_workflow(
            "ApprovalWorkflow",
            "workflow-123",
            "get_status"
        )
        print(f"Workflow status: {status}")
