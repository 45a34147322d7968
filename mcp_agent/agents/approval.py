"""Which tool calls a person has to allow first. Workflow code; predicates must be pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

from mcp_types import ToolUseContent
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import to_json

from mcp_agent.errors import DefinitionError, NotInWorkflowError, WorkflowApplicationError
from mcp_agent.executor.elicitation import response_of
from mcp_agent.executor.problems import did_you_mean
from mcp_agent.executor.runtime import host
from mcp_agent.executor.workflow_signal import Question

Approval = Literal["always", "never"] | Callable[[ToolUseContent], bool]
"""`always` asks a person, `never` does not, and a function of the call says which."""

EVERYTHING = "*"
APPROVAL = "tool_approval"
"""The name that the questions have."""
_SHOWN = 20_000


class ToolApproval(BaseModel):
    """A person's answer: an object, or plain yes or no, or as MCP has it. `reason` is told to the model."""

    model_config = ConfigDict(extra="forbid", title="ToolApproval", defer_build=True)

    approved: bool
    reason: str = ""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, answer: Any) -> Any:
        if isinstance(answer, bool):
            return {"approved": answer}
        action, content = response_of(answer, {"properties": {"approved": {}, "reason": {}}})
        if action == "cancel":
            raise ValueError("`cancel` is no answer: say whether the call is approved")
        return {"approved": False} if action == "decline" else content


class ApprovalPolicy:
    """Who says yes to a tool call.

    Args:
        rules: By tool (`server.tool`, or the name of a function), by server, or `*` for all; the first that is there of
            these decides. A call that no rule is for needs no approval.
        servers: The agent's servers.

    Raises:
        DefinitionError: A rule is none of those that there are.
    """

    def __init__(self, rules: Mapping[str, Approval], servers: Sequence[str]) -> None:
        for name, rule in rules.items():
            if rule not in ("always", "never") and not callable(rule):
                raise DefinitionError(f"`approval[{name!r}]` is `{rule!r}`: use `always`, `never` or a function of the call.")
        self._rules = dict(rules)
        self._servers = servers
        self._beginnings = tuple(f"{server}." for server in servers)

    def check_names(self, agent: str, own: Collection[str]) -> None:
        """Raises DefinitionError for a rule that no server, tool of a server or tool of the agent's `own` can meet."""
        known = {EVERYTHING, *own, *self._servers}
        for name in self._rules:
            if name not in known and not name.startswith(self._beginnings):
                raise DefinitionError(f"`approval` of agent `{agent}` names `{name}`. {did_you_mean(name, known)}")

    def check_tools(self, agent: str, own: Collection[str], served: Collection[str]) -> None:
        """Refuses a rule that no tool meets: a call that is misnamed there would be made without asking.

        Args:
            agent: For the error.
            own: The agent's own tools.
            served: The tools of its servers, as `server.tool`.

        Raises:
            WorkflowApplicationError: Type `UnknownTool`.
        """
        known = {EVERYTHING, *own, *self._servers, *served}
        for name in self._rules:
            if name not in known:
                raise WorkflowApplicationError(
                    f"`approval` of agent `{agent}` names `{name}`. {did_you_mean(name, served)}",
                    type="UnknownTool",
                    non_retryable=True,
                )

    async def refusal(self, agent: str, call: ToolUseContent, names: Sequence[str]) -> str | None:
        """Asks a person where the rules say so. Why the call is not to be made; `None` if it is.

        Args:
            agent: Who wants to call.
            call: What it wants to call.
            names: What rules may call the tool, the most exact first.
        """
        rule = next((self._rules[name] for name in (*names, EVERYTHING) if name in self._rules), "never")
        if rule == "never" or (callable(rule) and not _applies(rule, call)):
            return None
        try:
            answer = ToolApproval.model_validate(await self._asked(agent, call))
        except NotInWorkflowError:
            return f"`{call.name}` needs a person's approval, and there is nobody to ask outside of a run."
        if answer.approved:
            return None
        return f"A person has declined this call of `{call.name}`." + (f" The reason: {answer.reason}" if answer.reason else "")

    @staticmethod
    async def _asked(agent: str, call: ToolUseContent) -> Any:
        arguments = to_json(call.input).decode()
        shown = arguments if len(arguments) <= _SHOWN else f"{arguments[:_SHOWN]}… ({len(arguments) - _SHOWN:,} characters more)"
        question = Question(
            "approval",
            APPROVAL,
            f"Agent `{agent}` wants to call `{call.name}` with {shown}. Allow it?",
            schema=ToolApproval.model_json_schema(),
            check=ToolApproval.model_validate,
        )
        return await host().ask(question)


def _applies(rule: Callable[[ToolUseContent], bool], call: ToolUseContent) -> bool:
    """What the rule says; a rule that fails, as of an argument that the model has left out, has a person decide."""
    try:
        return rule(call)
    except Exception:
        return True
