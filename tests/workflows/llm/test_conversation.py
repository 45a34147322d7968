from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from mcp_types import TextContent, ToolResultContent
from pydantic import BaseModel
from pydantic_core import to_json

from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.workflows.llm.conversation import ConversationStore, Resolved
from mcp_agent.workflows.llm.messages import (
    LLM_GENERATE,
    LLMRequest,
    LLMResponse,
    LLMSetup,
    Message,
    RecordedResult,
    ToolSpec,
    head_hash,
    record_of,
    recorded,
    referring,
    tool_use,
    unrecorded,
)
from mcp_agent.workflows.llm.thread import Thread

pytestmark = pytest.mark.anyio

SETUP = LLMSetup(instruction="Be brief.")
TOOL = "tool"


@dataclass
class Recorded:
    """A run's history as its engine would give it."""

    steps: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    tools: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    listings: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    under_way: list[bytes] = field(default_factory=list[bytes])
    walks: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def completed(self, *steps: str) -> AsyncIterator[tuple[str, bytes, bytes]]:
        self.walks += 1
        await self.gate.wait()
        steps_by_name = {"list": self.listings, TOOL: self.tools, LLM_GENERATE: self.steps}
        for name, (argument, result) in ((name, one) for name, made in steps_by_name.items() for one in made):
            if name in steps:
                yield name, argument, result

    async def arguments(self, step: str) -> AsyncIterator[bytes]:
        assert step == LLM_GENERATE
        self.walks += 1
        for argument in (*(argument for argument, _ in self.steps), *self.under_way):
            yield argument


def request(parent: str | None, text: str, *, setup: LLMSetup | None = None, conversation: str = "c") -> LLMRequest:
    return LLMRequest(
        conversation=conversation,
        agent="writer",
        provider="scripted",
        parent=parent,
        new=[Message.user(text)],
        setup_hash=SETUP.hash(),
        setup=setup,
    )


def answer(asked: LLMRequest, text: str) -> LLMResponse:
    message = Message.assistant(text)
    head = head_hash(asked.parent, asked.setup_hash, asked.new, message)
    return LLMResponse(message=message, head=head, stop_reason="end_turn")


def talk(history: Recorded, store: ConversationStore | None, turns: int, size: int = 1, conversation: str = "c") -> str:
    """Has a conversation of `q0 a0 q1 a1 ...`; returns its head."""
    head: str | None = None
    for turn in range(turns):
        setup = SETUP if turn == 0 else None
        asked = request(head, f"{conversation} q{turn}" * size, setup=setup, conversation=conversation)
        answered = answer(asked, f"a{turn}" * size)
        history.steps.append((to_json(asked), to_json(answered)))
        if store is not None:
            store.remember(asked, Resolved(SETUP.hash(), SETUP, [], asked.new), answered)
        head = answered.head
    assert head is not None
    return head


def texts(messages: list[Message]) -> list[str]:
    return [message.text for message in messages]


async def test_the_first_call_holds_the_whole_conversation():
    resolved = await ConversationStore().resolve(request(None, "hi", setup=SETUP), None)

    assert resolved.setup == SETUP
    assert texts(resolved.messages) == ["hi"]


async def test_a_call_finds_what_was_said_before_without_reading_the_history():
    store, history = ConversationStore(), Recorded()
    await store.resolve(request(None, "hi", setup=SETUP), history)
    head = talk(history, store, turns=2)

    resolved = await store.resolve(request(head, "q2"), history)

    assert resolved.setup == SETUP
    assert texts(resolved.messages) == ["c q0", "a0", "c q1", "a1", "q2"]
    assert history.walks == 0


@pytest.mark.parametrize("limit", [0, 64_000_000])
async def test_another_worker_rebuilds_the_conversation_from_the_runs_steps(limit: int):
    history = Recorded()
    head = talk(history, None, turns=3)

    resolved = await ConversationStore(limit).resolve(request(head, "q3"), history)

    assert resolved.setup == SETUP
    assert texts(resolved.messages) == ["c q0", "a0", "c q1", "a1", "c q2", "a2", "q3"]


async def test_what_was_rebuilt_once_is_at_hand_afterwards():
    store, history = ConversationStore(), Recorded()
    head = talk(history, None, turns=3)

    await store.resolve(request(head, "q3"), history)
    await store.resolve(request(head, "another q3"), history)

    assert history.walks == 1


async def test_a_conversation_can_go_on_from_any_earlier_point():
    store, history = ConversationStore(), Recorded()
    talk(history, store, turns=3)
    first = LLMResponse.model_validate_json(history.steps[0][1]).head

    resolved = await store.resolve(request(first, "other"), history)

    assert texts(resolved.messages) == ["c q0", "a0", "other"]


async def test_a_late_attempt_with_another_answer_does_not_disturb_the_one_that_counts():
    store, asked = ConversationStore(), request(None, "hi", setup=SETUP)
    counted, late = answer(asked, "counted"), answer(asked, "late")
    await store.resolve(asked, None)
    store.remember(asked, Resolved(SETUP.hash(), SETUP, [], asked.new), counted)
    store.remember(asked, Resolved(SETUP.hash(), SETUP, [], asked.new), late)

    resolved = await store.resolve(request(counted.head, "next"), None)

    assert texts(resolved.messages) == ["hi", "counted", "next"]


async def test_what_a_caller_does_to_its_list_changes_no_other_call():
    store, history = ConversationStore(), Recorded()
    head = talk(history, store, turns=1)
    asked = request(head, "q1")
    resolved = await store.resolve(asked, history)
    resolved.messages.clear()
    resolved.before.clear()

    assert texts((await store.resolve(asked, history)).messages) == ["c q0", "a0", "q1"]


async def test_concurrent_calls_of_one_run_read_its_history_once():
    store, history = ConversationStore(), Recorded()
    heads = [talk(history, None, turns=2, conversation=name) for name in ("one", "two", "three")]
    history.gate.clear()
    calls = [asyncio.create_task(store.resolve(request(head, "more"), history, "run")) for head in heads]
    while history.walks == 0:
        await asyncio.sleep(0)
    history.gate.set()

    results = await asyncio.gather(*calls)

    assert [texts(one.messages)[0] for one in results] == ["one q0", "two q0", "three q0"]
    assert history.walks == 1


async def test_a_cancelled_call_does_not_strand_the_one_that_waits_for_it():
    store, history = ConversationStore(), Recorded()
    head = talk(history, None, turns=2)
    history.gate.clear()
    first = asyncio.create_task(store.resolve(request(head, "more"), history, "run"))
    while history.walks == 0:
        await asyncio.sleep(0)
    second = asyncio.create_task(store.resolve(request(head, "more"), history, "run"))
    first.cancel()
    history.gate.set()

    assert texts((await second).messages)[-1] == "more"
    assert first.cancelled()


async def test_the_setup_is_found_in_a_call_that_is_still_under_way():
    history = Recorded(under_way=[to_json(request(None, "first", setup=SETUP))])

    resolved = await ConversationStore().resolve(request(None, "beside it"), history)

    assert resolved.setup == SETUP
    assert texts(resolved.messages) == ["beside it"]


async def test_a_setup_that_was_recorded_under_another_hash_is_found_by_its_own():
    recorded = request(None, "first", setup=SETUP).model_copy(update={"setup_hash": "of another version"})

    resolved = await ConversationStore().resolve(request(None, "now"), Recorded(under_way=[to_json(recorded)]))

    assert resolved.setup == SETUP


@pytest.mark.parametrize("history", [None, Recorded()])
async def test_a_conversation_that_is_nowhere_is_an_error_that_is_not_retried(history: Recorded | None):
    with pytest.raises(WorkflowApplicationError) as lost:
        await ConversationStore().resolve(request("0123456789abcdef", "hi", setup=SETUP), history)

    assert (lost.value.type, lost.value.non_retryable) == ("ConversationLost", True)
    assert "0123456789ab" in lost.value.message


async def test_a_setup_that_is_nowhere_is_an_error_that_is_not_retried():
    with pytest.raises(WorkflowApplicationError) as lost:
        await ConversationStore().resolve(request(None, "hi"), Recorded())

    assert (lost.value.type, lost.value.non_retryable) == ("ConversationLost", True)
    assert SETUP.hash()[:12] in lost.value.message


async def test_a_recorded_step_that_cannot_be_read_is_named_and_not_shown():
    history = Recorded(steps=[(b'{"conversation": "private"}', b"{}")])

    with pytest.raises(WorkflowApplicationError) as lost:
        await ConversationStore().resolve(request("head", "hi", setup=SETUP), history)

    assert (lost.value.type, lost.value.non_retryable) == ("ConversationLost", True)
    assert "`agent, new, provider`" in lost.value.message
    assert "private" not in lost.value.message


async def test_the_store_stays_within_its_limit_and_forgets_the_least_recently_used():
    store, history = ConversationStore(limit=100_000), Recorded()
    kept = talk(history, store, turns=2, conversation="kept")
    await store.resolve(request(None, "hi", setup=SETUP), history)
    for number in range(50):
        talk(history, store, turns=1, size=1_000, conversation=f"other {number}")
        await store.resolve(request(kept, "used"), history)
        assert store.size <= 100_000
    assert history.walks == 0

    forgotten = LLMResponse.model_validate_json(history.steps[2][1]).head
    await store.resolve(request(forgotten, "more"), history)
    assert history.walks == 1


async def test_one_conversation_larger_than_the_limit_does_not_push_out_the_others():
    store, history = ConversationStore(limit=20_000), Recorded()
    await store.resolve(request(None, "hi", setup=SETUP), history)
    small = talk(history, store, turns=1, conversation="small")
    large = talk(history, store, turns=1, size=50_000, conversation="large")

    await store.resolve(request(small, "more"), history)
    assert history.walks == 0
    assert texts((await store.resolve(request(large, "more"), history)).messages)[-1] == "more"


# ── results of tools, which calls name and do not carry ──────────────────────────────────────────────────────────────


def tool_result(text: str) -> ToolResultContent:
    return recorded(tool_use("c1", "look", {}), [TextContent(text=text)], is_error=False)


def result_words(message: Message) -> str:
    (block,) = message.content
    assert isinstance(block, ToolResultContent)
    return "".join(one.text for one in block.content if isinstance(one, TextContent))


LARGE = "word " * 1_000


def naming(result: ToolResultContent) -> LLMRequest:
    said = Thread(head="x").to_send([Message.user([result])])
    return request(None, "", setup=SETUP).model_copy(update={"new": said})


def test_a_large_result_is_named_and_a_small_one_is_said():
    (large,), (small,) = naming(tool_result(LARGE)).new, naming(tool_result("a word")).new
    assert result_words(large) == ""
    assert len(large.model_dump_json()) < 200
    assert result_words(small) == "a word"
    assert large == referring(large)
    assert record_of(small.content[0]) is None


async def test_a_named_result_is_at_hand_after_its_step():
    store, history = ConversationStore(result_steps=[TOOL]), Recorded()
    store.keep_result([TextContent(text=LARGE)])
    asked = naming(tool_result(LARGE))

    resolved = await store.resolve(asked, history)

    assert result_words(resolved.new[0]) == LARGE
    assert history.walks == 0
    answered = answer(asked, "seen")
    store.remember(asked, resolved, answered)
    again = await store.resolve(request(answered.head, "more"), history)
    assert [result_words(one) for one in again.before[:1]] == [LARGE]
    assert history.walks == 0


@pytest.mark.parametrize("limit", [0, 64_000_000])
async def test_a_named_result_is_read_from_the_step_that_gave_it(limit: int):
    asked = naming(tool_result(LARGE))
    history = Recorded(tools=[(b"{}", to_json({"content": [{"type": "text", "text": LARGE}], "is_error": False}))])
    answered = answer(asked, "seen")
    history.steps.append((to_json(asked), to_json(answered)))

    resolved = await ConversationStore(limit, [TOOL]).resolve(asked, history)
    assert result_words(resolved.new[0]) == LARGE

    later = await ConversationStore(limit, [TOOL]).resolve(request(answered.head, "more"), history)
    assert result_words(later.before[0]) == LARGE


async def test_a_named_result_that_is_nowhere_is_an_error():
    with pytest.raises(WorkflowApplicationError, match="The result of a tool in conversation `c`") as lost:
        await ConversationStore(result_steps=[TOOL]).resolve(naming(tool_result(LARGE)), Recorded())
    assert lost.value.type == "ConversationLost"


def test_a_conversation_that_begins_with_results_of_another_run_says_them():
    thread = Thread((Message.user([tool_result(LARGE)]),))
    (first, second) = thread.to_send([Message.user([tool_result(LARGE)])])
    assert result_words(first) == LARGE
    assert record_of(first.content[0]) is None
    assert result_words(second) == ""
    assert unrecorded(first) == first


def test_what_steps_give_is_read_by_its_content_alone():
    assert RecordedResult.model_validate_json('{"content": [], "is_error": true, "new": 1}').content == []


# ── setups, of which a call names what the run's history holds ───────────────────────────────────────────────────────

LISTED = ToolSpec(name="shelf_read", description="Reads.", input_schema={"type": "object", "title": "T"}, listed=True)
TOOLED = LLMSetup(instruction="Be brief.", tools=[ToolSpec(name="own", description="Mine."), LISTED])


class _Tool(BaseModel):
    description: str = "Reads."
    input_schema: dict[str, Any] = {"type": "object", "title": "T"}


def tooled() -> LLMRequest:
    asked = request(None, "hi").model_copy(update={"setup": TOOLED.referring(), "setup_hash": TOOLED.hash()})
    return LLMRequest.model_validate_json(to_json(asked))


def test_a_listed_tool_is_named_and_another_is_described():
    own, listed = tooled().setup.tools  # type: ignore[union-attr]
    assert own.description == "Mine."
    assert (listed.name, listed.description, listed.recorded) == ("shelf_read", "", LISTED.digest)
    assert (
        TOOLED.hash()
        == TOOLED.model_copy(update={"tools": [one.model_copy(update={"listed": False}) for one in TOOLED.tools]}).hash()
    )


async def test_a_listed_tool_is_at_hand_after_its_step():
    store, history = ConversationStore(listing_step="list"), Recorded()
    store.keep_listing([_Tool()])

    setup = (await store.resolve(tooled(), history)).setup

    assert [(tool.name, tool.description) for tool in setup.tools] == [("own", "Mine."), ("shelf_read", "Reads.")]
    assert setup.hash() == TOOLED.hash()
    assert history.walks == 0


@pytest.mark.parametrize("limit", [0, 64_000_000])
async def test_a_listed_tool_is_read_from_the_step_that_listed_it(limit: int):
    history = Recorded(listings=[(b"{}", to_json([_Tool(), _Tool(description="Erases.")]))])
    asked = tooled()
    assert (await ConversationStore(limit, (), "list").resolve(asked, history)).setup.hash() == TOOLED.hash()

    answered = answer(asked, "seen")
    history.steps.append((to_json(asked), to_json(answered)))
    bare = request(answered.head, "more").model_copy(update={"setup_hash": ""})
    resolved = await ConversationStore(limit, (), "list").resolve(bare, history)
    assert resolved.setup.hash() == resolved.setup_hash == TOOLED.hash()


async def test_a_call_that_names_no_setup_has_that_of_the_answer_before():
    store = ConversationStore()
    head = talk(Recorded(), store, turns=1)
    await store.resolve(request(None, "hi", setup=SETUP), None)

    bare = request(head, "more").model_copy(update={"setup_hash": ""})

    assert (await store.resolve(bare, None)).setup == SETUP
