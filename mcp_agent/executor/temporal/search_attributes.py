"""What runs are searched by: the caller's attributes, by their Python types, and this package's where the namespace has them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError

from mcp_agent.executor.start_options import SearchAttribute
from mcp_agent.executor.temporal.client import RPC_TIMEOUT
from mcp_agent.executor.temporal.names import OWNER_ATTRIBUTE, WORKFLOW_ATTRIBUTE

logger = logging.getLogger(__name__)

OWN = (WORKFLOW_ATTRIBUTE, OWNER_ATTRIBUTE)
_KEYS: tuple[tuple[type, Any], ...] = (
    (bool, SearchAttributeKey.for_bool),
    (int, SearchAttributeKey.for_int),
    (float, SearchAttributeKey.for_float),
    (datetime, SearchAttributeKey.for_datetime),
    (list, SearchAttributeKey.for_keyword_list),
    (str, SearchAttributeKey.for_keyword),
)


def typed_search_attributes(values: Mapping[str, SearchAttribute]) -> TypedSearchAttributes:
    """The same as Temporal's class; text is a keyword."""
    return TypedSearchAttributes([SearchAttributePair(key_of(name, value), cast("Any", value)) for name, value in values.items()])


def key_of(name: str, value: SearchAttribute) -> SearchAttributeKey[Any]:
    return next(key for type_, key in _KEYS if isinstance(value, type_))(name)


class OwnAttributes:
    """Those of this package's attributes that a namespace has.

    Args:
        names: Of `mcp_agent_workflow` and `mcp_agent_owner`.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def of(self, workflow: str, given: Mapping[str, SearchAttribute] | None = None) -> TypedSearchAttributes:
        """The attributes of a run of `workflow`, with those that its caller has given."""
        own: dict[str, SearchAttribute] = {WORKFLOW_ATTRIBUTE: workflow} if WORKFLOW_ATTRIBUTE in self._names else {}
        return typed_search_attributes({**own, **(given or {})})


async def own_attributes(client: Client, *, add: bool) -> OwnAttributes:
    """Asks the namespace which it has; with `add` the missing ones are added first, which not every account may do."""
    try:
        there = await _names(client)
        missing = [name for name in OWN if name not in there]
        if add and missing:
            await _add(client, missing)
            return OwnAttributes(frozenset(OWN))
        return OwnAttributes(there.intersection(OWN))
    except RPCError as error:  # not every account may ask
        logger.info("runs get no search attributes of this package: %s", error)
        return OwnAttributes(frozenset())


async def _names(client: Client) -> frozenset[str]:
    request = ListSearchAttributesRequest(namespace=client.namespace)
    answer = await client.operator_service.list_search_attributes(request, retry=True, timeout=RPC_TIMEOUT)
    return frozenset(answer.custom_attributes)


async def _add(client: Client, names: Sequence[str]) -> None:
    types = dict.fromkeys(names, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD)
    request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=types)
    await client.operator_service.add_search_attributes(request, retry=True, timeout=RPC_TIMEOUT)
