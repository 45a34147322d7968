"""What becomes smaller is compressed, with a mark that says how; what any method has compressed is read."""

import gzip
import os
import zlib

import pytest
from cryptography.fernet import Fernet
from temporalio.api.common.v1 import Payload

from mcp_agent.config import DataConverterSettings, TemporalSettings
from mcp_agent.errors import UnreadablePayload
from mcp_agent.executor.temporal.compression import LARGEST, CompressionCodec, squeezed, zstd
from mcp_agent.executor.temporal.storing import codec_of

pytestmark = pytest.mark.anyio
METHODS = ("zstd", "gzip", "zlib")
LARGE = Payload(metadata={"encoding": b"json/plain"}, data=b"the same again, " * 1_000)
KEY = Fernet.generate_key().decode()


def codec(**section: object):
    made = codec_of(TemporalSettings(data_converter=DataConverterSettings(**section)))
    assert made is not None
    return made


@pytest.mark.parametrize("method", METHODS)
async def test_what_a_method_has_compressed_every_codec_reads(method: str):
    (alone,) = await codec(compress=method).encode([LARGE])
    (sealed,) = await codec(compress=method, encryption_key=KEY).encode([LARGE])
    assert alone.metadata == {"encoding": f"binary/{method}".encode()}
    assert sealed.metadata["encryption-compression"] == method.encode()
    assert max(len(alone.data), len(sealed.data)) < 500
    for other in (codec(compress=False), codec(compress="zstd"), codec(encryption_key=KEY)):
        assert await other.decode([alone, LARGE]) == [LARGE, LARGE]
    for other in (codec(encryption_key=KEY), codec(encryption_key=KEY, compress="gzip")):
        assert await other.decode([sealed]) == [LARGE]


@pytest.mark.parametrize("method", METHODS)
async def test_what_does_not_become_smaller_stays_as_it_is(method: str):
    noise, small = Payload(data=os.urandom(10_000)), Payload(data=b"x")
    assert await codec(compress=method).encode([noise, small]) == [noise, small]


async def test_other_programs_forms_are_read():
    content = LARGE.SerializeToString()
    stored = [("zlib", zlib.compress(content)), ("gzip", gzip.compress(content)), ("zstd", zstd.compress(content, 10))]
    payloads = [Payload(metadata={"encoding": f"binary/{name}".encode()}, data=data) for name, data in stored]
    assert await CompressionCodec(None).decode(payloads) == [LARGE] * 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ["bomb", "cut", "noise", "no payload"])
async def test_what_cannot_be_read_is_refused(method: str, how: str):
    content = {"bomb": bytes(LARGEST + 1), "no payload": b"\xff" * 1_000}.get(how, LARGE.SerializeToString())
    made = {"zstd": zstd.compress, "gzip": gzip.compress, "zlib": zlib.compress}[method](content)
    data = {"cut": made[:-20], "noise": b"no such thing"}.get(how, made)
    with pytest.raises(UnreadablePayload):
        await CompressionCodec(None).decode([Payload(metadata={"encoding": f"binary/{method}".encode()}, data=data)])


def test_equal_values_are_compressed_equally():
    assert len({squeezed(b"again " * 100, "gzip") for _ in range(3)}) == 1
