"""The workflows of `benchmarks/asking.py` with bare temporalio and the bare SDK. Conversations travel whole."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from openai import AsyncOpenAI

    from benchmarks.floor.looking import TOOLS, look_up

MODEL = "gpt-5.4-mini"
INSTRUCTION = "You answer questions in few words, and look up what you do not know."


class Models:
    def __init__(self, url: str) -> None:
        self._client = AsyncOpenAI(api_key="no-key", base_url=url, max_retries=0)

    @activity.defn(name="asking.ask")
    async def ask(self, messages: list[dict[str, Any]]) -> str:
        create: Any = self._client.chat.completions.create
        answer = await create(model=MODEL, messages=messages, stream=True, stream_options={"include_usage": True})
        return "".join([chunk.choices[0].delta.content or "" async for chunk in answer if chunk.choices])

    @activity.defn(name="asking.next")
    async def next(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """The next message, with calls of tools."""
        text, calls = "", list[Any]()
        create: Any = self._client.chat.completions.create
        options = {"stream": True, "stream_options": {"include_usage": True}}
        async for chunk in await create(model=MODEL, messages=messages, tools=TOOLS, **options):
            for choice in chunk.choices:
                text += choice.delta.content or ""
                calls += choice.delta.tool_calls or []  # whole ones: the fake does not cut them
        said = [{"id": one.id, "type": "function", "function": one.function.model_dump()} for one in calls]
        return {"role": "assistant", "content": text, **({"tool_calls": said} if said else {})}

    @activity.defn(name="asking.look_up")
    async def look_up(self, arguments: str) -> str:
        return look_up(**json.loads(arguments))


@workflow.defn
class LookUp:
    @workflow.run
    async def run(self) -> int:
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": INSTRUCTION},
            {"role": "user", "content": "What is known?"},
        ]
        asked, long = 0, timedelta(minutes=10)
        while True:
            said: dict[str, Any] = await workflow.execute_activity("asking.next", args=[messages], start_to_close_timeout=long)
            asked += 1
            messages.append(said)
            if "tool_calls" not in said:
                return asked
            for call in said["tool_calls"]:
                arguments = call["function"]["arguments"]
                result = await workflow.execute_activity("asking.look_up", arguments, start_to_close_timeout=long)
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})


@workflow.defn
class Ask:
    @workflow.run
    async def run(self, calls: int) -> int:
        messages: list[dict[str, Any]] = [{"role": "system", "content": INSTRUCTION}]
        for number in range(calls):
            messages.append({"role": "user", "content": f"question {number}, in some more words"})
            text = await workflow.execute_activity(
                "asking.ask", args=[messages], result_type=str, start_to_close_timeout=timedelta(minutes=10)
            )
            messages.append({"role": "assistant", "content": text})
        return calls
