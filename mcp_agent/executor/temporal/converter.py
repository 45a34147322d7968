"""How this package's values become Temporal's payloads: `json/plain`, written and read as the in-process engine does."""

from __future__ import annotations

import dataclasses
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import (
    BinaryNullPayloadConverter,
    BinaryPlainPayloadConverter,
    BinaryProtoPayloadConverter,
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    JSONProtoPayloadConverter,
)

from mcp_agent.executor.payloads import decode, json_of


class JSONPayloadConverter(EncodingPayloadConverter):
    """Every value that pydantic can write, and every type that it can read."""

    @property
    def encoding(self) -> str:
        return "json/plain"

    def to_payload(self, value: Any) -> Payload | None:
        return Payload(metadata={"encoding": b"json/plain"}, data=json_of(value))

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        return decode(payload.data, type_hint)


class AgentPayloadConverter(CompositePayloadConverter):
    """Bytes are JSON too, unlike with Temporal's own converters, whose payloads it reads."""

    def __init__(self) -> None:
        super().__init__(
            BinaryNullPayloadConverter(),
            JSONProtoPayloadConverter(),
            BinaryProtoPayloadConverter(),
            JSONPayloadConverter(),
            BinaryPlainPayloadConverter(),
        )


def agent_data_converter() -> DataConverter:
    """The converter of this package's clients."""
    return DataConverter(payload_converter_class=AgentPayloadConverter)


def with_models(converter: DataConverter | None) -> DataConverter:
    """That converter, able to write and read models where it has one of Temporal's; somebody's own stays as it is."""
    if converter is None:
        return agent_data_converter()
    if converter.payload_converter_class in (DefaultPayloadConverter, PydanticPayloadConverter):
        return dataclasses.replace(converter, payload_converter_class=AgentPayloadConverter)
    return converter
