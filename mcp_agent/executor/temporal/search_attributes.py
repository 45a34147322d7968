"""Search attributes by their Python types: text is a keyword."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from mcp_agent.executor.start_options import SearchAttribute

_KEYS: tuple[tuple[type, Any], ...] = (
    (bool, SearchAttributeKey.for_bool),
    (int, SearchAttributeKey.for_int),
    (float, SearchAttributeKey.for_float),
    (datetime, SearchAttributeKey.for_datetime),
    (list, SearchAttributeKey.for_keyword_list),
    (str, SearchAttributeKey.for_keyword),
)


def typed_search_attributes(values: Mapping[str, SearchAttribute]) -> TypedSearchAttributes:
    """The same as Temporal's class."""
    return TypedSearchAttributes([SearchAttributePair(key_of(name, value), cast("Any", value)) for name, value in values.items()])


def key_of(name: str, value: SearchAttribute) -> SearchAttributeKey[Any]:
    return next(key for type_, key in _KEYS if isinstance(value, type_))(name)
