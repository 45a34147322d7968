"""Encryption of what Temporal stores, on this side of its API (specification, "Data Encryption" and "Temporal Cloud").

Every payload is sealed with AES-256-GCM before it is sent: arguments, results, memos, signals, updates, queries,
heartbeats, headers, and messages and stack traces of failures. A sealed payload is

    metadata    encoding, cipher and key id, and `zlib` where it was compressed: readable, and authenticated
    data        12 random bytes, new for each payload; then the sealed payload and 16 bytes of tag

`temporalio` has no `EncryptionConverter` and no `CompositeConverter`; these have the specification's call shape.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import dataclasses
import hashlib
import hmac
import os
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
    PayloadConverter,
)
from temporalio.exceptions import FailureError

from mcp_agent.config import DataConverterSettings
from mcp_agent.errors import ConfigError, EncryptionError
from mcp_agent.executor.temporal.converter import agent_data_converter

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# Stored with runs: changing one makes what is stored unreadable.
ENCODING = b"binary/encrypted"
CIPHER = b"aes256gcm"
ZLIB = b"zlib"
CIPHER_FIELD = "encryption-cipher"
KEY_FIELD = "encryption-key-id"
COMPRESSION_FIELD = "encryption-compression"

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
LARGE = 256 * 1024  # bytes; with more, the event loop would stand still for some milliseconds
LARGEST = 64 * 1024 * 1024  # bytes that a compressed payload may have when it is opened
_KEY_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
HIDDEN = "Encoded failure"  # what temporalio puts where a message was
SEALED_TEXT = "mcp_agent.encrypted:"
LONGEST_TEXT = 1_500  # characters; it travels in a header of the answer, twice


class EncryptionConverter:
    """One key, and how it is used.

    Args:
        key: 32 bytes: as they are, or as URL-safe base64 in bytes or text, as `Fernet.generate_key()` returns them.
        compress: Compress with zlib what becomes smaller by it. Sizes then tell something of the content.
        key_id: Stored in clear with each payload, to find the key again; a short hash of the key by default.

    Raises:
        ConfigError: The key or its id cannot be used. The text never holds the key.
    """

    def __init__(self, key: bytes | str, *, compress: bool = False, key_id: str | None = None) -> None:
        raw = read_key(key, "encryption_key")
        if key_id is not None and not _KEY_ID.fullmatch(key_id):
            raise ConfigError(f"`key_id` is `{key_id[:64]}`: use 1 to 64 letters, digits, `.`, `_`, `:` and `-`.")
        self.key_id = key_id or hashlib.sha256(b"mcp_agent.key_id\0" + raw).hexdigest()[:12]
        self.compress = compress
        self._cipher = _aes_gcm(raw)
        self._mark_key = hmac.digest(raw, b"mcp_agent.mark", "sha256")

    def __repr__(self) -> str:
        return f"EncryptionConverter(key_id={self.key_id!r}, compress={self.compress})"

    def seal(self, payload: Payload) -> Payload:
        """The payload with its metadata, encrypted."""
        content, compression = payload.SerializeToString(), b""
        if self.compress and len(content) <= LARGEST and len(squeezed := zlib.compress(content)) < len(content):
            content, compression = squeezed, ZLIB
        metadata = {"encoding": ENCODING, CIPHER_FIELD: CIPHER, KEY_FIELD: self.key_id.encode()}
        if compression:
            metadata[COMPRESSION_FIELD] = compression
        nonce = os.urandom(NONCE_BYTES)
        return Payload(metadata=metadata, data=nonce + self._cipher.encrypt(nonce, content, _bound(metadata)))

    def open(self, payload: Payload) -> Payload:
        """The payload that was sealed with this key.

        Raises:
            EncryptionError: It was changed since, sealed with another key, or is too large.
        """
        # Loaded with the cipher, when there is a key.
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        nonce, sealed = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        if len(sealed) < TAG_BYTES:
            raise EncryptionError(f"A payload of key `{self.key_id}` is cut short: it was damaged where it is stored.")
        try:
            content = self._cipher.decrypt(nonce, sealed, _bound(payload.metadata))
        except InvalidTag:
            raise EncryptionError(
                f"Key `{self.key_id}` does not open a payload that names it: the payload was changed where it is stored, or "
                "another key had this id. Use the key that the run was begun with."
            ) from None
        return _parsed(_inflated(content) if COMPRESSION_FIELD in payload.metadata else content)

    def mark(self, data: bytes) -> str:
        """A digest of data that can be stored in clear: without the key no guess can be tried."""
        return hmac.new(self._mark_key, data, "sha256").hexdigest()


class EncryptionCodec(PayloadCodec):
    """Seals with the first key, opens with all. What is not encrypted passes: it is from before encryption was turned on.

    Args:
        converters: The keys.

    Raises:
        ConfigError: There are none, or two have one id.
    """

    def __init__(self, converters: Sequence[EncryptionConverter]) -> None:
        if not converters:
            raise ConfigError("No key is given: use `CompositeConverter(EncryptionConverter(encryption_key))`.")
        self._first = converters[0]
        self._by_id = {converter.key_id: converter for converter in converters}
        if len(self._by_id) < len(converters):
            ids = [converter.key_id for converter in converters]
            twice = next(key_id for key_id in ids if ids.count(key_id) > 1)
            raise ConfigError(f"Two keys have the id `{twice}`: give each key once, and each another `key_id`.")

    def __repr__(self) -> str:
        return f"EncryptionCodec({list(self._by_id.values())!r})"

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return await _each(self._first.seal, payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises EncryptionError for what cannot be opened."""
        return await _each(self._open, payloads)

    def mark(self, data: bytes) -> str:
        """See `EncryptionConverter.mark`."""
        return self._first.mark(data)

    def seal_text(self, text: str) -> str:
        """Text that may stand where Temporal has no payload; its end is cut off where it is long."""
        sealed = self._first.seal(Payload(data=text[:LONGEST_TEXT].encode()))
        return SEALED_TEXT + base64.b64encode(sealed.SerializeToString()).decode()

    def open_text(self, text: str) -> str:
        """What `seal_text` was given; other text as it is. Raises EncryptionError."""
        if not text.startswith(SEALED_TEXT):
            return text
        return self._open(_parsed(base64.b64decode(text.removeprefix(SEALED_TEXT)))).data.decode()

    def _open(self, payload: Payload) -> Payload:
        if not is_encrypted(payload):
            return payload
        cipher = payload.metadata.get(CIPHER_FIELD, b"")
        key_id = payload.metadata.get(KEY_FIELD, b"").decode(errors="replace")
        if cipher != CIPHER:
            named = cipher.decode(errors="replace")[:64] or "none"
            raise EncryptionError(
                f"A payload is encrypted with cipher `{named}`, not `aes256gcm`: another program has written it."
            )
        if key_id not in self._by_id:
            known = ", ".join(f"`{own}`" for own in self._by_id)
            raise EncryptionError(
                f"A payload is encrypted with key `{key_id[:64]}`, which is not given (there is {known}): "
                "add that key to `temporal.data_converter.previous_keys`."
            )
        return self._by_id[key_id].open(payload)


class SealedFailureConverter(DefaultFailureConverterWithEncodedAttributes):
    """Moves messages and stack traces of failures to where the codec seals them.

    A message of `seal_text` stays where it is: of a query's failure Temporal hands on nothing else.
    """

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        super().to_failure(exception, payload_converter, failure)
        if isinstance(exception, FailureError) and exception.message.startswith(SEALED_TEXT):
            failure.message = exception.message


def CompositeConverter(*converters: EncryptionConverter) -> DataConverter:  # noqa: N802 - the specification's name
    """A data converter that encrypts, for `Client.connect(data_converter=...)`.

    Args:
        converters: The keys. The first encrypts, all decrypt: to change the key, put the new one before the old one.

    Raises:
        ConfigError: No key is given, or two have one id.
    """
    return data_converter(EncryptionCodec(converters))


def data_converter(codec: EncryptionCodec | None) -> DataConverter:
    """The converter of this package's clients; without a codec it stores values as they are."""
    if codec is None:
        return agent_data_converter()
    return dataclasses.replace(agent_data_converter(), payload_codec=codec, failure_converter_class=SealedFailureConverter)


def codec_of(settings: DataConverterSettings | None) -> EncryptionCodec | None:
    """What the configuration asks for.

    Raises:
        ConfigError: A key cannot be used; names the setting, not its value.
    """
    if settings is None:
        return None
    where = "temporal.data_converter"
    first = read_key(settings.encryption_key.get_secret_value(), f"{where}.encryption_key")
    keys = [EncryptionConverter(first, compress=settings.compress)]
    for number, previous in enumerate(settings.previous_keys):
        keys.append(EncryptionConverter(read_key(previous.get_secret_value(), f"{where}.previous_keys.{number}")))
    return EncryptionCodec(keys)


def mark_of(converter: DataConverter, data: bytes) -> str:
    """A digest of data, for where Temporal stores no payloads: of no use without the key where there is encryption."""
    codec = converter.payload_codec
    return codec.mark(data) if isinstance(codec, EncryptionCodec) else hashlib.sha256(data).hexdigest()


def sealed_text(converter: DataConverter, text: str) -> str:
    """The text as it may be told where Temporal has no payload: encrypted where there is encryption."""
    codec = converter.payload_codec
    return codec.seal_text(text) if isinstance(codec, EncryptionCodec) else text


def opened_text(converter: DataConverter, text: str) -> str:
    """What `sealed_text` was given. Raises EncryptionError."""
    codec = converter.payload_codec
    return codec.open_text(text) if isinstance(codec, EncryptionCodec) else text


def is_encrypted(payload: Payload) -> bool:
    """Whether a payload says that it is encrypted, by whomever."""
    return payload.metadata.get("encoding") == ENCODING


def read_key(key: bytes | str, name: str) -> bytes:
    """The 32 bytes of a key in any of its forms.

    Args:
        key: The bytes, or base64 of them (both alphabets) in bytes or text.
        name: What the key is called in errors.

    Raises:
        ConfigError: It is no such key. The text does not hold it.
    """
    if isinstance(key, bytes) and len(key) == KEY_BYTES:
        return key
    text = key.decode("latin-1") if isinstance(key, bytes) else key
    text = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(f"`{name}` is no base64. {_MAKE_A_KEY}") from None
    if len(raw) != KEY_BYTES:
        raise ConfigError(f"`{name}` has {len(raw)} bytes, not {KEY_BYTES}. {_MAKE_A_KEY}")
    return raw


_MAKE_A_KEY = (
    "A key is 32 random bytes in base64: "
    "`python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'` makes one."
)


def _aes_gcm(key: bytes) -> AESGCM:
    # Loaded when there is a key: nobody else should wait for it.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    return AESGCM(key)


async def _each(change: Callable[[Payload], Payload], payloads: Sequence[Payload]) -> list[Payload]:
    """Every payload changed; in a thread where they are large."""
    if sum(len(payload.data) for payload in payloads) > LARGE:
        return await asyncio.to_thread(lambda: [change(payload) for payload in payloads])
    return [change(payload) for payload in payloads]


def _bound(metadata: Mapping[str, bytes]) -> bytes:
    """What is readable of a sealed payload, as data that the tag covers."""
    return b"\n".join(metadata.get(name, b"") for name in ("encoding", CIPHER_FIELD, KEY_FIELD, COMPRESSION_FIELD))


def _inflated(content: bytes) -> bytes:
    inflate = zlib.decompressobj()
    try:
        whole = inflate.decompress(content, LARGEST)
    except zlib.error:
        raise EncryptionError("A payload cannot be decompressed: another program has written it.") from None
    if not inflate.eof:
        raise EncryptionError(f"A payload has more than {LARGEST:,} bytes when decompressed: it is not read.")
    return whole


def _parsed(content: bytes) -> Payload:
    try:
        return Payload.FromString(content)
    except DecodeError:
        raise EncryptionError("A decrypted payload is none of Temporal's: another program has written it.") from None
