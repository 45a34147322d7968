"""Workflows that call downstream tools which ask back."""

from typing import Any

from mcp_types import CreateMessageRequestParams, CreateMessageResult, TextContent

from mcp_agent.agents.downstream import call_downstream, list_prompts, list_resources, list_tools, read_resource
from mcp_agent.app import MCPApp
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.workflow import Workflow, WorkflowResult

app = MCPApp(name="downstream_desk")


async def sample(params: CreateMessageRequestParams) -> CreateMessageResult:
    (message,) = params.messages
    text = f"{message.content.text} Moss."  # type: ignore[union-attr]
    return CreateMessageResult(role="assistant", content=TextContent(text=text), model="none")


async def calls(server: str, name: str, arguments: dict[str, Any], *, sampling: bool = True) -> str:
    tool = next(tool for tool in await list_tools(server) if tool.name == name)
    try:
        result = await call_downstream(tool, arguments, sample if sampling else None)
    except WorkflowApplicationError as error:
        return f"{error.type}: {error.message}"
    return f"{'error: ' if result.is_error else ''}{result.content[0].text}"  # type: ignore[union-attr]


@app.workflow
class Calls(Workflow[str]):
    """Calls one tool, and tells what came of it."""

    @app.workflow_run
    async def run(self, server: str, name: str, arguments: dict[str, Any], sampling: bool = True) -> WorkflowResult[str]:
        return WorkflowResult(value=await calls(server, name, arguments, sampling=sampling))


@app.workflow
class Reads(Workflow[list[str]]):
    """Looks at what else a server has."""

    @app.workflow_run
    async def run(self, server: str) -> list[str]:
        prompts = [prompt.name for prompt in await list_prompts(server)]
        resources = [resource.uri for resource in await list_resources(server)]
        contents = (await read_resource(server, resources[0])).contents
        return [*prompts, *resources, *(content.text for content in contents)]  # type: ignore[union-attr]


@app.workflow_task(name="downstream.inside")
async def inside(server: str, name: str) -> str:
    """Calls a tool from a step, where there is no person."""
    return await calls(server, name, {})


@app.workflow
class Inside(Workflow[str]):
    @app.workflow_run
    async def run(self, server: str, name: str) -> str:
        return await inside(server, name)
