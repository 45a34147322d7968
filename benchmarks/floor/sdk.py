"""The providers' SDKs called as their own documentation does: a client, a request, the text of the answer."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
from google import genai

from benchmarks.floor.looking import look_up

KEY = "no-key"


class OpenAI:
    def __init__(self, url: str) -> None:
        self._client = openai.AsyncOpenAI(api_key=KEY, base_url=url, max_retries=0)

    async def ask(self, request: dict[str, Any], stream: bool) -> str:
        create: Any = self._client.chat.completions.create
        if not stream:
            return (await create(**request)).choices[0].message.content
        answer = await create(**request, stream=True, stream_options={"include_usage": True})
        return "".join([chunk.choices[0].delta.content or "" async for chunk in answer if chunk.choices])

    async def loop(self, request: dict[str, Any]) -> int:
        """Asks and calls the tool that is asked for until the answer is a text: how often it has asked."""
        create: Any = self._client.chat.completions.create
        messages, asked = list(request["messages"]), 0
        while True:
            text, calls = "", []
            answer = await create(**{**request, "messages": messages}, stream=True, stream_options={"include_usage": True})
            asked += 1
            async for chunk in answer:
                for choice in chunk.choices:
                    text += choice.delta.content or ""
                    calls += choice.delta.tool_calls or []  # whole ones: the fake does not cut them
            said = [{"id": one.id, "type": "function", "function": one.function.model_dump()} for one in calls]
            messages.append({"role": "assistant", "content": text, **({"tool_calls": said} if said else {})})
            if not calls:
                return asked
            for call in calls:
                result = look_up(**json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})

    async def aclose(self) -> None:
        await self._client.close()


class Anthropic:
    def __init__(self, url: str) -> None:
        self._client = anthropic.AsyncAnthropic(api_key=KEY, base_url=url, max_retries=0)

    async def ask(self, request: dict[str, Any], stream: bool) -> str:
        create: Any = self._client.messages.create
        if not stream:
            return (await create(**request)).content[0].text
        events = await create(**request, stream=True)
        return "".join([event.delta.text async for event in events if event.type == "content_block_delta"])

    async def aclose(self) -> None:
        await self._client.close()


class Google:
    def __init__(self, url: str) -> None:
        self._client = genai.Client(api_key=KEY, http_options={"base_url": url, "api_version": "v1beta"})

    async def ask(self, request: dict[str, Any], stream: bool) -> str:
        models: Any = self._client.aio.models
        if not stream:
            return (await models.generate_content(**request)).text
        return "".join([chunk.text or "" async for chunk in await models.generate_content_stream(**request)])

    async def aclose(self) -> None:
        await self._client.aio.aclose()
        self._client.close()
