"""One key, and payloads sealed with it. A sealed payload is

metadata    encoding, cipher and key id, and the compression where there is one: readable, and authenticated
data        12 bytes of nonce; then the sealed payload and 16 bytes of tag
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from temporalio.api.common.v1 import Payload

from mcp_agent.config import CompressionMethod
from mcp_agent.errors import ConfigError, EncryptionError
from mcp_agent.executor.temporal.compression import inflated, parsed, squeezed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# Stored with runs: changing one makes what is stored unreadable.
ENCODING = b"binary/encrypted"
CIPHER = b"aes256gcm"
CIPHER_FIELD = "encryption-cipher"
KEY_FIELD = "encryption-key-id"
COMPRESSION_FIELD = "encryption-compression"

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
REPEATED_FROM = 16 * 1024
"""Bytes from which equal payloads are sealed equally: where they are kept outside of the history, they are kept once."""

KEY_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class EncryptionConverter:
    """One key, and how it is used.

    Args:
        key: 32 bytes: as they are, or as URL-safe base64 in bytes or text, as `Fernet.generate_key()` returns them.
        compress: Compress what becomes smaller by it, with zlib if nothing else is named. Sizes then tell something of the
            content.
        key_id: Stored in clear with each payload, to find the key again; a short hash of the key by default.

    Raises:
        ConfigError: The key or its id cannot be used. The text never holds the key.
    """

    def __init__(self, key: bytes | str, *, compress: CompressionMethod | bool = False, key_id: str | None = None) -> None:
        raw = read_key(key, "encryption_key")
        if key_id is not None and not KEY_ID.fullmatch(key_id):
            raise ConfigError(f"`key_id` is `{key_id[:64]}`: use 1 to 64 letters, digits, `.`, `_`, `:` and `-`.")
        self.key_id = key_id or hashlib.sha256(b"mcp_agent.key_id\0" + raw).hexdigest()[:12]
        self.compress = compress
        self._method: CompressionMethod | None = ("zlib" if compress else None) if isinstance(compress, bool) else compress
        self._cipher = _aes_gcm(raw)
        self._mark_key = hmac.digest(raw, b"mcp_agent.mark", "sha256")
        self._nonce_key = hmac.digest(raw, b"mcp_agent.nonce", "sha256")

    def __repr__(self) -> str:
        return f"EncryptionConverter(key_id={self.key_id!r}, compress={self.compress})"

    def seal(self, payload: Payload, *, repeatable: bool = False) -> Payload:
        """The payload with its metadata, encrypted.

        Args:
            payload: In clear.
            repeatable: Seal equal large payloads equally. Who sees them stored sees then that they are equal.
        """
        content = payload.SerializeToString()
        smaller = None if self._method is None else squeezed(content, self._method)
        metadata = {"encoding": ENCODING, CIPHER_FIELD: CIPHER, KEY_FIELD: self.key_id.encode()}
        if smaller is not None and self._method is not None:
            metadata[COMPRESSION_FIELD] = self._method.encode()
            content = smaller
        bound = _bound(metadata)
        repeated = repeatable and len(content) >= REPEATED_FROM
        nonce = self._nonce_of(bound, content) if repeated else os.urandom(NONCE_BYTES)
        return Payload(metadata=metadata, data=nonce + self._cipher.encrypt(nonce, content, bound))

    def _nonce_of(self, bound: bytes, content: bytes) -> bytes:
        """Looks random, is the same for the same content, and for another only by such a chance as two random ones are."""
        return hmac.digest(self._nonce_key, bound + b"\0" + content, "sha256")[:NONCE_BYTES]

    def open(self, payload: Payload) -> Payload:
        """The payload that was sealed with this key.

        Raises:
            EncryptionError: It was changed since, or sealed with another key.
            UnreadablePayload: What was sealed cannot be read, or is too large.
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
        method = payload.metadata.get(COMPRESSION_FIELD)
        return parsed(content if method is None else inflated(content, method.decode(errors="replace")))

    def mark(self, data: bytes) -> str:
        """A digest of data that can be stored in clear: without the key no guess can be tried."""
        return hmac.new(self._mark_key, data, "sha256").hexdigest()


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


def _bound(metadata: Mapping[str, bytes]) -> bytes:
    """What is readable of a sealed payload, as data that the tag covers."""
    return b"\n".join(metadata.get(name, b"") for name in ("encoding", CIPHER_FIELD, KEY_FIELD, COMPRESSION_FIELD))
