"""Temporal's external storage: what is large is kept in a store by its content, and the history holds a reference.

The codec comes first: where there is encryption, what is kept is cipher text. A reference is

    driver      `mcp-agent.blobs`, whatever the store is: what was copied to another is found there
    claim       `sha256` of what is kept, and its `size`

and the name in the store is `<namespace>/<first two digits>/<sha256>`.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from urllib.parse import quote

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from mcp_agent.errors import PayloadMissing, UnreadablePayload
from mcp_agent.executor.temporal.blobs.store import BlobStore
from mcp_agent.executor.temporal.compression import parsed

# Stored with runs: changing one makes what is stored unreadable.
NAME = "mcp-agent.blobs"
DIGEST, SIZE = "sha256", "size"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class BlobDriver(StorageDriver):
    """Args:
    store: Where they are kept.
    namespace: The runs'.
    writes: Whether anything is kept: a replay makes the references of what it would keep, and keeps nothing.
    """

    def __init__(self, store: BlobStore, namespace: str, *, writes: bool = True) -> None:
        self.blobs = store
        self.namespace = namespace
        self._writes = writes

    def name(self) -> str:
        return NAME

    def type(self) -> str:
        return NAME

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Raises StorageUnavailable."""
        return list(await asyncio.gather(*(asyncio.to_thread(self._put, payload) for payload in payloads)))

    async def retrieve(self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]) -> list[Payload]:
        """Raises PayloadMissing, UnreadablePayload for what was changed, or StorageUnavailable."""
        return list(await asyncio.gather(*(asyncio.to_thread(self._get, claim) for claim in claims)))

    def _put(self, payload: Payload) -> StorageDriverClaim:
        content = payload.SerializeToString(deterministic=True)
        digest = hashlib.sha256(content).hexdigest()
        if self._writes:
            self.blobs.put(blob_key(self.namespace, digest), content)
        return StorageDriverClaim({DIGEST: digest, SIZE: str(len(content))})

    def _get(self, claim: StorageDriverClaim) -> Payload:
        digest = claim.claim_data.get(DIGEST, "")
        if not _DIGEST.fullmatch(digest):
            raise UnreadablePayload(
                f"A reference to a large value names no digest but `{digest[:70]}`: another program wrote it."
            )
        key = blob_key(self.namespace, digest)
        content = self.blobs.get(key)
        if content is None:
            raise PayloadMissing(
                f"A value of {claim.claim_data.get(SIZE, 'many')} bytes is not where it was kept: `{key}` in {self.blobs.where}. "
                "Put it back from a backup, or see whether `temporal.external_storage` is that of the worker that kept it.",
                key=key,
            )
        if hashlib.sha256(content).hexdigest() != digest:
            raise UnreadablePayload(f"`{key}` in {self.blobs.where} was changed where it is kept: put it back from a backup.")
        return parsed(content)


def prefix_of(namespace: str) -> str:
    """What the names of a namespace's values begin with."""
    return f"{quote(namespace, safe='')}/"


def blob_key(namespace: str, digest: str) -> str:
    return f"{prefix_of(namespace)}{digest[:2]}/{digest}"
