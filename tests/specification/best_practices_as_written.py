"""Code blocks of the specification, word for word; only imports and what a block calls and does not show are added around them."""
# pyright: basic

from datetime import timedelta

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from tests.specification.adding import method_of

app = MCPApp(name="best_practices")


@app.workflow
class MyWorkflow(Workflow[str]):
    @app.workflow_run
    async def run(self, input: str) -> WorkflowResult[str]:
        return WorkflowResult(value=input)


@app.workflow
class DocumentWorkflow(Workflow[str]):
    @app.workflow_run
    async def run(self, document: str) -> WorkflowResult[str]:
        if not document:
            raise ValueError("an empty document")
        return WorkflowResult(value=document)


# Section "Set Appropriate Timeouts"


async def with_timeouts(executor, input_data):
    handle = await executor.start_workflow(
        "MyWorkflow",
        input_data,
        execution_timeout=timedelta(hours=1),
        run_timeout=timedelta(minutes=30),
        task_timeout=timedelta(minutes=5),
    )
    return handle


# Section "Use Workflow IDs"


async def with_an_id(executor, document_id, document):
    workflow_id = f"process-document-{document_id}"
    handle = await executor.start_workflow(
        "DocumentWorkflow",
        document,
        workflow_id=workflow_id,
        id_reuse_policy="allow_duplicate_failed_only",
    )
    return handle


# Section "Handle Versioning"

@app.workflow
class VersionedWorkflow(Workflow[str]):
    @app.workflow_run
    async def run(self, input: str) -> WorkflowResult[str]:
        version = workflow.get_version("processing_logic", 1, 2)

        if version == 1:
            # Old logic
            result = await self.process_v1(input)
        else:
            # New logic
            result = await self.process_v2(input)

        return WorkflowResult(value=result)


@method_of(VersionedWorkflow)
async def process_v1(self, input: str) -> str:
    return f"old {input}"


@method_of(VersionedWorkflow)
async def process_v2(self, input: str) -> str:
    return f"new {input}"
