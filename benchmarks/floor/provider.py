"""A fake of the model providers in a process of its own, whose CPU is not counted: `python -m benchmarks.floor.provider`.

Says where it listens. Every answer is the same: OpenAI's chat completions, Anthropic's messages and Gemini, streamed where that
is asked for. Parts of the path change that: with `after-200` it answers after 200 ms, with `calling` it asks for a tool until
nine results are there.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any

PIECES = 40
TEXT = ["word "] * PIECES
TOOL_RESULTS = 9
_STREAM = re.compile(rb'"stream":\s*true')
_RESULT = re.compile(rb'"role":\s*"tool"')
_DELAY = re.compile(rb"/after-(\d+)/")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def _event(data: Any) -> str:
    name = f"event: {data['type']}\n" if "type" in data else ""
    return f"{name}data: {json.dumps(data)}\n\n"


def _http(body: str, kind: str) -> bytes:
    data = body.encode()
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data


def _whole(body: Any) -> bytes:
    return _http(json.dumps(body), "application/json")


def _streamed(events: list[Any], end: str = "") -> bytes:
    return _http("".join(map(_event, events)) + end, "text/event-stream")


def _openai(pieces: list[dict[str, Any]], message: dict[str, Any], reason: str) -> tuple[bytes, bytes]:
    base = {"id": "chatcmpl-1", "created": 1_790_000_000, "model": "gpt-5.4-mini"}
    usage = {"prompt_tokens": 900, "completion_tokens": PIECES, "total_tokens": 900 + PIECES}
    chunks = [{**base, "object": "chat.completion.chunk"} for _ in range(len(pieces) + 2)]
    for chunk, delta in zip(chunks, pieces, strict=False):
        chunk["choices"] = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]
    chunks[-2]["choices"] = [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}]
    chunks[-1] |= {"choices": [], "usage": usage}
    choice = {"index": 0, "message": {"role": "assistant", **message}, "logprobs": None, "finish_reason": reason}
    return _whole({**base, "object": "chat.completion", "choices": [choice], "usage": usage}), _streamed(
        chunks, "data: [DONE]\n\n"
    )


def _openai_text() -> tuple[bytes, bytes]:
    return _openai(
        [{"role": "assistant", "content": ""}, *({"content": word} for word in TEXT)], {"content": "".join(TEXT)}, "stop"
    )


def _openai_call() -> tuple[bytes, bytes]:
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"question": "what is next"}'}}
    begun = {"role": "assistant", "content": None, "tool_calls": [{"index": 0, **call}]}
    return _openai([begun], {"content": None, "tool_calls": [call]}, "tool_calls")


def _anthropic() -> tuple[bytes, bytes]:
    empty = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5", "content": []}
    begun = {**empty, "stop_reason": None, "usage": {"input_tokens": 900, "output_tokens": 1}}
    deltas = [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in TEXT]
    usage = {"input_tokens": 900, "output_tokens": PIECES}
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    events = [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *deltas,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": PIECES}},
        {"type": "message_stop"},
    ]
    content = [{"type": "text", "text": "".join(TEXT)}]
    return _whole({**empty, "content": content, "stop_reason": "end_turn", "usage": usage}), _streamed(events)


def _google() -> tuple[bytes, bytes]:
    counts = {"promptTokenCount": 900, "candidatesTokenCount": PIECES, "totalTokenCount": 900 + PIECES}
    base = {"modelVersion": "gemini-3.8-flash", "responseId": "one", "usageMetadata": counts}

    def said(text: str, **more: str) -> dict[str, Any]:
        return {**base, "candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, **more}]}

    chunks = [*map(said, TEXT[:-1]), said(TEXT[-1], finishReason="STOP")]
    return _whole(said("".join(TEXT), finishReason="STOP")), _streamed(chunks)


_OPENAI, _OPENAI_CALL, _ANTHROPIC, _GOOGLE = _openai_text(), _openai_call(), _anthropic(), _google()


def answer(path: bytes, body: bytes) -> bytes:
    if b"enerateContent" in path:
        return _GOOGLE[b"stream" in path]
    streamed = _STREAM.search(body) is not None
    if path.endswith(b"/messages"):
        return _ANTHROPIC[streamed]
    calls = b"/calling/" in path and len(_RESULT.findall(body)) < TOOL_RESULTS
    return (_OPENAI_CALL if calls else _OPENAI)[streamed]


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            path = head.split(b" ", 2)[1].partition(b"?")[0]
            delay = _DELAY.search(path)
            if delay is not None:
                await asyncio.sleep(int(delay[1]) / 1000)
            writer.write(answer(path, body))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 24)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until whoever started it is gone
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
