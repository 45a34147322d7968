"""What a server of Gemini's API says, byte by byte."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from tests.providers_http import Respond, http, raw_server, writes

gemini_server = partial(raw_server, path="")


def sse(*chunks: Any) -> bytes:
    """The whole of a stream of these; a text goes out as it is."""
    body = "".join(chunk if isinstance(chunk, str) else f"data: {json.dumps(chunk)}\r\n\r\n" for chunk in chunks)
    return http(body.encode(), content_type="text/event-stream")


def said(*parts: dict[str, Any], finish: str | None = "STOP", **more: Any) -> dict[str, Any]:
    """An answer, or a piece of one where there is no `finish`."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "gemini-3.8-flash-001", **more}


def refused(status: str, code: int, message: str = "said Google", *details: dict[str, Any], **headers: str) -> bytes:
    error = {"code": code, "message": message, "status": status, "details": list(details)}
    return http(json.dumps({"error": error}).encode(), f"{code} {status}", **headers)


def says(*answers: dict[str, Any]) -> Respond:
    return writes(*(http(json.dumps(answer).encode()) for answer in answers))


stalls_after = writes
"""What an answer begins with, after which nothing comes."""
