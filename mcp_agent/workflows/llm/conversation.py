"""Where a worker keeps conversations, so that a model call carries only what is new (`design.md`, "History is the
transcript").

A conversation is a chain of exchanges, each named by its head. The store is a cache: whatever it lacks is read again
from the recorded steps of the run, on any worker, after any crash.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from pydantic import ValidationError

from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.step_context import StepHistory
from mcp_agent.workflows.llm.messages import LLM_GENERATE, LLMRequest, LLMResponse, LLMSetup, Message

DEFAULT_LIMIT = 64 * 1024 * 1024
OVERHEAD = 1_000
"""Bytes that a cached object takes beyond its JSON, about."""


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What was said since `parent`, and the answer."""

    parent: str | None
    new: tuple[Message, ...]
    message: Message


@dataclass(slots=True)
class _Recorded:
    """What the completed calls of a run hold."""

    exchanges: dict[str, _Exchange] = field(default_factory=dict[str, _Exchange])
    setups: dict[str, LLMSetup] = field(default_factory=dict[str, LLMSetup])

    def add_setup(self, request: LLMRequest) -> None:
        if request.setup is not None:
            self.setups[request.setup_hash] = request.setup
            # Its own hash too: a version that records may hash otherwise than the one that asks.
            self.setups[request.setup.hash()] = request.setup


class ConversationStore:
    """Conversations by head and setups by hash, the least recently used forgotten first.

    Args:
        limit: About how many bytes to keep; 0 keeps nothing.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._held: OrderedDict[str, tuple[_Exchange | LLMSetup, int]] = OrderedDict()
        self._size = 0
        self._rebuilding: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def size(self) -> int:
        """About how many bytes are held."""
        return self._size

    async def resolve(
        self, request: LLMRequest, history: StepHistory | None, run_id: str | None = None
    ) -> tuple[LLMSetup, list[Message]]:
        """The setup, and all that was said up to and including what is new.

        Args:
            request: The argument of the call.
            history: The run's recorded steps, read where something is not at hand.
            run_id: The run; concurrent calls of one run read its steps once. By default the conversation's id.

        Raises:
            WorkflowApplicationError: Type `ConversationLost`: what the request refers to is nowhere.
        """
        setup, before = self._at_hand(request)
        if setup is None or before is None:
            async with self._lock(run_id or request.conversation):
                setup, before = await self._find(request, history)
        return setup, before + request.new

    def remember(self, request: LLMRequest, response: LLMResponse) -> None:
        """Keeps an answered call for the next one of its conversation."""
        said = (*request.new, response.message)
        self._keep_exchange(request, response, sum(len(one.model_dump_json()) for one in said))

    def _at_hand(self, request: LLMRequest) -> tuple[LLMSetup | None, list[Message] | None]:
        return self._setup_at_hand(request), self._messages_before(request.parent, {})

    async def _find(self, request: LLMRequest, history: StepHistory | None) -> tuple[LLMSetup, list[Message]]:
        setup, before = self._at_hand(request)  # another call of this run may have been here first
        recorded = _Recorded()
        if before is None:
            recorded = await self._read_completed(history)
            before = self._messages_before(request.parent, recorded.exchanges)
        if before is None:
            raise _lost("What was said before", request.parent or "", request)
        setup = setup or recorded.setups.get(request.setup_hash) or await self._read_setup(request, history)
        if setup is None:
            raise _lost("The setup", request.setup_hash, request)
        self._keep_setup(request.setup_hash, setup)
        return setup, before

    def _setup_at_hand(self, request: LLMRequest) -> LLMSetup | None:
        if request.setup is not None:
            self._keep_setup(request.setup_hash, request.setup)
            return request.setup
        held = self._get(request.setup_hash)
        return held if isinstance(held, LLMSetup) else None

    def _messages_before(self, head: str | None, recorded: dict[str, _Exchange]) -> list[Message] | None:
        """The conversation up to `head`, or `None` where a part of it is in neither place."""
        chain: list[_Exchange] = []
        while head is not None:
            exchange = recorded.get(head) or self._get(head)
            if not isinstance(exchange, _Exchange):
                return None
            chain.append(exchange)
            head = exchange.parent
        return [message for exchange in reversed(chain) for message in (*exchange.new, exchange.message)]

    async def _read_completed(self, history: StepHistory | None) -> _Recorded:
        recorded = _Recorded()
        if history is None:
            return recorded
        async for argument, result in history.completed(LLM_GENERATE):
            asked, answered = _read_request(argument), _read_response(result)
            recorded.add_setup(asked)
            exchange = self._keep_exchange(asked, answered, len(argument) + len(result))
            recorded.exchanges[answered.head] = exchange
        return recorded

    async def _read_setup(self, request: LLMRequest, history: StepHistory | None) -> LLMSetup | None:
        """From any call, also one that is still under way."""
        recorded = _Recorded()
        if history is not None:
            async for argument in history.arguments(LLM_GENERATE):
                recorded.add_setup(_read_request(argument))
        return recorded.setups.get(request.setup_hash)

    def _lock(self, run_id: str) -> asyncio.Lock:
        return self._rebuilding.setdefault(run_id, asyncio.Lock())

    def _get(self, key: str) -> _Exchange | LLMSetup | None:
        held = self._held.get(key)
        if held is None:
            return None
        self._held.move_to_end(key)
        return held[0]

    def _keep_setup(self, name: str, setup: LLMSetup) -> None:
        self._keep(name, setup, len(setup.model_dump_json()) + OVERHEAD * (1 + len(setup.tools)))

    def _keep_exchange(self, request: LLMRequest, response: LLMResponse, json_size: int) -> _Exchange:
        exchange = _Exchange(request.parent, tuple(request.new), response.message)
        blocks = sum(1 + len(one.content) for one in (*exchange.new, exchange.message))
        self._keep(response.head, exchange, json_size + OVERHEAD * blocks)
        return exchange

    def _keep(self, key: str, value: _Exchange | LLMSetup, size: int) -> None:
        if key in self._held:
            self._size -= self._held.pop(key)[1]
        if size > self._limit:
            return
        self._held[key] = (value, size)
        self._size += size
        while self._size > self._limit:
            _, (_, freed) = self._held.popitem(last=False)
            self._size -= freed


def _read_request(data: bytes) -> LLMRequest:
    try:
        return LLMRequest.model_validate_json(data)
    except ValidationError as error:
        raise _unreadable(error) from None


def _read_response(data: bytes) -> LLMResponse:
    try:
        return LLMResponse.model_validate_json(data)
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
    return WorkflowApplicationError(
        f"{what} in conversation `{request.conversation}` of agent `{request.agent}` (`{name[:12]}`) is neither in memory"
        " nor among the recorded steps of this run. Start the run again.",
        type="ConversationLost",
        non_retryable=True,
    )
