"""The payloads of what Temporal's API tells: events, descriptions, requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload


def payloads_in(message: Message) -> Iterator[Payload]:
    """Every payload in a message, however deep."""
    if isinstance(message, Payload):
        yield message
        return
    for _, value in message.ListFields():
        for part in _parts(value):
            yield from payloads_in(part)


def _parts(value: Any) -> list[Message]:
    """The messages that a field holds: itself, its items, or the values of a map."""
    if isinstance(value, Message):
        return [value]
    if isinstance(value, str | bytes | int | float):
        return []
    items: Any = value.values() if hasattr(value, "values") else value
    return [item for item in items if isinstance(item, Message)]
