"""Large values as objects of a Google Cloud Storage bucket. Needs the extra `gcs`."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from google.api_core.exceptions import GoogleAPIError, NotFound
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage
from requests.exceptions import RequestException

from mcp_agent.config import GCSSettings
from mcp_agent.errors import ConfigError, StorageUnavailable
from mcp_agent.executor.temporal.blobs.blob import StoredBlob

TIME_LIMIT = 30.0


class GCSStore:
    """Args: `settings`. Nothing is asked of the bucket before the first value. Raises ConfigError without credentials."""

    def __init__(self, settings: GCSSettings) -> None:
        self.where = f"GCS bucket `{settings.bucket}`"
        self._prefix = settings.prefix
        library: Any = storage
        try:
            self._client: Any = library.Client(project=settings.project)
        except (GoogleAuthError, OSError) as error:
            raise ConfigError(f"`temporal.external_storage.gcs`: {error}") from None
        self._bucket: Any = self._client.bucket(settings.bucket)

    def put(self, key: str, content: bytes) -> None:
        with self._reached():
            self._blob(key).upload_from_string(content, content_type="application/octet-stream", timeout=TIME_LIMIT)

    def get(self, key: str) -> bytes | None:
        with self._reached():
            try:
                return self._blob(key).download_as_bytes(timeout=TIME_LIMIT)
            except NotFound:
                return None

    def used_at(self, key: str) -> datetime | None:
        with self._reached():
            found: Any = self._bucket.get_blob(self._prefix + key, timeout=TIME_LIMIT)
            return None if found is None else found.updated

    def listed(self, prefix: str) -> Iterator[StoredBlob]:
        with self._reached():
            for found in self._client.list_blobs(self._bucket, prefix=self._prefix + prefix, timeout=TIME_LIMIT):
                yield StoredBlob(found.name.removeprefix(self._prefix), found.size, found.updated)

    def delete(self, key: str) -> None:
        with self._reached():
            try:
                self._blob(key).delete(timeout=TIME_LIMIT)
            except NotFound:
                return

    def _blob(self, key: str) -> Any:
        return self._bucket.blob(self._prefix + key)

    @contextmanager
    def _reached(self) -> Generator[None, None, None]:
        try:
            yield
        except (GoogleAPIError, GoogleAuthError, RequestException) as error:
            raise StorageUnavailable(
                f"Large values cannot be kept or read in {self.where}: {error}. See `temporal.external_storage.gcs`, and whether "
                "its credentials may read, write, list and delete objects."
            ) from error
