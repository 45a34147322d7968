"""Whose large values a store keeps: two Temporals with a namespace of one name must not share it, or cleaning up loses values."""

from __future__ import annotations

import asyncio

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from mcp_agent.errors import ConfigError
from mcp_agent.executor.temporal.blobs.driver import BlobDriver, prefix_of
from mcp_agent.executor.temporal.blobs.store import WHERE, BlobStore

OWNER = "owner"


async def claim_store(client: Client, driver: BlobDriver) -> None:
    """Notes whose values are kept here, or sees that it is noted.

    Raises:
        ConfigError: They are another Temporal's.
        StorageUnavailable: The store cannot be reached.
    """
    request = DescribeNamespaceRequest(namespace=client.namespace)
    described = await client.workflow_service.describe_namespace(request, retry=True)
    await asyncio.to_thread(_claim, driver.blobs, driver.namespace, described.namespace_info.id)


def _claim(store: BlobStore, namespace: str, namespace_id: str) -> None:
    key = prefix_of(namespace) + OWNER
    noted = store.get(key)
    if noted is None:
        store.put(key, namespace_id.encode())
    elif noted.decode(errors="replace") != namespace_id:
        raise ConfigError(
            f"`{WHERE}`: {store.where} keeps the large values of another Temporal's namespace `{namespace}`: give each its own."
        )
