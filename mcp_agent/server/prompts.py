"""Prompts: functions under `@app.prompt`, and one that teaches a model to use the server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    ContentBlock,
    GetPromptRequestParams,
    GetPromptResult,
    InputRequiredResult,
    Prompt,
    PromptMessage,
    TextContent,
)
from pydantic_core import to_json

from mcp_agent.errors import CallError
from mcp_agent.executor.definition import WorkflowDefinition
from mcp_agent.executor.failures import error_text, failure_type
from mcp_agent.executor.problems import did_you_mean
from mcp_agent.served import PromptFunction
from mcp_agent.server.callers import Caller
from mcp_agent.server.direct_calls import DirectCalls
from mcp_agent.server.entries import Request, protocol_error
from mcp_agent.server.text_arguments import TextArguments

Got: TypeAlias = GetPromptResult | InputRequiredResult


@dataclass(frozen=True, slots=True)
class _Served:
    made: PromptFunction
    arguments: TextArguments

    def shown(self) -> Prompt:
        made = self.made
        return Prompt(
            name=made.name,
            title=made.title,
            description=made.description or None,
            arguments=self.arguments.described(),
            icons=list(made.icons) or None,
        )


class Prompts:
    """Args:
    functions: What was registered.
    calls: Calls them.
    """

    def __init__(self, functions: Iterable[PromptFunction], calls: DirectCalls) -> None:
        self._calls = calls
        made = sorted(functions, key=lambda one: one.name)
        self._served = {one.name: _Served(one, TextArguments(one.function, one.completions)) for one in made}

    def listed(self) -> list[Prompt]:
        return [one.shown() for one in self._served.values()]

    async def get(self, request: Request, params: GetPromptRequestParams, caller: Caller) -> Got:
        """Raises MCPError: there is no such prompt, an argument does not fit, or the function has failed."""
        one = self._found(params.name)
        try:
            caller.check_may("read", params.name)
            arguments = one.arguments.bind(params.arguments or {})
            messages = self._calls.begin(request, params, params.name)
            value = await self._calls.call(messages, one.made.function, **arguments)
            return _result(one.made, value)
        except CallError as error:
            raise protocol_error(error) from None
        except MCPError:
            raise
        except Exception as error:
            code = failure_type(error)
            told = f"Prompt `{params.name}` failed: {code}: {error_text(error)}"
            raise MCPError(INTERNAL_ERROR, told, {"code": code, "retryable": False}) from error

    async def complete(self, prompt: str, name: str, typed: str) -> list[str]:
        """Values of an argument. Raises MCPError for a prompt that there is not."""
        return await self._found(prompt).arguments.complete(name, typed)

    def _found(self, name: str) -> _Served:
        one = self._served.get(name)
        if one is None:
            raise MCPError(INVALID_PARAMS, f"There is no prompt `{name[:200]}`. {did_you_mean(name, self._served)}")
        return one


def _result(made: PromptFunction, value: Any) -> Got:
    if isinstance(value, GetPromptResult | InputRequiredResult):
        to_json(value)  # what cannot be sent is an error now, and no answer later
        return value
    parts = cast("list[Any]", value) if isinstance(value, list | tuple) else [value]
    result = GetPromptResult(description=made.description or None, messages=[_message(made, part) for part in parts])
    to_json(result)
    return result


def _message(made: PromptFunction, part: Any) -> PromptMessage:
    """Text and content are the user's. Raises TypeError for what is neither."""
    if isinstance(part, PromptMessage):
        return part
    if isinstance(part, str):
        return PromptMessage(role="user", content=TextContent(text=part))
    if isinstance(part, ContentBlock):
        return PromptMessage(role="user", content=part)
    given = type(part).__name__
    raise TypeError(f"`{made.name}` gave a `{given}`: give text, a `PromptMessage`, MCP content, or a list of these")


def served_prompts(
    own: Mapping[str, PromptFunction],
    workflows: Mapping[str, WorkflowDefinition],
    tools_of: Callable[[str], Mapping[str, str]],
) -> list[PromptFunction]:
    """An app's own, and the server's, unless the app has one of its name or no workflows."""
    about = {name: definition.description for name, definition in workflows.items()}
    lesson = use_workflows(about, {name: tools_of(name) for name in workflows})
    return list(own.values()) if lesson.name in own or not workflows else [lesson, *own.values()]


def use_workflows(workflows: Mapping[str, str], tools: Mapping[str, Mapping[str, str]]) -> PromptFunction:
    """The prompt that teaches a model to use the server.

    Args:
        workflows: What each does, by name.
        tools: The names of its tools: `run`, `get_status`, `resume` and `cancel`.
    """

    def teach(workflow: str | None = None) -> str:
        if workflow is not None and workflow not in workflows:
            raise MCPError(INVALID_PARAMS, f"There is no workflow `{workflow[:200]}`. {did_you_mean(workflow, workflows)}")
        return _lesson([workflow] if workflow else sorted(workflows), workflows, tools)

    return PromptFunction(
        name="use-workflows",
        function=teach,
        title="Use the workflows",
        description="How to run a workflow here, wait for it, answer what it asks, and cancel it.",
        completions={"workflow": lambda typed: [name for name in sorted(workflows) if name.lower().startswith(typed.lower())]},
    )


def _lesson(names: list[str], workflows: Mapping[str, str], tools: Mapping[str, Mapping[str, str]]) -> str:
    lines = ["The tools of this server run workflows: durable jobs that go on when a call ends, and survive restarts.", ""]
    shared = len({tools[name]["run"] for name in workflows}) < len(workflows)
    for name in names:
        about = workflows[name].partition("\n")[0] or "no description"
        lines.append(f"- `{name}`: {about}" + ("" if shared else f" Tools: {_listed(tools[name])}."))
    if shared:
        lines += ["", f"All are run with {_listed(tools[names[0]])}; `workflow` says which, `workflows-list` what it takes."]
    return "\n".join([*lines, "", _RULES])


def _listed(tools: Mapping[str, str]) -> str:
    return ", ".join(f"`{tool}`" for tool in tools.values())


_RULES = """\
1. Start a run once, with its `run` tool. Give `workflow_id`, a key of your own, if the call may have to be repeated: the same
   key is the same run. The answer holds `run_id` and `status`; keep the `run_id`.
2. While `status` is `queued` or `running`, call the `get_status` tool with that `run_id` and `wait_seconds`. Never start the
   run again because it takes long, or because a call has timed out.
3. When `status` is `waiting_for_input`, put the question of `pending_inputs` to the user, in their words, and wait. Then give
   the answer with the `resume` tool: `run_id`, `request_id`, `payload`. Do not answer for the user.
4. When `status` is `blocked`, tell the user the cause and the fix that the answer names.
5. Use the `cancel` tool only if the user wants the run to stop.
6. When it is `completed`, use `result`; a large one is read as the resource `result_uri`. When it has `failed`, say why."""
