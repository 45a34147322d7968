"""Where large values are kept: named pieces of bytes, in a folder or a bucket."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from datetime import datetime
from types import ModuleType
from typing import Protocol

from mcp_agent.config import ExternalStorageSettings
from mcp_agent.errors import ConfigError
from mcp_agent.executor.temporal.blobs.blob import StoredBlob
from mcp_agent.executor.temporal.blobs.folder import FolderStore

WHERE = "temporal.external_storage"


class BlobStore(Protocol):
    """Its methods block, are called from any thread, and raise StorageUnavailable. `where` is for errors."""

    where: str

    def put(self, key: str, content: bytes) -> None:
        """Keeps it, whole or not at all; what is there already counts as put now."""
        ...

    def get(self, key: str) -> bytes | None:
        """The content; `None` if it is not there."""
        ...

    def used_at(self, key: str) -> datetime | None:
        """See `StoredBlob`; `None` if it is not there."""
        ...

    def listed(self, prefix: str) -> Iterator[StoredBlob]:
        """All whose names begin so."""
        ...

    def delete(self, key: str) -> None:
        """Harmless for what is not there."""
        ...


def open_store(settings: ExternalStorageSettings) -> BlobStore:
    """The store of the configuration. Raises ConfigError if it cannot be had."""
    if settings.folder is not None:
        return FolderStore(settings.folder)
    # Imported for whoever uses them: they are extras.
    if settings.s3 is not None:
        return _extra("s3", "boto3").S3Store(settings.s3)
    assert settings.gcs is not None
    return _extra("gcs", "google-cloud-storage").GCSStore(settings.gcs)


def _extra(name: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(f"mcp_agent.executor.temporal.blobs.{name}")
    except ImportError as error:
        raise ConfigError(
            f"`{WHERE}.{name}` needs `{package}` ({error}): install it with `pip install 'durable-mcp-agent[{name}]'`."
        ) from None
