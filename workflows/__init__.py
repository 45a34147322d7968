"""The workflows of this repository. `workflows:app` is what `mcp-agent serve` serves."""

from server.app import app
from workflows.approval import ApprovalWorkflow
from workflows.document_approval import DocumentApproval
from workflows.research_brief import ResearchBrief

__all__ = ["ApprovalWorkflow", "DocumentApproval", "ResearchBrief", "app"]
