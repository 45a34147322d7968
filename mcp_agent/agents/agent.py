"""`Agent`: an instruction, and what it may call. Workflow code."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from mcp_types import ToolResultContent, ToolUseContent

from mcp_agent.agents import downstream
from mcp_agent.agents.approval import Approval, ApprovalPolicy
from mcp_agent.agents.tools import AgentTool, HumanInput, ServerTool, function_tool
from mcp_agent.errors import DefinitionError, WorkflowApplicationError
from mcp_agent.executor.agent_host import AgentHost
from mcp_agent.executor.budget import Budget, Spending
from mcp_agent.executor.problems import did_you_mean
from mcp_agent.executor.runtime import host
from mcp_agent.mcp.catalogue import Catalogue
from mcp_agent.mcp.definitions import (
    DownstreamContents,
    DownstreamPrompt,
    DownstreamPromptResult,
    DownstreamResource,
    DownstreamTool,
)
from mcp_agent.workflows.llm.augmented_llm import AugmentedLLM, Compaction
from mcp_agent.workflows.llm.messages import Message, RequestParams, ToolSpec, tool_error
from mcp_agent.workflows.llm.sampling import Sampler

L = TypeVar("L", bound=AugmentedLLM)


@dataclass(slots=True)
class _State:
    """What an agent is in one run: one that is made once, beside a workflow class, works in many."""

    spending: Spending
    tools: dict[str, AgentTool] | None = None
    checked: bool = False
    listing: asyncio.Lock = field(default_factory=asyncio.Lock)


class Agent:
    """Who answers: `async with agent: llm = await agent.attach_llm(OpenAIAugmentedLLM)`.

    The block may be entered again, and an `llm` used after it: connections belong to the worker, not to the block.

    Args:
        name: For logs, usage and status.
        instruction: The system prompt, or a function that gives it. It is asked before each answer, and must be pure.
        server_names: Downstream servers of the `mcp.servers` section. Their tools are listed once for each `Agent` object.
        functions: Local functions as tools: under `@workflow_task`, methods of the workflow class, or any at the top of a
            module. Each call is a step. Docstring and annotations tell the model how to call them.
        human_input: Whether it may ask a person, with the tool `human_input`.
        tool_filter: By server the names of the tools it may use; all of a server that is not named.
        approval: By tool (`server.tool`, or a function's name), server or `*` whether a person must allow a call.
        budget: What it may use at most, in all its conversations.

    Raises:
        DefinitionError: A function cannot be a tool, or a filter or rule is for something that is not there.
    """

    def __init__(
        self,
        name: str,
        instruction: str | Callable[[], str] = "",
        server_names: Sequence[str] | None = None,
        functions: Sequence[Callable[..., Any]] | None = None,
        *,
        human_input: bool = False,
        tool_filter: Mapping[str, Collection[str]] | None = None,
        approval: Mapping[str, Approval] | None = None,
        budget: Budget | None = None,
    ) -> None:
        for given, value in (("server_names", server_names), *(tool_filter or {}).items()):
            if isinstance(value, str):
                raise DefinitionError(f"`{given}` of agent `{name}` is the text `{value}`: give a list of names.")
        self.name = name
        self.server_names = list(dict.fromkeys(server_names or ()))
        self._budget = budget
        self._instruction = instruction
        self._own = [*map(function_tool, functions or ()), *([HumanInput()] if human_input else [])]
        self._filter = {server: frozenset(tools) for server, tools in (tool_filter or {}).items()}
        self._approval = ApprovalPolicy(approval or {}, self.server_names)
        self._states: WeakKeyDictionary[AgentHost, _State] = WeakKeyDictionary()
        self._check_names()

    @property
    def instruction(self) -> str:
        return self._instruction if isinstance(self._instruction, str) else self._instruction()

    async def __aenter__(self) -> Agent:
        await self._listed()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to close: see the class."""

    async def attach_llm(
        self,
        llm_class: type[L],
        default_request_params: RequestParams | None = None,
        *,
        history: Sequence[Message] = (),
        compaction: Compaction | None = None,
    ) -> L:
        """A model with this agent's instruction and tools, and a conversation of its own. See `AugmentedLLM`."""
        return llm_class(self, default_request_params, history=history, compaction=compaction)

    async def tool_specs(self) -> list[ToolSpec]:
        """The tools as a model sees them, in a stable order."""
        return [tool.spec for tool in (await self._listed()).values()]

    async def call_tool(self, call: ToolUseContent, sample: Sampler | None = None) -> ToolResultContent:
        """Runs a tool that the model asked for. A tool that fails is told to the model; it does not fail the run.

        Args:
            call: The model's call.
            sample: Has a model answer for a downstream server that asks for that; without, it is refused.
        """
        tools = await self._listed()
        tool = tools.get(call.name)
        if tool is None:
            return tool_error(call, f"There is no tool `{call.name}`. {did_you_mean(call.name, tools)}")
        refusal = None if tool.asks_a_person else await self._approval.refusal(self.name, call, tool.names)
        return await tool.call(call, sample) if refusal is None else tool_error(call, refusal)

    async def list_prompts(self, server: str | None = None) -> list[DownstreamPrompt]:
        """The prompts of one of its servers, or of all. Raises WorkflowApplicationError, as do all below."""
        listed = await asyncio.gather(*(downstream.list_prompts(one) for one in self._servers(server)))
        return [prompt for prompts in listed for prompt in prompts]

    async def get_prompt(self, server: str, prompt: str, arguments: Mapping[str, str] | None = None) -> DownstreamPromptResult:
        """A prompt of one of its servers, filled in."""
        (known,) = self._servers(server)
        return await downstream.get_prompt(known, prompt, arguments)

    async def list_resources(self, server: str | None = None) -> list[DownstreamResource]:
        """The resources of one of its servers, or of all, and the templates of them."""
        listed = await asyncio.gather(*(downstream.list_resources(one) for one in self._servers(server)))
        return [resource for resources in listed for resource in resources]

    async def read_resource(self, server: str, uri: str) -> DownstreamContents:
        """What a resource of one of its servers holds."""
        (known,) = self._servers(server)
        return await downstream.read_resource(known, uri)

    def _servers(self, server: str | None) -> list[str]:
        if server is None:
            return self.server_names
        if server not in self.server_names:
            hint = did_you_mean(server, self.server_names)
            raise WorkflowApplicationError(
                f"Agent `{self.name}` has no server `{server}`. {hint}", type="DownstreamNotConfigured", non_retryable=True
            )
        return [server]

    @property
    def spending(self) -> Spending:
        """Its budget in this run, and what is used of it."""
        return self._state.spending

    @property
    def _state(self) -> _State:
        on = host()
        if on not in self._states:
            self._states[on] = _State(Spending(f"Agent `{self.name}`", self._budget))
        return self._states[on]

    def _forget_tools(self) -> None:
        self._state.tools = None

    async def _listed(self) -> dict[str, AgentTool]:
        state = self._state
        async with state.listing:
            if state.tools is None:
                listed = await asyncio.gather(*(downstream.list_tools(server) for server in self.server_names))
                own = {tool.spec.name: tool for tool in self._own}
                tools = [tool for tools in listed for tool in tools]
                if not state.checked:  # later a server may have other tools, which is no mistake of the agent's
                    self._check_tools(own, tools)
                    state.checked = True
                catalogue = Catalogue(filter(self._shown, tools), taken=own)
                served = {spec.name: ServerTool(tool, spec, self._forget_tools) for spec, tool in catalogue.entries()}
                state.tools = {**served, **own}
            return state.tools

    def _shown(self, tool: DownstreamTool) -> bool:
        wanted = self._filter.get(tool.server)
        return wanted is None or tool.name in wanted

    def _check_tools(self, own: Collection[str], tools: Sequence[DownstreamTool]) -> None:
        for server, wanted in self._filter.items():
            names = {tool.name for tool in tools if tool.server == server}
            for name in sorted(wanted - names):
                raise WorkflowApplicationError(
                    f"`tool_filter` of agent `{self.name}` names `{name}` of `{server}`. {did_you_mean(name, names)}",
                    type="UnknownTool",
                    non_retryable=True,
                )
        self._approval.check_tools(self.name, own, {f"{tool.server}.{tool.name}" for tool in tools})

    def _check_names(self) -> None:
        twice = [name for name, number in Counter(tool.spec.name for tool in self._own).items() if number > 1]
        if twice:
            raise DefinitionError(f"Agent `{self.name}` has two functions `{twice[0]}`: rename one.")
        for server in self._filter:
            if server not in self.server_names:
                hint = did_you_mean(server, self.server_names)
                raise DefinitionError(f"`tool_filter` of agent `{self.name}` names server `{server}`. {hint}")
        self._approval.check_names(self.name, {tool.spec.name for tool in self._own})
