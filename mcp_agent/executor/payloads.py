"""How values travel between a run and its steps: as JSON, on both engines.

The in-process engine sends everything through here too, so that what production cannot carry fails in development. Bytes are
base64 text, and what JSON has no number for (`inf`, `nan`) is text too; a type turns both back. A pydantic model's own
configuration decides for its fields.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

from pydantic import ConfigDict, PydanticUserError, RootModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from mcp_agent.config_stored import ExternalStorageSettings
from mcp_agent.errors import InvalidArguments, WorkflowApplicationError
from mcp_agent.executor.problems import describe_problems

T = TypeVar("T")

# Temporal refuses 2 MB, and some of what it refuses is tried again for ever: so it is refused here, with a name.
PAYLOAD_LIMIT = 1_900_000
AS_JSON = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings")


def json_of(value: Any) -> bytes:
    """The JSON of a value, in UTF-8. Raises PydanticSerializationError if it has none."""
    return to_json(value, bytes_mode="base64", inf_nan_mode="strings")


class _Root(RootModel[T], Generic[T]):
    model_config = AS_JSON


class _Reader:
    """Reads one type. Models and dataclasses take no configuration but their own or that of what they stand in."""

    def __init__(self, type_: Any) -> None:
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(type_, config=AS_JSON)
            self._wrapped = False
        except PydanticUserError as error:
            if error.code != "type-adapter-config-unused":
                raise
            self._adapter = TypeAdapter(cast("Any", _Root)[type_])
            self._wrapped = True

    def read(self, data: bytes) -> Any:
        value = self._adapter.validate_json(data)
        return value.root if self._wrapped else value


# In Temporal's sandbox types are new for each run: those of runs that are gone should not be kept for long.
@lru_cache(maxsize=256)
def _reader(type_: Any) -> _Reader:
    return _Reader(type_)


def largest_value(storage: ExternalStorageSettings | None) -> int:
    """The most bytes that one value of a run may have as JSON."""
    return PAYLOAD_LIMIT if storage is None else storage.max_payload_bytes


def encode(value: Any, what: str, largest: int = PAYLOAD_LIMIT) -> bytes:
    """The JSON of a value. `what` names it in errors; `largest` is what `largest_value` says.

    Raises:
        WorkflowApplicationError: Type `UnserializableValue`: it has no JSON form. Type `PayloadTooLarge`: it is larger
            than a run can store.
    """
    try:
        data = json_of(value)
    except PydanticSerializationError as error:
        raise WorkflowApplicationError(
            f"{what} cannot be stored as JSON ({error}): {remedy(error)}.", type="UnserializableValue", non_retryable=True
        ) from None
    if len(data) > largest:
        raise too_large(what, len(data), largest)
    return data


def too_large(what: str, size: int, largest: int) -> WorkflowApplicationError:
    """The error for a value that is larger than a run can store."""
    return WorkflowApplicationError(
        f"{what} has {size:,} bytes; at most {largest:,} can be stored with a run: pass a reference, or see "
        "`temporal.external_storage`.",
        type="PayloadTooLarge",
        non_retryable=True,
    )


def remedy(error: PydanticSerializationError) -> str:
    """What to do about a value that has no JSON form."""
    if "invalid utf-8" in str(error):
        return 'give the model `model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")`'
    return "use plain data, dataclasses or pydantic models"


def check_size(args: Sequence[Any], largest: int = PAYLOAD_LIMIT) -> int:
    """How many bytes arguments have as JSON. Raises InvalidArguments for more than a run can store, and for no such form."""
    try:
        size = len(json_of(list(args)))
    except PydanticSerializationError as error:
        raise InvalidArguments(f"An argument has no JSON form ({error}): {remedy(error)}.") from None
    if size > largest:
        raise InvalidArguments(f"The arguments have {size:,} bytes; at most {largest:,} can be stored with a run.")
    return size


def decode(data: bytes, type_: Any) -> Any:
    """The value of a JSON text as `type_`; plain data where the type is `None` or `Any`. Raises ValidationError."""
    return _reader(Any if type_ is None else type_).read(data)


@contextmanager
def reading(what: str) -> Generator[None, None, None]:
    """Values are read in the block. `what` names them in errors.

    Raises:
        WorkflowApplicationError: Type `UnreadableValue`: a value does not fit its type.
    """
    try:
        yield
    except (ValidationError, PydanticUserError) as error:
        why = describe_problems(error) if isinstance(error, ValidationError) else str(error).partition("\n")[0]
        raise WorkflowApplicationError(
            f"{what} does not fit its type: {why}.", type="UnreadableValue", non_retryable=True
        ) from None


def round_trip(value: Any, type_: Any, what: str) -> Any:
    """What arrives on the other side. Raises WorkflowApplicationError as `encode` and `reading` do."""
    data = encode(value, what)
    with reading(what):
        return decode(data, type_)
