"""Where a worker keeps conversations, so that a model call carries only what is new (`design.md`, "History is the
transcript").

A conversation is a chain of exchanges, each named by its head. A tool's result is in the record of the step that gave it,
and a model call names it by its digest. The store is a cache: whatever it lacks is read again from the recorded steps of
the run, on any worker, after any crash.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

from mcp_types import ContentBlock, ToolResultContent
from pydantic import BaseModel, ValidationError

from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.step_context import StepHistory
from mcp_agent.workflows.llm.messages import (
    LLM_GENERATE,
    LLMRequest,
    LLMResponse,
    LLMSetup,
    Message,
    RecordedListing,
    RecordedResult,
    ToolSpec,
    record_of,
    result_digest,
)

DEFAULT_LIMIT = 64 * 1024 * 1024
OVERHEAD = 1_000
"""Bytes that a cached object takes beyond its JSON, about."""

M = TypeVar("M", bound=BaseModel)
Content = tuple[ContentBlock, ...]


class ListedTool(Protocol):
    """A tool as a step has listed it."""

    @property
    def description(self) -> str: ...
    @property
    def input_schema(self) -> dict[str, Any]: ...


def _spec(tool: ListedTool) -> ToolSpec:
    """Without a name: that is the agent's."""
    return ToolSpec(name="", description=tool.description, input_schema=tool.input_schema)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What was said since `parent`, and the answer, under which setup."""

    parent: str | None
    setup_hash: str
    new: tuple[Message, ...]
    message: Message


@dataclass(slots=True)
class _Recorded:
    """What the completed steps of a run hold."""

    exchanges: dict[str, _Exchange] = field(default_factory=dict[str, _Exchange])
    setups: dict[str, LLMSetup] = field(default_factory=dict[str, LLMSetup])
    results: dict[str, Content] = field(default_factory=dict[str, Content])
    tools: dict[str, ToolSpec] = field(default_factory=dict[str, ToolSpec])

    def add_setup(self, setup_hash: str, setup: LLMSetup) -> None:
        self.setups[setup_hash] = setup
        # Its own hash too: a version that records may hash otherwise than the one that asks.
        self.setups[setup.hash()] = setup

    def add_result(self, content: Sequence[ContentBlock]) -> None:
        digest = result_digest(content)
        if digest is not None:
            self.results[digest] = tuple(content)

    def add_listing(self, tools: Iterable[ListedTool]) -> None:
        self.tools.update((spec.digest, spec) for spec in map(_spec, tools))


_Held = _Exchange | LLMSetup | ToolSpec | Content


@dataclass(frozen=True, slots=True)
class Resolved:
    """A model call with all it stands on.

    Attributes:
        setup_hash: The name of the setup.
        setup: Instruction, tools and schema.
        before: What was said before.
        new: What is said now.
    """

    setup_hash: str
    setup: LLMSetup
    before: list[Message]
    new: list[Message]

    @property
    def messages(self) -> list[Message]:
        """The whole conversation."""
        return self.before + self.new


class ConversationStore:
    """Conversations by head, setups by hash and results by digest, the least recently used forgotten first.

    Args:
        limit: About how many bytes to keep; 0 keeps nothing.
        result_steps: The steps whose results model calls name.
        listing_step: The step that lists tools, whose descriptions and schemas model calls name.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT, result_steps: Iterable[str] = (), listing_step: str | None = None) -> None:
        self._limit = limit
        self._result_steps = tuple(result_steps)
        self._listing_steps = () if listing_step is None else (listing_step,)
        self._held: OrderedDict[str, tuple[_Held, int]] = OrderedDict()
        self._size = 0
        self._rebuilding: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def size(self) -> int:
        """About how many bytes are held."""
        return self._size

    async def resolve(self, request: LLMRequest, history: StepHistory | None, run_id: str | None = None) -> Resolved:
        """The setup, and all that was said up to and including what is new.

        Args:
            request: The argument of the call.
            history: The run's recorded steps, read where something is not at hand.
            run_id: The run; concurrent calls of one run read its steps once. By default the conversation's id.

        Raises:
            WorkflowApplicationError: Type `ConversationLost`: what the request refers to is nowhere.
        """
        found = self._at_hand(request)
        if isinstance(found, Resolved):
            return found
        async with self._lock(run_id or request.conversation or request.agent):
            return await self._find(request, history)

    def remember(self, request: LLMRequest, resolved: Resolved, response: LLMResponse) -> None:
        """Keeps an answered call for the next one of its conversation."""
        exchange = _Exchange(request.parent, resolved.setup_hash, tuple(resolved.new), response.message)
        self._keep_exchange(response.head, exchange)
        for digest in _referred(request.new):  # the exchange holds them now
            self._forget(digest)

    def keep_result(self, content: Sequence[ContentBlock]) -> None:
        """Keeps what a step gave, for the model call that names it."""
        digest = result_digest(content)
        if digest is not None:
            self._keep(digest, tuple(content), _json_size(content) + OVERHEAD * len(content))

    def keep_listing(self, tools: Iterable[ListedTool]) -> None:
        """Keeps what a step has listed, for the model call that names it."""
        for spec in map(_spec, tools):
            self._keep(spec.digest, spec, len(spec.model_dump_json()) + OVERHEAD)

    def _at_hand(self, request: LLMRequest) -> Resolved | None:
        name = self._setup_name(request, {})
        setup = None if name is None else self._setup_at_hand(name, request.setup, {})
        before = self._messages_before(request.parent, {})
        new = self._filled(request.new, {})
        return None if name is None or setup is None or before is None or new is None else Resolved(name, setup, before, new)

    async def _find(self, request: LLMRequest, history: StepHistory | None) -> Resolved:
        found = self._at_hand(request)  # another call of this run may have been here first
        if found is not None:
            return found
        recorded = await self._read_completed(history)
        before = self._messages_before(request.parent, recorded.exchanges)
        if before is None:
            raise _lost("What was said before", request.parent or "", request)
        new = self._filled(request.new, recorded.results)
        if new is None:
            raise _lost("The result of a tool", " ".join(_referred(request.new)), request)
        name = self._setup_name(request, recorded.exchanges) or ""
        setup = self._setup_at_hand(name, request.setup, recorded.tools) or recorded.setups.get(name)
        setup = setup or await self._read_setup(name, recorded, history)
        if setup is None:
            raise _lost("The setup", name, request)
        self._keep_setup(name, setup)
        return Resolved(name, setup, before, new)

    def _setup_name(self, request: LLMRequest, recorded: Mapping[str, _Exchange]) -> str | None:
        """The request's own, or that of the answer before; `None` where that is in neither place."""
        if request.setup_hash or request.parent is None:
            return request.setup_hash
        exchange = recorded.get(request.parent) or self._get(request.parent)
        return exchange.setup_hash if isinstance(exchange, _Exchange) else None

    def _setup_at_hand(self, name: str, sent: LLMSetup | None, recorded: Mapping[str, ToolSpec]) -> LLMSetup | None:
        held = self._get(name)
        if isinstance(held, LLMSetup):
            return held
        setup = None if sent is None else self._described(sent, recorded)
        if setup is not None:
            self._keep_setup(name, setup)
        return setup

    def _described(self, setup: LLMSetup, recorded: Mapping[str, ToolSpec]) -> LLMSetup | None:
        """The setup with the tools that it names; `None` where one is in neither place."""
        tools: list[ToolSpec] = []
        for tool in setup.tools:
            known = tool if tool.recorded is None else recorded.get(tool.recorded) or self._get(tool.recorded)
            if not isinstance(known, ToolSpec):
                return None
            tools.append(known.model_copy(update={"name": tool.name}))
        return setup.model_copy(update={"tools": tools})

    def _messages_before(self, head: str | None, recorded: Mapping[str, _Exchange]) -> list[Message] | None:
        """The conversation up to `head`, or `None` where a part of it is in neither place."""
        chain: list[_Exchange] = []
        while head is not None:
            exchange = recorded.get(head) or self._get(head)
            if not isinstance(exchange, _Exchange):
                return None
            chain.append(exchange)
            head = exchange.parent
        return [message for exchange in reversed(chain) for message in (*exchange.new, exchange.message)]

    def _filled(self, messages: Sequence[Message], recorded: Mapping[str, Content]) -> list[Message] | None:
        """The messages with the results that they name; `None` where one is in neither place."""
        found: dict[str, Content] = {}
        for digest in _referred(messages):
            content = recorded.get(digest) or self._get(digest)
            if not isinstance(content, tuple):
                return None
            found[digest] = content
        return [_with_content(message, found) for message in messages] if found else list(messages)

    async def _read_completed(self, history: StepHistory | None) -> _Recorded:
        recorded = _Recorded()
        if history is None:
            return recorded
        calls: list[tuple[LLMRequest, LLMResponse]] = []
        async for step, argument, result in history.completed(LLM_GENERATE, *self._result_steps, *self._listing_steps):
            if step == LLM_GENERATE:
                calls.append((_read(LLMRequest, argument), _read(LLMResponse, result)))
            elif step in self._listing_steps:
                recorded.add_listing(_read(RecordedListing, result).root)
            else:
                recorded.add_result(_read(RecordedResult, result).content)
        for asked, answered in calls:
            self._add_setup(asked, recorded)
            new, name = self._filled(asked.new, recorded.results), self._setup_name(asked, recorded.exchanges)
            if new is not None and name is not None:
                exchange = _Exchange(asked.parent, name, tuple(new), answered.message)
                recorded.exchanges[answered.head] = exchange
                self._keep_exchange(answered.head, exchange)
        return recorded

    def _add_setup(self, asked: LLMRequest, recorded: _Recorded) -> None:
        setup = None if asked.setup is None else self._described(asked.setup, recorded.tools)
        if setup is not None:
            recorded.add_setup(asked.setup_hash, setup)

    async def _read_setup(self, name: str, recorded: _Recorded, history: StepHistory | None) -> LLMSetup | None:
        """From any call, also one that is still under way."""
        if history is not None:
            async for argument in history.arguments(LLM_GENERATE):
                self._add_setup(_read(LLMRequest, argument), recorded)
        return recorded.setups.get(name)

    def _lock(self, run_id: str) -> asyncio.Lock:
        return self._rebuilding.setdefault(run_id, asyncio.Lock())

    def _get(self, key: str) -> _Held | None:
        held = self._held.get(key)
        if held is None:
            return None
        self._held.move_to_end(key)
        return held[0]

    def _keep_setup(self, name: str, setup: LLMSetup) -> None:
        if name not in self._held:
            self._keep(name, setup, len(setup.model_dump_json()) + OVERHEAD * (1 + len(setup.tools)))

    def _keep_exchange(self, head: str, exchange: _Exchange) -> None:
        said = (*exchange.new, exchange.message)
        self._keep(head, exchange, _json_size(said) + OVERHEAD * sum(1 + len(one.content) for one in said))

    def _keep(self, key: str, value: _Held, size: int) -> None:
        self._forget(key)
        if size > self._limit:
            return
        self._held[key] = (value, size)
        self._size += size
        while self._size > self._limit:
            _, (_, freed) = self._held.popitem(last=False)
            self._size -= freed

    def _forget(self, key: str) -> None:
        if key in self._held:
            self._size -= self._held.pop(key)[1]


def _referred(messages: Iterable[Message]) -> list[str]:
    """The digests of results that the messages name and do not say."""
    blocks = (block for message in messages for block in message.content)
    return [
        digest for block in blocks if isinstance(block, ToolResultContent) and not block.content and (digest := record_of(block))
    ]


def _with_content(message: Message, results: Mapping[str, Content]) -> Message:
    def filled(block: ToolResultContent) -> ToolResultContent:
        content = results.get(record_of(block) or "")
        return block if content is None or block.content else block.model_copy(update={"content": list(content)})

    blocks = [filled(block) if isinstance(block, ToolResultContent) else block for block in message.content]
    return message.model_copy(update={"content": blocks})


def _json_size(models: Iterable[BaseModel]) -> int:
    return sum(len(one.model_dump_json()) for one in models)


def _read(model: type[M], data: bytes) -> M:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise _unreadable(error) from None


def _unreadable(error: ValidationError) -> WorkflowApplicationError:
    places = ", ".join(sorted({".".join(map(str, one["loc"][:2])) for one in error.errors(include_input=False)}))
    return WorkflowApplicationError(
        f"A recorded `{LLM_GENERATE}` step of this run cannot be read (`{places}`): a newer version of this package wrote"
        " it. Run a worker of that version.",
        type="ConversationLost",
        non_retryable=True,
    )


def _lost(what: str, name: str, request: LLMRequest) -> WorkflowApplicationError:
    conversation = request.conversation or request.agent
    return WorkflowApplicationError(
        f"{what} in conversation `{conversation}` of agent `{request.agent}` (`{name[:12]}`) is neither in memory"
        " nor among the recorded steps of this run. Start the run again.",
        type="ConversationLost",
        non_retryable=True,
    )
