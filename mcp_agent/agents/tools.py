"""What an agent can call: tools of downstream servers, local functions, a person. Workflow code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, ClassVar, NamedTuple

from mcp_types import ContentBlock, TextContent, ToolResultContent, ToolUseContent
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticSerializationError, to_json

from mcp_agent.agents.downstream import call_downstream
from mcp_agent.errors import InvalidArguments, NotInWorkflowError, WorkflowApplicationError
from mcp_agent.executor.definition import bind
from mcp_agent.executor.elicitation import response_of
from mcp_agent.executor.method_steps import task_of_method
from mcp_agent.executor.retry import RetryPolicy
from mcp_agent.executor.runtime import host
from mcp_agent.executor.steps import StepCall, StepOptions
from mcp_agent.executor.workflow_signal import Question
from mcp_agent.executor.workflow_task import TaskDefinition, definition_of
from mcp_agent.mcp.definitions import DownstreamTool
from mcp_agent.workflows.llm.functions import (
    CALL_FUNCTION,
    CallFunction,
    FunctionResult,
    content_of,
    path_of,
    spec_of,
)
from mcp_agent.workflows.llm.messages import ToolSpec, recorded, tool_error
from mcp_agent.workflows.llm.sampling import Sampler

FUNCTION_CALL = StepOptions(start_to_close_timeout=timedelta(minutes=10), retry_policy=RetryPolicy(maximum_attempts=5))
HUMAN_INPUT = "human_input"


class Outcome(NamedTuple):
    """What came of a call.

    Attributes:
        content: What the model is told.
        is_error: Whether it is the tool's own error.
        recorded: Whether one of the steps in `RESULT_STEPS` has given just this content.
    """

    content: list[ContentBlock]
    is_error: bool = False
    recorded: bool = False


class AgentTool(ABC):
    """One tool of an agent.

    Attributes:
        spec: How a model sees it.
        names: What approval rules may call it, the most exact first.
        asks_a_person: Whether the call itself is a question to a person, which needs nobody's approval.
    """

    asks_a_person: ClassVar[bool] = False

    def __init__(self, spec: ToolSpec, names: Sequence[str]) -> None:
        self.spec = spec
        self.names = names

    async def call(self, call: ToolUseContent, sample: Sampler | None = None) -> ToolResultContent:
        """Carries out a call. What fails is told to the model; it does not fail the run.

        Args:
            call: The model's call.
            sample: Has a model answer for a downstream server that asks for that.
        """
        try:
            outcome = await self._carry_out(call, sample)
        except InvalidArguments as error:
            return tool_error(call, f"The arguments of `{call.name}` do not fit: {error}")
        except WorkflowApplicationError as error:
            return tool_error(call, f"Tool `{call.name}` failed ({error.type}): {error.message}")
        if outcome.recorded:
            return recorded(call, outcome.content, is_error=outcome.is_error)
        return ToolResultContent(tool_use_id=call.id, content=outcome.content, is_error=outcome.is_error or None)

    @abstractmethod
    async def _carry_out(self, call: ToolUseContent, sample: Sampler | None) -> Outcome:
        """Makes the call. Raises InvalidArguments or WorkflowApplicationError."""


class ServerTool(AgentTool):
    """A tool of a downstream server. `changed` is told when the server has other tools than it had."""

    def __init__(self, tool: DownstreamTool, spec: ToolSpec, changed: Callable[[], None]) -> None:
        super().__init__(spec, (f"{tool.server}.{tool.name}", tool.server))
        self._tool = tool
        self._changed = changed

    async def _carry_out(self, call: ToolUseContent, sample: Sampler | None) -> Outcome:
        result = await call_downstream(self._tool, call.input, sample)
        if result.tools_changed:
            self._changed()
        if result.content:
            return Outcome(list(result.content), result.is_error, recorded=True)
        return Outcome([TextContent(text=to_json(result.structured_content).decode())], result.is_error)


class FunctionStep(AgentTool):
    """A function under `@workflow_task`, or a method of the workflow: a step of its own, with its own options."""

    def __init__(self, function: Callable[..., Any], task: TaskDefinition) -> None:
        self._skip = 1 if hasattr(function, "__self__") else 0
        super().__init__(spec_of(task.function, skip=self._skip), (function.__name__,))
        self._function = function
        self._task = task

    async def _carry_out(self, call: ToolUseContent, sample: Sampler | None) -> Outcome:
        args = bind(self._task.function, call.input, skip=self._skip)
        made = host().run_step(self._task.call(tuple(args))) if self._skip else self._function(*args)
        try:
            return Outcome(content_of(await made)[0])
        except PydanticSerializationError as error:
            raise WorkflowApplicationError(f"its result has no JSON form: {error}", type="UnserializableValue") from None


class PlainFunction(AgentTool):
    """Any other function, called by a step that finds it by its name."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._path = path_of(function)
        super().__init__(spec_of(function), (function.__name__,))

    async def _carry_out(self, call: ToolUseContent, sample: Sampler | None) -> Outcome:
        request = CallFunction(function=self._path, arguments=call.input)
        options = StepOptions(summary=call.name).over(FUNCTION_CALL)
        result: FunctionResult = await host().run_step(StepCall(CALL_FUNCTION, (request,), options, FunctionResult))
        return Outcome(list(result.content), result.is_error, recorded=True)


def function_tool(function: Callable[..., Any]) -> AgentTool:
    """A local function as a tool.

    Raises:
        DefinitionError: A step cannot find it, or a model cannot call it.
    """
    task = definition_of(function) or task_of_method(function)
    return PlainFunction(function) if task is None else FunctionStep(function, task)


class _Question(BaseModel):
    model_config = ConfigDict(extra="forbid", title="")

    question: str = Field(description="What the person is asked, with all that is needed to answer.")


class HumanInput(AgentTool):
    """A person, who is asked through the run's mailbox."""

    asks_a_person = True

    def __init__(self) -> None:
        description = "Asks the person whom you work for, and waits for the answer. Use it for what only they can know or decide."
        spec = ToolSpec(name=HUMAN_INPUT, description=description, input_schema=_Question.model_json_schema())
        super().__init__(spec, (HUMAN_INPUT,))

    async def _carry_out(self, call: ToolUseContent, sample: Sampler | None) -> Outcome:
        try:
            asked = _Question.model_validate(call.input)
        except ValueError:
            raise InvalidArguments("`question` must be text.") from None
        try:
            payload = await host().ask(Question("elicitation", HUMAN_INPUT, asked.question))
        except NotInWorkflowError:
            return Outcome([TextContent(text="Nobody can be asked here: this is not part of a run.")], is_error=True)
        action, answer = response_of(payload, None)
        if action != "accept":
            return Outcome([TextContent(text="The person has seen the question, and does not answer it.")])
        return Outcome(content_of(answer)[0])
