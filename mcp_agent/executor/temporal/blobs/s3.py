"""Large values as objects of an S3 bucket. Needs the extra `s3`."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mcp_agent.config import S3Settings
from mcp_agent.errors import StorageUnavailable
from mcp_agent.executor.temporal.blobs.blob import StoredBlob

_ABSENT = ("404", "NoSuchKey", "NotFound")
_PATIENT = Config(
    retries={"mode": "standard", "total_max_attempts": 4}, connect_timeout=5, read_timeout=30, max_pool_connections=32
)


class S3Store:
    """Args: `settings`. Nothing is asked of the bucket before the first value."""

    def __init__(self, settings: S3Settings) -> None:
        self.where = f"S3 bucket `{settings.bucket}`"
        self._bucket = settings.bucket
        self._prefix = settings.prefix
        secret = settings.secret_access_key
        session: Any = boto3
        self._client: Any = session.client(
            "s3",
            region_name=settings.region,
            endpoint_url=settings.endpoint_url,
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=None if secret is None else secret.get_secret_value(),
            config=_PATIENT,
        )

    def put(self, key: str, content: bytes) -> None:
        with self._reached("s3:PutObject"):
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=content)

    def get(self, key: str) -> bytes | None:
        with self._reached("s3:GetObject"):
            try:
                return self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].read()
            except ClientError as error:
                return _none_if_absent(error)

    def used_at(self, key: str) -> datetime | None:
        with self._reached("s3:GetObject"):
            try:
                return self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)["LastModified"]
            except ClientError as error:
                return _none_if_absent(error)

    def listed(self, prefix: str) -> Iterator[StoredBlob]:
        with self._reached("s3:ListBucket"):
            pages: Any = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for found in page.get("Contents", ()):
                    yield StoredBlob(found["Key"].removeprefix(self._prefix), found["Size"], found["LastModified"])

    def delete(self, key: str) -> None:
        with self._reached("s3:DeleteObject"):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    @contextmanager
    def _reached(self, permission: str) -> Generator[None, None, None]:
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise StorageUnavailable(
                f"Large values cannot be kept or read in {self.where}: {error}. See `temporal.external_storage.s3`, and whether "
                f"its credentials allow `{permission}` (and `s3:ListBucket`, without which what is not there looks forbidden)."
            ) from error


def _none_if_absent(error: ClientError) -> None:
    response: Any = error.response
    if response.get("Error", {}).get("Code") not in _ABSENT:
        raise error
