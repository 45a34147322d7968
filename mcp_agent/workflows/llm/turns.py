"""One answer of an agent: ask the model, call the tools it asks for, ask again. Every call outside is a step."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol

from mcp_types import CreateMessageRequestParams, CreateMessageResult, ToolResultContent, ToolUseContent

from mcp_agent.errors import MaxTurnsExceeded, WorkflowApplicationError
from mcp_agent.executor.budget import Spending, in_time
from mcp_agent.executor.retry import RetryPolicy
from mcp_agent.executor.runs import CallUsage
from mcp_agent.executor.runtime import host
from mcp_agent.executor.steps import StepCall, StepOptions
from mcp_agent.workflows.llm.compaction import Compaction, dropped, summarised
from mcp_agent.workflows.llm.generation import COMPLETE, Generation
from mcp_agent.workflows.llm.messages import (
    LLM_GENERATE,
    LLMRequest,
    LLMResponse,
    LLMSetup,
    Message,
    RequestParams,
    ToolSpec,
    invalid_input,
    said_in_words,
    tool_error,
)
from mcp_agent.workflows.llm.sampling import Sampler, sampled_messages, sampling_params, sampling_result
from mcp_agent.workflows.llm.thread import Dialogue, Thread

DEFAULT_MAX_TURNS = 25

MODEL_CALL = StepOptions(
    start_to_close_timeout=timedelta(minutes=10),
    schedule_to_close_timeout=timedelta(minutes=30),
    heartbeat_timeout=timedelta(seconds=10),
    retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=60), maximum_attempts=10),
)


class Caller(Protocol):
    """The agent, as its turns know it."""

    name: str

    @property
    def spending(self) -> Spending: ...

    async def tool_specs(self) -> list[ToolSpec]: ...

    async def call_tool(self, call: ToolUseContent, sample: Sampler) -> ToolResultContent: ...


@dataclass(slots=True)
class Turns:
    """Args:
    agent: Who calls tools, and whose budget counts.
    provider: Which model provider is asked.
    conversation: The conversation's name in the run's history.
    params: How the model is asked.
    dialogue: What was said before; each answer is added to it.
    compaction: When and how it is made shorter.
    """

    agent: Caller
    provider: str
    conversation: str
    params: RequestParams
    dialogue: Dialogue
    compaction: Compaction | None = None
    _reached: list[str] = field(default_factory=lambda: [""])
    _hashed: tuple[LLMSetup, str] | None = None

    async def answer(self, new: list[Message], setup: LLMSetup) -> Generation:
        """The model's answer to what is new. Raises MaxTurnsExceeded, BudgetExceeded, WorkflowApplicationError."""
        on = host()
        for spending in self._spendings():
            spending.begin(on.now())
        async with in_time(self._spendings(), on.now(), self._reached), self.dialogue.turn:
            return await self._loop([*self.dialogue.unsent, *new], setup)

    async def _loop(self, new: list[Message], setup: LLMSetup) -> Generation:
        thread, replies = self.dialogue.thread, list[LLMResponse]()
        most = self.params.max_turns or DEFAULT_MAX_TURNS
        while True:
            thread = await self._compacted(thread, new, setup)
            new, reply = await self._answered(thread, new, setup)
            replies.append(reply)
            self.dialogue.thread = thread = thread.after(new, reply, self._hash(setup))
            self.dialogue.unsent = []
            calls = reply.message.tool_uses
            if not calls or reply.stop_reason not in ("tool_use", *COMPLETE):
                return Generation(replies)
            if len(replies) == most:  # calls that nobody would read the results of are not made
                raise MaxTurnsExceeded(self.agent.name, most, self._reached[-1])
            self.dialogue.unsent = new = [Message.user(await self._call_all(calls))]
            tools = await self.agent.tool_specs()
            if tools != setup.tools:  # a call may have changed them
                setup = setup.model_copy(update={"tools": tools})

    async def _answered(self, thread: Thread, new: list[Message], setup: LLMSetup) -> tuple[list[Message], LLMResponse]:
        """The reply, and what was said for it: results of tools that the model cannot take are put into words."""
        try:
            return new, await self._ask(thread, new, setup)
        except WorkflowApplicationError as error:
            in_words = [said_in_words(message) for message in new]
            if error.type != "UnsupportedContent" or in_words == new:
                raise
        if self.dialogue.unsent:
            self.dialogue.unsent = [said_in_words(message) for message in self.dialogue.unsent]
        return in_words, await self._ask(thread, in_words, setup)

    async def _compacted(self, thread: Thread, new: list[Message], setup: LLMSetup) -> Thread:
        """The conversation, shorter if it has become too long."""
        compaction = self.compaction
        if compaction is None or thread.tokens < compaction.at_tokens:
            return thread
        if len(thread.messages) - thread.kept < compaction.keep_messages:  # what stays is long by itself
            return thread
        tail = compaction.tail(thread.messages)
        if len(tail) == len(thread.messages):
            return thread
        stands = dropped(thread.messages, tail)
        if compaction.how == "summarise":
            request = [*new, Message.user(compaction.instruction)]
            summary = await self._ask(thread, request, setup.model_copy(update={"response_schema": None}))
            if summary.message.text and summary.stop_reason in COMPLETE:
                stands = summarised(summary.message.text)
        return Thread((*stands, *tail), kept=len(stands) + len(tail))

    async def _ask(self, thread: Thread, new: list[Message], setup: LLMSetup) -> LLMResponse:
        for spending in self._spendings():
            spending.check(self._reached[-1])
        on = host()
        setup_hash = self._hash(setup)
        request = LLMRequest(
            conversation="" if self.conversation == self.agent.name else self.conversation,
            agent=self.agent.name,
            provider=self.provider,
            parent=thread.head,
            new=thread.to_send(new),
            setup_hash="" if thread.head is not None and thread.setup_hash == setup_hash else setup_hash,
            setup=None if setup_hash in on.known_setups else setup.referring(),
            params=self.params.for_call(),
        )
        on.known_setups.add(setup_hash)
        reply: LLMResponse = await on.run_step(StepCall(LLM_GENERATE, (request,), MODEL_CALL, LLMResponse))
        self._count(_usage_of(reply))
        on.tell_usage()
        if reply.message.text:
            self._reached.append(reply.message.text)
        return reply

    async def _call_all(self, calls: list[ToolUseContent]) -> list[ToolResultContent]:
        """All at once; the results are in the order of the calls."""
        for spending in self._spendings():
            spending.check(self._reached[-1], len(calls))
        self._count(CallUsage(tool_calls=len(calls)))
        made = [asyncio.ensure_future(self._call(call)) for call in calls]
        try:
            return await asyncio.gather(*made)
        except BaseException:
            for one in made:  # no call goes on after the answer has failed
                one.cancel()
            await asyncio.gather(*made, return_exceptions=True)
            raise

    async def _call(self, call: ToolUseContent) -> ToolResultContent:
        problem = invalid_input(call)
        if problem is not None:
            return tool_error(call, f"The arguments of `{call.name}` are no JSON object: {problem.error}. Call it again.")
        return await self.agent.call_tool(call, self._sample)

    async def _sample(self, asked: CreateMessageRequestParams) -> CreateMessageResult:
        """Answers for a downstream server, apart from the conversation. Raises WorkflowApplicationError."""
        if asked.tools:
            raise WorkflowApplicationError("It asks for an answer with tools.", type="UnsupportedSampling", non_retryable=True)
        known = RequestParams(model=self.params.model, timeout_seconds=self.params.timeout_seconds)
        apart = replace(self, params=sampling_params(asked).over(known))
        return sampling_result(await apart._ask(Thread(), sampled_messages(asked), LLMSetup(instruction=asked.system_prompt)))  # noqa: SLF001

    def _hash(self, setup: LLMSetup) -> str:
        """The setup's, which takes a while with many tools and is asked for twice a turn."""
        if self._hashed is None or self._hashed[0] is not setup:
            self._hashed = (setup, setup.hash())
        return self._hashed[1]

    def _spendings(self) -> tuple[Spending, Spending]:
        return self.agent.spending, host().spending

    def _count(self, used: CallUsage) -> None:
        self.agent.spending.used = self.agent.spending.used.plus(used)
        host().used(self.agent.name, used)


def _usage_of(reply: LLMResponse) -> CallUsage:
    return CallUsage(
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        cached_input_tokens=reply.usage.cached_input_tokens,
        model_calls=1,
        cost_usd=reply.cost_usd,
        cost_source=reply.cost_source or f"no price is known for `{reply.model}`",
    )
