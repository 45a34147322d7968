"""Large values as files of a folder."""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from mcp_agent.errors import StorageUnavailable
from mcp_agent.executor.temporal.blobs.blob import StoredBlob

UNFINISHED = ".part"


class FolderStore:
    """For this user's eyes only; what was put survives a power cut. Args: `folder`, made when it is not there."""

    def __init__(self, folder: Path) -> None:
        self.where = f"folder `{folder}`"
        self._folder = folder

    def put(self, key: str, content: bytes) -> None:
        path = self._folder / key
        with self._reached():
            if path.exists() and path.stat().st_size == len(content):
                os.utime(path)
                return
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}{UNFINISHED}")
            try:
                _write_through(unfinished, content)
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
            _sync(path.parent)

    def get(self, key: str) -> bytes | None:
        with self._reached():
            try:
                return (self._folder / key).read_bytes()
            except FileNotFoundError:
                return None

    def used_at(self, key: str) -> datetime | None:
        with self._reached():
            try:
                return _time_of(os.stat(self._folder / key))
            except FileNotFoundError:
                return None

    def listed(self, prefix: str) -> Iterator[StoredBlob]:
        """What a crash has left unfinished is among them: nobody needs it."""
        with self._reached():
            for path in sorted((self._folder / prefix).rglob("*")):
                if path.is_file():
                    found = path.stat()
                    yield StoredBlob(path.relative_to(self._folder).as_posix(), found.st_size, _time_of(found))

    def delete(self, key: str) -> None:
        with self._reached():
            (self._folder / key).unlink(missing_ok=True)

    @contextmanager
    def _reached(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError as error:
            raise StorageUnavailable(
                f"Large values cannot be kept or read in {self.where}: {error.strerror or error}. See "
                "`temporal.external_storage.folder`."
            ) from error


def _write_through(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _time_of(found: os.stat_result) -> datetime:
    return datetime.fromtimestamp(found.st_mtime, UTC)
