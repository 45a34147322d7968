"""Compression of payloads, before they are encrypted or alone. What is stored says with what it was compressed: one that is
compressed alone has the encoding `binary/zstd`, `binary/gzip` or `binary/zlib`, as in Temporal's own examples."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Sequence
from typing import Protocol

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from mcp_agent.config import CompressionMethod
from mcp_agent.errors import UnreadablePayload
from mcp_agent.executor.temporal.offloading import each

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LARGEST = 64 * 1024 * 1024  # bytes that a payload may have when it is decompressed
SMALLEST = 256  # bytes; with less, zstd's and gzip's own headers eat up what is won

_GZIP = 16 + zlib.MAX_WBITS


class CompressionCodec(PayloadCodec):
    """Compresses what becomes smaller by it, and reads what any method has compressed. Everything else passes.

    Args:
        method: `None` only reads.
    """

    def __init__(self, method: CompressionMethod | None) -> None:
        self._method: CompressionMethod | None = method

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return await each(self._compress, payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises UnreadablePayload for what cannot be decompressed."""
        return await each(decompressed, payloads)

    def _compress(self, payload: Payload) -> Payload:
        content = payload.SerializeToString()
        smaller = None if self._method is None else squeezed(content, self._method)
        if smaller is None:
            return payload
        return Payload(metadata={"encoding": f"binary/{self._method}".encode()}, data=smaller)


def decompressed(payload: Payload) -> Payload:
    """What `CompressionCodec` was given; any other payload as it is. Raises UnreadablePayload."""
    kind, _, method = payload.metadata.get("encoding", b"").decode(errors="replace").partition("/")
    return parsed(inflated(payload.data, method)) if kind == "binary" and method in _INFLATE else payload


def squeezed(content: bytes, method: CompressionMethod) -> bytes | None:
    """The content compressed; `None` where that makes it no smaller, or it is too large to be read again."""
    if len(content) > LARGEST or (len(content) < SMALLEST and method != "zlib"):
        return None
    smaller = _SQUEEZE[method](content)
    return smaller if len(smaller) < len(content) else None


def inflated(content: bytes, method: str) -> bytes:
    """What `squeezed` was given. Raises UnreadablePayload."""
    if method not in _INFLATE:
        raise UnreadablePayload(
            f"A payload is compressed with `{method[:64]}`, which is not known: another program has written it."
        )
    try:
        whole, complete = _INFLATE[method](content)
    except (zlib.error, zstd.ZstdError):
        raise UnreadablePayload("A payload cannot be decompressed: another program has written it.") from None
    if not complete:
        raise UnreadablePayload(f"A payload is cut short, or has more than {LARGEST:,} bytes when decompressed: it is not read.")
    return whole


def parsed(content: bytes) -> Payload:
    """The payload of these bytes. Raises UnreadablePayload."""
    try:
        return Payload.FromString(content)
    except DecodeError:
        raise UnreadablePayload("What is stored as a payload is none of Temporal's: another program has written it.") from None


def _gzipped(content: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=_GZIP)  # unlike gzip.compress it writes no time: equal values stay equal
    return deflate.compress(content) + deflate.flush()


def _gunzipped(content: bytes) -> tuple[bytes, bool]:
    return _inflated_with(zlib.decompressobj(_GZIP), content)


def _unzlibbed(content: bytes) -> tuple[bytes, bool]:
    return _inflated_with(zlib.decompressobj(), content)


def _unzstd(content: bytes) -> tuple[bytes, bool]:
    return _inflated_with(zstd.ZstdDecompressor(), content)


class _Inflating(Protocol):
    @property
    def eof(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _inflated_with(inflate: _Inflating, content: bytes) -> tuple[bytes, bool]:
    """At most `LARGEST` bytes, and whether that is all."""
    whole = inflate.decompress(content, LARGEST)
    return whole, inflate.eof


_SQUEEZE: dict[str, Callable[[bytes], bytes]] = {"zstd": zstd.compress, "gzip": _gzipped, "zlib": zlib.compress}
_INFLATE: dict[str, Callable[[bytes], tuple[bytes, bool]]] = {"zstd": _unzstd, "gzip": _gunzipped, "zlib": _unzlibbed}
