"""Names and shapes that are stored with runs: a change here breaks runs that are under way. Add, never rename."""

from typing import Any

import pytest
from pydantic import BaseModel

from mcp_agent.activities.builtin import AppTasks
from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.executor.runs import Answer, PublicState, Receipt
from mcp_agent.executor.temporal import names
from mcp_agent.executor.temporal.blobs import driver
from mcp_agent.executor.temporal.runtime import Carried
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import KeptMail
from mcp_agent.mcp.definitions import (
    AnswerDownstreamRequest,
    CallDownstreamTool,
    DownstreamContents,
    DownstreamPrompt,
    DownstreamPromptArgument,
    DownstreamPromptResult,
    DownstreamRequest,
    DownstreamResource,
    DownstreamResult,
    DownstreamTool,
    GetDownstreamPrompt,
    ReadDownstreamResource,
)
from mcp_agent.workflows.llm.functions import CallFunction, FunctionResult
from mcp_agent.workflows.llm.messages import LLMRequest, LLMResponse, LLMSetup

app = MCPApp("pinned")


@app.workflow
class Pinned(Workflow[str]):
    @app.workflow_run
    async def run(self) -> str:
        return ""

    async def step(self, text: str) -> str:
        return text


@app.workflow_task
async def by_module(text: str) -> str:
    return text


@pytest.mark.anyio
async def test_the_names_of_steps():
    app.use(Settings())
    tasks = AppTasks(app)
    assert sorted(tasks.tasks) == [
        "Pinned.step",
        "mcp_agent.agent.call_function",
        "mcp_agent.llm.generate",
        "mcp_agent.mcp.answer_request",
        "mcp_agent.mcp.call_tool",
        "mcp_agent.mcp.get_prompt",
        "mcp_agent.mcp.list_prompts",
        "mcp_agent.mcp.list_resources",
        "mcp_agent.mcp.list_tools",
        "mcp_agent.mcp.read_resource",
        f"{__name__}.by_module",
    ]
    await tasks.aclose()


def test_the_names_of_updates_memos_and_headers():
    assert {name: value for name, value in vars(names).items() if name.isupper()} == {
        "ANSWER_UPDATE": "mcp_agent.answer",
        "BIND_EXTERN": "mcp_agent_bind",
        "CARRIED_HEADER": "mcp_agent.carried",
        "CHANGED_EXTERN": "mcp_agent_changed",
        "CHECK_EXTERN": "mcp_agent_check",
        "LARGE_VALUES": "mcp_agent.large-values",
        "LOG_QUERY": "mcp_agent.log",
        "REFUSAL_SIGNAL": "mcp_agent.refusal",
        "METRICS_EXTERN": "mcp_agent_metrics",
        "OWNER_ATTRIBUTE": "mcp_agent_owner",
        "OWN_MEMO": "mcp_agent.",
        "OWN_STEPS": "mcp_agent.",
        "RUN_MEMO": "mcp_agent.run",
        "SEAL_EXTERN": "mcp_agent_seal",
        "STATE_MEMO": "mcp_agent.state",
        "USAGE_NOW_AND_THEN": "mcp_agent.usage-now-and-then",
        "WORKFLOW_ATTRIBUTE": "mcp_agent_workflow",
    }


def test_the_names_of_what_is_kept_outside_of_histories():
    assert (driver.NAME, driver.DIGEST, driver.SIZE) == ("mcp-agent.blobs", "sha256", "size")
    assert driver.blob_key("a/b", "0123") == "a%2Fb/01/0123"


DOWNSTREAM_RESULT = {"content", "structured_content", "is_error", "asks", "answered"} | {
    "state",
    "ticket",
    "wait_seconds",
    "tools_changed",
}


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (WorkflowResult, {"value", "error", "metadata", "start_time", "end_time"}),
        (Answer, {"request_id", "name", "payload", "call"}),
        (Receipt, {"request_id", "name", "duplicate", "early", "call"}),
        (PublicState, {"pending_inputs", "progress", "usage", "failed"}),
        (KeptMail, {"signals", "early", "digests", "counts"}),
        (Carried, {"mail", "usage"}),
        (DownstreamTool, {"server", "name", "description", "input_schema", "catalogue", "repeatable"}),
        (CallDownstreamTool, {"server", "tool", "arguments", "key", "catalogue", "repeatable", "responses", "state"}),
        (DownstreamResult, DOWNSTREAM_RESULT),
        (DownstreamRequest, {"key", "kind", "params"}),
        (AnswerDownstreamRequest, {"call", "ticket", "responses", "give_up"}),
        (DownstreamPrompt, {"server", "name", "title", "description", "arguments"}),
        (DownstreamPromptArgument, {"name", "description", "required"}),
        (GetDownstreamPrompt, {"server", "prompt", "arguments"}),
        (DownstreamPromptResult, {"description", "messages"}),
        (DownstreamResource, {"server", "uri", "name", "title", "description", "mime_type", "size", "template"}),
        (ReadDownstreamResource, {"server", "uri"}),
        (DownstreamContents, {"contents"}),
        (LLMRequest, {"conversation", "agent", "provider", "parent", "new", "setup_hash", "setup", "params"}),
        (LLMResponse, {"message", "head", "stop_reason", "usage", "model", "cost_usd", "cost_source"}),
        (CallFunction, {"function", "arguments"}),
        (FunctionResult, {"content", "is_error"}),
        (LLMSetup, {"instruction", "tools"}),
    ],
)
def test_the_fields_of_what_is_stored(model: type[BaseModel], fields: set[str]):
    assert fields <= set(model.model_fields), "a stored field was renamed or removed"
    added: dict[str, Any] = {name: field for name, field in model.model_fields.items() if name not in fields}
    assert not [name for name, field in added.items() if field.is_required()], "a field that is added must have a default"
