"""The specification's approval with signal handlers and a query ("Signal and Query Handlers")."""

from mcp_agent import workflow
from mcp_agent.agents.agent import Agent
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM
from server.app import app


@app.workflow
class DocumentApproval(Workflow[dict[str, str]]):
    """Processes a document and waits until a person approves or rejects it."""

    def __init__(self) -> None:
        self.approval_status: str | None = None
        self.approval_comments: str | None = None

    @workflow.signal
    async def approve_signal(self, comments: str) -> None:
        """Approves the document."""
        self.approval_status = "approved"
        self.approval_comments = comments

    @workflow.signal
    async def reject_signal(self, reason: str) -> None:
        """Rejects the document."""
        self.approval_status = "rejected"
        self.approval_comments = reason

    @workflow.query
    def get_status(self) -> dict[str, str | None]:
        """What was decided so far."""
        return {"status": self.approval_status, "comments": self.approval_comments}

    @app.workflow_run
    async def run(self, document: dict[str, str]) -> WorkflowResult[dict[str, str]]:
        agent = Agent(name="processor", instruction="Process the document.")
        async with agent:
            llm = await agent.attach_llm(OpenAIAugmentedLLM)
            processed = await llm.generate_str(f"Process document: {document}")

        await workflow.wait_condition(lambda: self.approval_status is not None)
        comments = self.approval_comments or ""
        if self.approval_status == "rejected":
            return WorkflowResult(value=None, error=f"Document rejected: {comments}")

        finalized = await llm.generate_str(f"Finalize approved document: {processed}. Comments: {comments}")
        return WorkflowResult(value={"status": "completed", "document": finalized, "approval_comments": comments})
