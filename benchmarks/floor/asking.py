"""The workflows of `benchmarks/asking.py` with bare temporalio and the bare SDK. Conversations travel whole."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from openai import AsyncOpenAI

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
