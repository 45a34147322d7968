"""The keys that values are encrypted with: one encrypts, all decrypt. Those of files and commands change while runs go on."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mcp_agent.config import CompressionMethod, DataConverterSettings, KeySettings
from mcp_agent.errors import ConfigError
from mcp_agent.executor.temporal.cipher import KEY_ID, EncryptionConverter, read_key

logger = logging.getLogger(__name__)

WHERE = "temporal.data_converter"
LOOK_EVERY = 1.0
"""Seconds after which a file is looked at again."""

ASK_EVERY = 5.0
"""Seconds between two searches for key ids that nobody knows: payloads with made-up ids do not make commands run without end."""


@dataclass(frozen=True, slots=True)
class Keys:
    """One state of a ring.

    Attributes:
        active: Encrypts.
        by_id: All of them; they decrypt.
    """

    active: EncryptionConverter
    by_id: Mapping[str, EncryptionConverter]


class KeySource(Protocol):
    """Where keys come from. `name` is the setting, for errors."""

    name: str

    def read(self) -> Sequence[EncryptionConverter]:
        """The keys of now; may block. Raises ConfigError, which holds no key."""
        ...

    def is_due(self) -> bool:
        """Whether it should be read again; does not block."""
        ...


class GivenKeys:
    """Keys that do not change."""

    def __init__(self, keys: Sequence[EncryptionConverter], name: str = "encryption_key") -> None:
        self.name = name
        self._keys = keys

    def read(self) -> Sequence[EncryptionConverter]:
        return self._keys

    def is_due(self) -> bool:
        return False


class KeyFile:
    """Keys of a file, which may be replaced at any time."""

    def __init__(self, path: Path, parse: Callable[[str], Sequence[EncryptionConverter]], name: str) -> None:
        self.name = name
        self._path = path
        self._parse = parse
        self._seen: tuple[int, ...] | None = None

    def read(self) -> Sequence[EncryptionConverter]:
        self._seen = self._state()  # before the text: what is changed meanwhile is read again
        try:
            return self._parse(self._path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            raise ConfigError(f"`{self.name}` names `{self._path}`, which is no text.") from None
        except OSError as error:
            raise ConfigError(f"`{self.name}` names `{self._path}`, which cannot be read: {error.strerror}.") from None

    def is_due(self) -> bool:
        return self._state() != self._seen

    def _state(self) -> tuple[int, ...] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns


class KeyCommand:
    """Keys that a command prints, such as that of a vault. Neither its output nor its complaints are ever told."""

    def __init__(
        self,
        settings: KeySettings,
        parse: Callable[[str], Sequence[EncryptionConverter]],
        name: str,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self._command = settings.command or []
        self._timeout = settings.timeout_seconds
        self._refresh = settings.refresh_seconds
        self._parse = parse
        self._clock = clock
        self._read_at = clock()

    def read(self) -> Sequence[EncryptionConverter]:
        self._read_at = self._clock()
        program = f"`{self.name}`: `{self._command[0]}`"
        try:
            done = subprocess.run(
                self._command, stdin=subprocess.DEVNULL, capture_output=True, timeout=self._timeout, check=False
            )
        except subprocess.TimeoutExpired:
            raise ConfigError(f"{program} did not end in {self._timeout:g} s: see why, or raise `timeout_seconds`.") from None
        except OSError as error:
            raise ConfigError(f"{program} cannot be run: {error.strerror}.") from None
        if done.returncode:
            raise ConfigError(f"{program} ended with status {done.returncode}: run it by hand to see why.")
        return self._parse(done.stdout.decode("utf-8", "replace"))

    def is_due(self) -> bool:
        return self._refresh is not None and self._clock() - self._read_at >= self._refresh


class KeyRing:
    """Args:
        sources: Read at once.
        active: The id of the key that encrypts; the first one by default.
        clock: Seconds that only go forward.

    Raises:
        ConfigError: A source cannot be read, there is no key, two have one id, or none is `active`.
    """

    def __init__(
        self, sources: Sequence[KeySource], active: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sources = sources
        self._active = active
        self._clock = clock
        self._reading = threading.Lock()
        self._read = {source.name: source.read() for source in sources}
        self.keys = self._assembled()
        self._look_at = self._ask_at = clock()

    async def current(self) -> Keys:
        """The keys of now. Where a source cannot be read, those of before go on, and the log says so."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            due = [source for source in self._sources if source.is_due()]
            if due:
                await asyncio.to_thread(self._read_again, due)
        return self.keys

    async def find(self, key_id: str) -> EncryptionConverter | None:
        """The key of that id; the sources are asked for one that is not known."""
        if key_id not in self.keys.by_id and self._clock() >= self._ask_at:
            self._ask_at = self._clock() + ASK_EVERY
            changing = [source for source in self._sources if not isinstance(source, GivenKeys)]
            if changing:
                await asyncio.to_thread(self._read_again, changing)
        return self.keys.by_id.get(key_id)

    def _read_again(self, sources: Sequence[KeySource]) -> None:
        with self._reading:
            before = self._read
            try:
                self._read = before | {source.name: source.read() for source in sources}
                keys = self._assembled()
            except ConfigError as error:
                self._read = before
                logger.warning("the keys of before stay in use: %s", error)
                return
            if keys.active.key_id != self.keys.active.key_id:
                logger.info("values are encrypted with key `%s` from now on", keys.active.key_id)
            self.keys = keys

    def _assembled(self) -> Keys:
        found = [key for source in self._sources for key in self._read[source.name]]
        by_id: dict[str, EncryptionConverter] = {}
        for key in found:
            if key.key_id in by_id:
                raise ConfigError(f"Two keys have the id `{key.key_id}`: give each key once, and each another `key_id`.")
            by_id[key.key_id] = key
        if not found:
            raise ConfigError("No key is given: use `CompositeConverter(EncryptionConverter(encryption_key))`.")
        if self._active is not None and self._active not in by_id:
            known = ", ".join(f"`{key_id}`" for key_id in by_id)
            raise ConfigError(f"`{WHERE}.active_key` is `{self._active}`, and no key has this id; there is {known}.")
        return Keys(by_id[self._active] if self._active is not None else found[0], by_id)


def configured_keys(settings: DataConverterSettings, clock: Callable[[], float] = time.monotonic) -> KeyRing:
    """The keys of the configuration. Reads files and runs commands.

    Raises:
        ConfigError: A key cannot be used; names the setting, not its value.
    """
    method = settings.compression
    if settings.encryption_key is not None:
        given = [(settings.encryption_key, f"{WHERE}.encryption_key")]
        given += [(key, f"{WHERE}.previous_keys.{number}") for number, key in enumerate(settings.previous_keys)]
        keys = [_key(secret.get_secret_value(), None, name, method) for secret, name in given]
        return KeyRing([GivenKeys(keys)], clock=clock)
    sources = [_source(key, f"{WHERE}.keys.{number}", method, clock) for number, key in enumerate(settings.keys)]
    return KeyRing(sources, settings.active_key, clock)


def _source(settings: KeySettings, name: str, method: CompressionMethod | None, clock: Callable[[], float]) -> KeySource:
    if settings.secret is not None:
        secret = settings.secret.get_secret_value()
        return GivenKeys([_key(secret, settings.id, f"{name}.secret", method)], name)

    def parse(text: str) -> Sequence[EncryptionConverter]:
        return _parsed_keys(text, settings.id, f"{name}.{'file' if settings.command is None else 'command'}", method)

    if settings.file is not None:
        return KeyFile(settings.file, parse, f"{name}.file")
    return KeyCommand(settings, parse, f"{name}.command", clock)


def _parsed_keys(text: str, key_id: str | None, name: str, method: CompressionMethod | None) -> list[EncryptionConverter]:
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise ConfigError(f"`{name}` holds no key: one a line is wanted, its id before it.")
    if key_id is not None and (len(lines) > 1 or len(lines[0]) > 1):
        raise ConfigError(f"`{name}` holds more than one lone key: leave out the `id` beside it.")
    if any(len(words) > 2 for words in lines):
        raise ConfigError(f"`{name}` holds a line of more than two words: an id, a space and a key are wanted.")
    if not all(KEY_ID.fullmatch(words[0]) for words in lines if len(words) > 1):  # not quoted: it may be a key
        raise ConfigError(f"`{name}` holds an id that is none: use 1 to 64 letters, digits, `.`, `_`, `:` and `-`.")
    return [_key(words[-1], key_id if len(words) == 1 else words[0], name, method) for words in lines]


def _key(secret: str, key_id: str | None, name: str, method: CompressionMethod | None) -> EncryptionConverter:
    return EncryptionConverter(read_key(secret, name), compress=method or False, key_id=key_id)
