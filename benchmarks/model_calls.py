"""What a model call costs: against the bare SDKs, against a bare worker that calls them, and in many agents at once.

A fake in a process of its own answers. Beside the throughput all of it is CPU time.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

from mcp_types import TextContent, ToolResultContent
from temporalio.client import Client

from benchmarks import asking
from benchmarks.floor import sdk
from benchmarks.floor.looking import TOOLS
from benchmarks.harness import ROOT, Bench, Row, ms, pairs, timed
from benchmarks.model import MeasuredWorker, cpu, worker
from benchmarks.running import opened
from mcp_agent.activities.llm import LLMActivities
from mcp_agent.config import Settings
from mcp_agent.executor.step_context import StepContext, entered
from mcp_agent.workflows.llm.conversation import ConversationStore
from mcp_agent.workflows.llm.messages import (
    LLM_GENERATE,
    LLMRequest,
    LLMResponse,
    LLMSetup,
    Message,
    RequestParams,
    ToolSpec,
    tool_use,
)
from mcp_agent.workflows.llm.providers.anthropic import request as anthropic_request
from mcp_agent.workflows.llm.providers.google import request as google_request
from mcp_agent.workflows.llm.providers.openai import chat as openai_chat

CALLS, ROUNDS = 60, 9
TURNS, RUN_ROUNDS = 50, 7
AGENTS, AGENT_TURNS, AGENT_ROUNDS = 32, 10, 3


@asynccontextmanager
async def provider() -> AsyncGenerator[str, None]:
    """The fake's address."""
    command = [sys.executable, "-m", "benchmarks.floor.provider"]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=ROOT)
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().strip()
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


def _tool(number: int) -> ToolSpec:
    names = ("query", "collection", "limit", "order")
    properties = {name: {"type": "string", "description": f"The {name} of what is looked for."} for name in names}
    schema = {"type": "object", "properties": properties, "required": ["query"]}
    return ToolSpec(
        name=f"search_{number}", description="Looks in a collection; the best results come first.", input_schema=schema
    )


def _conversation() -> list[Message]:
    """Twenty messages: five questions, each with a tool's call and result and an answer."""
    said: list[Message] = []
    for number in range(5):
        call = tool_use(f"call_{number}", "search_1", {"query": f"what is {number}", "limit": "5"})
        result = ToolResultContent(tool_use_id=call.id, content=[TextContent(text="a line of what was found\n" * 20)])
        said += [
            Message.user(f"question {number}: " + "some words " * 20),
            Message.assistant([TextContent(text="I look it up."), call]),
            Message.user([result]),
            Message.assistant("an answer in some words " * 10),
        ]
    return [Message.user("Good day."), *said[:-1]]


SETUP = LLMSetup(instruction="You answer questions. " * 20, tools=[_tool(number) for number in range(10)])
MESSAGES = _conversation()
PARAMS = RequestParams(max_tokens=4_000)


class Provider(NamedTuple):
    """A provider's SDK, and what it is asked: the same as the step asks."""

    model: str
    path: str
    client: Callable[[str], Any]
    request: dict[str, Any]


def _google() -> dict[str, Any]:
    body = google_request.to_request(SETUP, MESSAGES, PARAMS, "gemini-3.8-flash")
    config = {"system_instruction": body["systemInstruction"], "tools": body["tools"]}
    return {"model": "gemini-3.8-flash", "contents": body["contents"], "config": config}


def providers() -> dict[str, Provider]:
    gpt, claude = "gpt-5.4-mini", "claude-sonnet-5-5"
    to_claude = anthropic_request.to_request(SETUP, MESSAGES, PARAMS, claude)
    return {
        "openai": Provider(gpt, "/v1", sdk.OpenAI, openai_chat.to_request(SETUP, MESSAGES, PARAMS, gpt)),
        "anthropic": Provider(claude, "", sdk.Anthropic, to_claude),
        "google": Provider("gemini-3.8-flash", "", sdk.Google, _google()),
    }


async def in_the_step(_: Bench) -> list[Row]:
    """The step as a worker calls it, in a conversation that the worker knows."""
    rows: list[Row] = []
    async with provider() as address:
        for name, one in providers().items():
            rows += [await _step_against_sdk(name, one, address + one.path, stream) for stream in (True, False)]
    return rows


async def _step_against_sdk(name: str, asked: Provider, url: str, stream: bool) -> Row:
    settings = Settings.model_validate({name: {"api_key": sdk.KEY, "base_url": url, "stream": stream}})
    request, store = await _known_conversation(name, asked.model)
    async with _closing(LLMActivities(settings, store=store)) as models, _closing(asked.client(url)) as bare:

        async def ours() -> None:
            for _ in range(CALLS):
                with entered(StepContext(LLM_GENERATE, "run", "Ask")):
                    await models.generate(request)

        async def floor() -> None:
            for _ in range(CALLS):
                await bare.ask(asked.request, stream)

        one, two = await pairs(lambda: cpu(ours), lambda: cpu(floor), ROUNDS)
    what = f"a model call in its step, {name}, {'streamed' if stream else 'whole'}, CPU, against the bare SDK"
    return Row(what, ms(one / CALLS), ms(two / CALLS), one / two, 1.5)


@asynccontextmanager
async def _closing(opened: Any) -> AsyncGenerator[Any, None]:
    try:
        yield opened
    finally:
        await opened.aclose()


async def _known_conversation(name: str, model: str) -> tuple[LLMRequest, ConversationStore]:
    """A request for the next answer in a conversation that the store holds, as all of an agent but its first."""
    *before, call, result = MESSAGES
    params = PARAMS.model_copy(update={"model": model})
    first = LLMRequest(
        conversation="asker", agent="asker", provider=name, new=before, setup_hash=SETUP.hash(), setup=SETUP, params=params
    )
    store = ConversationStore()
    store.remember(first, await store.resolve(first, None), LLMResponse(message=call, head="head", stop_reason="tool_use"))
    return first.model_copy(update={"new": [result], "parent": "head", "setup": None, "setup_hash": ""}), store


async def in_a_worker(bench: Bench) -> list[Row]:
    """Runs of an agent: worker CPU for each model call, starts of the runs included."""
    async with workers(bench) as (ours, floor, url):
        one, two = await pairs(lambda: _cpu_a_call(ours), lambda: _cpu_a_call(floor), RUN_ROUNDS)
        async with _closing(sdk.OpenAI(url)) as bare:

            async def same() -> None:
                for turn in range(TURNS):
                    await bare.ask({"model": "gpt-5.4-mini", "messages": _said(turn)}, True)

            alone = await pairs(lambda: cpu(same), lambda: cpu(same), RUN_ROUNDS)
    what = f"a model call of an agent's run of {TURNS} turns, worker CPU, against"
    sdk_alone = alone[0] / TURNS
    return [
        Row(f"{what} a bare worker whose step calls the bare SDK", ms(one), ms(two), one / two, 1.5),
        Row(f"{what} the bare SDK alone", ms(one), ms(sdk_alone), one / sdk_alone, 1.5),
    ]


async def _cpu_a_call(one: MeasuredWorker) -> float:
    before = await one.cpu()
    await one.run("Ask", TURNS)
    return (await one.cpu() - before) / TURNS


def _said(turn: int) -> list[dict[str, Any]]:
    said = [{"role": "system", "content": asking.INSTRUCTION}]
    for number in range(turn + 1):
        said.append({"role": "user", "content": f"question {number}, in some more words"})
        said.append({"role": "assistant", "content": "word " * 40})
    return said[:-1]


@asynccontextmanager
async def workers(bench: Bench, path: str = "/v1") -> AsyncGenerator[tuple[MeasuredWorker, MeasuredWorker, str], None]:
    """This project's worker and a bare one on one server, and the address of the fake provider that both ask."""
    bench.ours()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(provider()) + path
        executor = await stack.enter_async_context(opened(bench))
        client = await Client.connect(executor.client.service_client.config.target_host)
        ours = await stack.enter_async_context(worker(bench, client, "benchmarks.worker", url))
        yield ours, await stack.enter_async_context(worker(bench, client, "benchmarks.floor.worker", url)), url


async def many_agents(bench: Bench) -> list[Row]:
    """Agents at once on one worker against as many loops of the bare SDK, and as many runs of the bare worker."""
    rows: list[Row] = []
    for delay in (200, 2_000):
        path, when = f"/after-{delay}", f"answers after {delay} ms"
        rows += await _against_loops(bench, f"{path}/v1", f"{AGENT_TURNS} turns each, {when}", "Ask", AGENT_TURNS)
        rows += await _against_loops(bench, f"{path}/calling/v1", f"{AGENT_TURNS} turns with tool calls each, {when}", "LookUp")
    return rows


async def _against_loops(bench: Bench, path: str, what: str, workflow: str, *args: object) -> list[Row]:
    async with workers(bench, path) as (ours, floor, url), _closing(sdk.OpenAI(url)) as bare:

        async def agents() -> float:
            return await _throughput(lambda: ours.run(workflow, *args))

        async def loops() -> float:
            return await _throughput(lambda: _bare_agent(bare, workflow))

        async def runs() -> float:
            return await _throughput(lambda: floor.run(workflow, *args))

        one, two = await pairs(agents, loops, AGENT_ROUNDS)
        again, three = await pairs(agents, runs, AGENT_ROUNDS)
    what = f"{AGENTS} agents at once on one worker, {what}, model calls a second, against"
    return [
        Row(f"{what} bare loops", f"{one:.0f}/s", f"{two:.0f}/s", one / two, 0.9, at_least=True),
        Row(f"{what} a bare worker", f"{again:.0f}/s", f"{three:.0f}/s", again / three, 0.9, at_least=True),
    ]


async def _throughput(agent: Callable[[], Awaitable[object]]) -> float:
    return AGENTS * AGENT_TURNS / await timed(lambda: asyncio.gather(*(agent() for _ in range(AGENTS))))


async def _bare_agent(bare: sdk.OpenAI, workflow: str) -> None:
    if workflow == "LookUp":
        messages = [{"role": "system", "content": asking.INSTRUCTION}, {"role": "user", "content": "What is known?"}]
        await bare.loop({"model": "gpt-5.4-mini", "messages": messages, "tools": TOOLS})
    else:
        for turn in range(AGENT_TURNS):
            await bare.ask({"model": "gpt-5.4-mini", "messages": _said(turn)}, True)
