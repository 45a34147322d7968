"""How values travel between a run and its steps: JSON by pydantic, as Temporal's pydantic converter writes it.

The in-process engine sends everything through here too, so that what production cannot carry fails in development.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError, to_json

from mcp_agent.errors import InvalidArguments, WorkflowApplicationError

# Temporal refuses 2 MB, and some of what it refuses is tried again for ever: so it is refused here, with a name.
PAYLOAD_LIMIT = 1_900_000


@lru_cache(maxsize=1_000)
def _adapter(type_: Any) -> TypeAdapter[Any]:
    return TypeAdapter(type_)


def encode(value: Any, what: str) -> bytes:
    """The JSON of a value. `what` names it in errors.

    Raises:
        WorkflowApplicationError: Type `UnserializableValue`: it has no JSON form. Type `PayloadTooLarge`: it is larger
            than a run can store.
    """
    try:
        data = to_json(value)
    except PydanticSerializationError as error:
        raise WorkflowApplicationError(
            f"{what} cannot be stored as JSON ({error}): use plain data, dataclasses or pydantic models.",
            type="UnserializableValue",
            non_retryable=True,
        ) from None
    if len(data) > PAYLOAD_LIMIT:
        raise WorkflowApplicationError(
            f"{what} has {len(data):,} bytes; at most {PAYLOAD_LIMIT:,} can be stored with a run: pass a reference.",
            type="PayloadTooLarge",
            non_retryable=True,
        )
    return data


def check_size(args: Sequence[Any]) -> None:
    """Raises InvalidArguments for arguments that are more than a run can store."""
    size = len(to_json(list(args)))
    if size > PAYLOAD_LIMIT:
        raise InvalidArguments(f"The arguments have {size:,} bytes; at most {PAYLOAD_LIMIT:,} can be stored with a run.")


def decode(data: bytes, type_: Any) -> Any:
    """The value of a JSON text as `type_`; plain data where the type is `None` or `Any`. Raises ValidationError."""
    return _adapter(Any if type_ is None else type_).validate_json(data)


def round_trip(value: Any, type_: Any, what: str) -> Any:
    """What arrives on the other side."""
    return decode(encode(value, what), type_)
