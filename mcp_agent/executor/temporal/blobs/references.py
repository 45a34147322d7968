"""References to large values, as Temporal's SDK writes them into a history."""

from __future__ import annotations

from google.protobuf.json_format import Parse
from temporalio.api.common.v1 import Payload
from temporalio.api.sdk.v1.external_storage_pb2 import ExternalStorageReference
from temporalio.converter import PayloadCodec

_MESSAGE = ExternalStorageReference.DESCRIPTOR.full_name.encode()
# What later versions of the SDK write is marked so, and has gone through the codec.
_MARK = "__temporal_external_storage_reference"


def is_reference(payload: Payload) -> bool:
    """Whether a payload stands for a value that is kept elsewhere."""
    return payload.metadata.get("messageType") == _MESSAGE or _MARK in payload.metadata


async def reference_of(payload: Payload, codec: PayloadCodec | None) -> ExternalStorageReference | None:
    """What a payload refers to; `None` for one that holds its value itself. Raises as the codec."""
    if _MARK in payload.metadata and codec is not None:
        unmarked = Payload()
        unmarked.CopyFrom(payload)
        del unmarked.metadata[_MARK]
        del unmarked.external_payloads[:]
        (payload,) = await codec.decode([unmarked])
    if payload.metadata.get("messageType") != _MESSAGE:
        return None
    return Parse(payload.data, ExternalStorageReference())
