"""Encryption of what Temporal stores, on this side of its API (specification, "Data Encryption" and "Temporal Cloud").

Every payload is sealed with AES-256-GCM before it is sent: arguments, results, memos, signals, updates, queries,
heartbeats, headers, and messages and stack traces of failures. `cipher.py` says how, `key_ring.py` with which keys.

`temporalio` has no `EncryptionConverter` and no `CompositeConverter`; these have the specification's call shape.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Sequence

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    ExternalStorage,
    PayloadCodec,
    PayloadConverter,
)
from temporalio.exceptions import FailureError

from mcp_agent.errors import EncryptionError
from mcp_agent.executor.temporal.cipher import CIPHER, CIPHER_FIELD, ENCODING, KEY_FIELD, EncryptionConverter
from mcp_agent.executor.temporal.compression import decompressed, parsed
from mcp_agent.executor.temporal.converter import agent_data_converter
from mcp_agent.executor.temporal.key_ring import GivenKeys, KeyRing
from mcp_agent.executor.temporal.offloading import each

# Stored with runs: changing one makes what is stored unreadable.
HIDDEN = "Encoded failure"  # what temporalio puts where a message was
SEALED_TEXT = "mcp_agent.encrypted:"
LONGEST_TEXT = 1_500  # characters; it travels in a header of the answer, twice


class EncryptionCodec(PayloadCodec):
    """Seals with the active key, opens with all. What is not encrypted passes: it is from before encryption was turned on.

    Args:
        ring: The keys.
        repeatable: Seal equal large payloads equally, for where they are kept by their content.
    """

    def __init__(self, ring: KeyRing, *, repeatable: bool = False) -> None:
        self._ring = ring
        self._repeatable = repeatable

    def __repr__(self) -> str:
        return f"EncryptionCodec({list(self._ring.keys.by_id.values())!r})"

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        key = (await self._ring.current()).active
        return await each(lambda payload: key.seal(payload, repeatable=self._repeatable), payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises UnreadablePayload, or EncryptionError for what cannot be decrypted."""
        await self._ring.current()
        for payload in payloads:
            await self._key_of(payload)
        return await each(self._open, payloads)

    def mark(self, data: bytes) -> str:
        """See `EncryptionConverter.mark`."""
        return self._ring.keys.active.mark(data)

    def seal_text(self, text: str) -> str:
        """Text that may stand where Temporal has no payload; its end is cut off where it is long."""
        sealed = self._ring.keys.active.seal(Payload(data=text[:LONGEST_TEXT].encode()))
        return SEALED_TEXT + base64.b64encode(sealed.SerializeToString()).decode()

    async def open_text(self, text: str) -> str:
        """What `seal_text` was given; other text as it is. Raises as `decode`."""
        if not text.startswith(SEALED_TEXT):
            return text
        (opened,) = await self.decode([parsed(base64.b64decode(text.removeprefix(SEALED_TEXT)))])
        return opened.data.decode()

    async def _key_of(self, payload: Payload) -> None:
        """Has the key of a payload looked for where it is not known."""
        if is_encrypted(payload):
            await self._ring.find(_key_id(payload))

    def _open(self, payload: Payload) -> Payload:
        if not is_encrypted(payload):
            return decompressed(payload)
        cipher = payload.metadata.get(CIPHER_FIELD, b"")
        if cipher != CIPHER:
            named = cipher.decode(errors="replace")[:64] or "none"
            raise EncryptionError(
                f"A payload is encrypted with cipher `{named}`, not `aes256gcm`: another program has written it."
            )
        by_id, key_id = self._ring.keys.by_id, _key_id(payload)
        if key_id not in by_id:
            known = ", ".join(f"`{own}`" for own in by_id)
            raise EncryptionError(
                f"A payload is encrypted with key `{key_id[:64]}`, which is not given (there is {known}): "
                "add that key to `temporal.data_converter.previous_keys`, or to its `keys`."
            )
        return by_id[key_id].open(payload)


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
    return data_converter(EncryptionCodec(KeyRing([GivenKeys(converters)])))


def data_converter(codec: PayloadCodec | None, storage: ExternalStorage | None = None) -> DataConverter:
    """The converter of this package's clients; without a codec it stores values as they are.

    Args:
        codec: Encrypts or compresses what is stored.
        storage: Keeps what is large.
    """
    plain = dataclasses.replace(agent_data_converter(), external_storage=storage)
    if codec is None:
        return plain
    if not isinstance(codec, EncryptionCodec):
        return dataclasses.replace(plain, payload_codec=codec)
    return dataclasses.replace(plain, payload_codec=codec, failure_converter_class=SealedFailureConverter)


def mark_of(converter: DataConverter, data: bytes) -> str:
    """A digest of data, for where Temporal stores no payloads: of no use without the key where there is encryption."""
    codec = converter.payload_codec
    return codec.mark(data) if isinstance(codec, EncryptionCodec) else hashlib.sha256(data).hexdigest()


def sealed_text(converter: DataConverter, text: str) -> str:
    """The text as it may be told where Temporal has no payload: encrypted where there is encryption."""
    codec = converter.payload_codec
    return codec.seal_text(text) if isinstance(codec, EncryptionCodec) else text


async def opened_text(converter: DataConverter, text: str) -> str:
    """What `sealed_text` was given. Raises UnreadablePayload."""
    codec = converter.payload_codec
    return await codec.open_text(text) if isinstance(codec, EncryptionCodec) else text


def is_encrypted(payload: Payload) -> bool:
    """Whether a payload says that it is encrypted, by whomever."""
    return payload.metadata.get("encoding") == ENCODING


def _key_id(payload: Payload) -> str:
    return payload.metadata.get(KEY_FIELD, b"").decode(errors="replace")
