"""Payloads are sealed with AES-256-GCM: what is changed, or of another key, is refused with a reason, and without a value."""

import base64
import os
import subprocess
import sys
import threading
import traceback
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.exceptions import ActivityError, ApplicationError

from mcp_agent.config import Settings, TemporalSettings
from mcp_agent.errors import ConfigError, UnreadablePayload
from mcp_agent.executor.temporal import CompositeConverter, EncryptionConverter
from mcp_agent.executor.temporal.compression import LARGEST
from mcp_agent.executor.temporal.encryption import mark_of
from mcp_agent.executor.temporal.offloading import LARGE
from mcp_agent.executor.temporal.storing import codec_of
from mcp_agent.observability.logging import secrets_of

pytestmark = pytest.mark.anyio

RAW = bytes(range(32))
TEXT = base64.urlsafe_b64encode(RAW).decode()
CANARY = "the-canary"


def codec(*converters: EncryptionConverter) -> PayloadCodec:
    made = CompositeConverter(*(converters or (EncryptionConverter(RAW),))).payload_codec
    assert made is not None
    return made


def payload(data: bytes = CANARY.encode()) -> Payload:
    return Payload(metadata={"encoding": b"json/plain", "of": b"test"}, data=data)


async def sealed(data: bytes = CANARY.encode(), **options: Any) -> Payload:
    (made,) = await codec(EncryptionConverter(RAW, **options)).encode([payload(data)])
    return made


async def opened(what: Payload, *converters: EncryptionConverter) -> Payload:
    (made,) = await codec(*converters).decode([what])
    return made


async def refusal(what: Payload, *converters: EncryptionConverter) -> str:
    with pytest.raises(UnreadablePayload) as told:
        await opened(what, *converters)
    text = str(told.value)
    assert CANARY not in text
    assert TEXT not in text
    assert RAW.hex() not in text
    return text


@given(
    data=st.binary(max_size=2_000), compress=st.booleans(), metadata=st.dictionaries(st.text(max_size=20), st.binary(max_size=50))
)
@settings(max_examples=60, deadline=None)
async def test_what_is_sealed_opens_to_the_same(data: bytes, compress: bool, metadata: dict[str, bytes]):
    plain = Payload(metadata=metadata, data=data)
    (made,) = await codec(EncryptionConverter(RAW, compress=compress)).encode([plain])
    assert made.metadata["encoding"] == b"binary/encrypted"
    if len(data) > 8:
        assert data not in made.data
    assert await opened(made) == plain


@given(value=st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists))
@settings(max_examples=25, deadline=None)
async def test_values_take_the_way_of_the_unencrypted_converter(value: Any):
    converter = CompositeConverter(EncryptionConverter(RAW, compress=True))
    assert isinstance(converter, DataConverter)
    assert await converter.decode(await converter.encode([value])) == [value]


async def test_equal_payloads_are_sealed_differently():
    assert len({(await sealed()).data for _ in range(50)}) == 50


@pytest.mark.promise("design: what is stored stays readable: the form of sealed payloads is pinned")
async def test_what_was_sealed_yesterday_opens():
    # Made without this package's code, of the documented form.
    nonce, inner = bytes(12), payload().SerializeToString()
    bound = b"binary/encrypted\naes256gcm\nold\n"
    stored = Payload(
        metadata={"encoding": b"binary/encrypted", "encryption-cipher": b"aes256gcm", "encryption-key-id": b"old"},
        data=nonce + AESGCM(RAW).encrypt(nonce, inner, bound),
    )
    assert await opened(stored, EncryptionConverter(RAW, key_id="old")) == payload()
    assert EncryptionConverter(RAW).key_id == "034a46c4cd24"


async def test_every_changed_byte_is_noticed():
    good = await sealed()
    for at in range(len(good.data)):
        changed = Payload(metadata=good.metadata, data=good.data[:at] + bytes([good.data[at] ^ 1]) + good.data[at + 1 :])
        assert "was changed" in await refusal(changed)


@pytest.mark.parametrize("length", [0, 1, 12, 27])
async def test_a_payload_that_was_cut_is_refused(length: int):
    good = await sealed()
    assert "cut short" in await refusal(Payload(metadata=good.metadata, data=good.data[:length]))


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("encryption-compression", b"zlib", "was changed"),
        ("encryption-cipher", b"aes128cbc", "`aes128cbc`, not `aes256gcm`"),
        ("encryption-cipher", b"", "cipher `none`"),
        ("encryption-key-id", b"another", "`another`, which is not given"),
        ("encryption-key-id", b"\xff", "which is not given"),
    ],
)
async def test_readable_metadata_cannot_be_changed(field: str, value: bytes, told: str):
    changed = await sealed()
    changed.metadata[field] = value
    assert told in await refusal(changed)


async def test_the_key_of_another_is_refused_by_its_id():
    text = await refusal(await sealed(), EncryptionConverter(os.urandom(32)))
    assert EncryptionConverter(RAW).key_id in text
    assert "previous_keys" in text
    assert "does not open" in await refusal(await sealed(key_id="k"), EncryptionConverter(os.urandom(32), key_id="k"))


async def test_keys_are_rotated():
    old, new = EncryptionConverter(RAW), EncryptionConverter(os.urandom(32))
    before = await sealed()
    rotated = codec(new, old)
    (after,) = await rotated.encode([payload()])
    assert await rotated.decode([before, after]) == [payload(), payload()]
    assert after.metadata["encryption-key-id"] == new.key_id.encode()
    assert "which is not given" in await refusal(after, old)


async def test_what_is_not_encrypted_passes():
    assert await opened(payload()) == payload()


async def test_only_what_becomes_smaller_is_compressed():
    small, large = await sealed(b"x", compress=True), await sealed(b"x" * 10_000, compress=True)
    assert "encryption-compression" not in small.metadata
    assert large.metadata["encryption-compression"] == b"zlib"
    assert len(large.data) < 200
    assert await opened(large) == payload(b"x" * 10_000)
    assert len((await sealed(b"x" * 10_000)).data) > 10_000


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (zlib.compress(bytes(LARGEST + 1)), "67,108,864 bytes"),
        (b"no zlib", "cannot be decompressed"),
        (zlib.compress(b"\xff\xff no payload"), "none of Temporal's"),
    ],
)
async def test_what_a_holder_of_the_key_sealed_wrongly_is_refused(content: bytes, told: str):
    stored = await sealed(b"x" * 1_000, compress=True)
    bound = b"\n".join(stored.metadata[f"encryption-{name}"] for name in ("cipher", "key-id", "compression"))
    nonce = os.urandom(12)
    bomb = Payload(metadata=stored.metadata, data=nonce + AESGCM(RAW).encrypt(nonce, content, b"binary/encrypted\n" + bound))
    assert told in await refusal(bomb)


async def test_large_payloads_leave_the_event_loop(monkeypatch: pytest.MonkeyPatch):
    threads: list[int] = []
    seal, open_ = EncryptionConverter.seal, EncryptionConverter.open

    def noting(function: Callable[..., Payload]) -> Callable[..., Payload]:
        def noted(self: EncryptionConverter, what: Payload, **options: Any) -> Payload:
            threads.append(threading.get_ident())
            return function(self, what, **options)

        return noted

    monkeypatch.setattr(EncryptionConverter, "seal", noting(seal))
    monkeypatch.setattr(EncryptionConverter, "open", noting(open_))
    assert await opened(await sealed(os.urandom(LARGE + 1))) != payload()
    assert threading.get_ident() not in threads
    threads.clear()
    await opened(await sealed())
    assert threads == [threading.get_ident()] * 2


@pytest.mark.parametrize("key", [RAW, TEXT, TEXT.encode(), TEXT.rstrip("="), f" {TEXT}\n", base64.b64encode(RAW).decode()])
async def test_a_key_is_taken_in_every_form(key: bytes | str):
    assert EncryptionConverter(key).key_id == EncryptionConverter(RAW).key_id


async def test_the_key_of_fernet_is_taken():
    key = Fernet.generate_key()
    assert await opened(await sealed(key_id="x"), EncryptionConverter(RAW, key_id="x")) == payload()
    assert EncryptionConverter(key).key_id == EncryptionConverter(base64.urlsafe_b64decode(key)).key_id


@pytest.mark.parametrize(
    "key", ["", "planted", "planted-key-of-32-characters-abc", b"planted", b"planted" * 5, "plänted" * 6, "€" * 44]
)
def test_a_wrong_key_is_told_without_its_value(key: bytes | str):
    with pytest.raises(ConfigError, match=r"`encryption_key` (is no base64|has \d+ bytes, not 32)") as told:
        EncryptionConverter(key)
    assert "pl" not in str(told.value).replace("python", "")
    assert "planted" not in "".join(traceback.format_exception(told.value))


def test_wrong_ids_and_no_or_equal_keys_are_refused():
    with pytest.raises(ConfigError, match="`key_id` is `a b`"):
        EncryptionConverter(RAW, key_id="a b")
    with pytest.raises(ConfigError, match="No key"):
        CompositeConverter()
    with pytest.raises(ConfigError, match="give each key once"):
        CompositeConverter(EncryptionConverter(RAW), EncryptionConverter(TEXT))


def test_no_repr_holds_the_key():
    converter = EncryptionConverter(RAW)
    for text in (repr(converter), str(converter), repr(CompositeConverter(converter))):
        assert TEXT not in text
        assert repr(RAW)[2:12] not in text
        assert converter.key_id in text


def test_a_mark_is_of_no_use_without_the_key():
    keyed = CompositeConverter(EncryptionConverter(RAW))
    marks = {mark_of(DataConverter.default, b"yes"), mark_of(keyed, b"yes"), mark_of(keyed, b"no")}
    marks.add(mark_of(CompositeConverter(EncryptionConverter(os.urandom(32))), b"yes"))
    assert len(marks) == 4
    assert mark_of(keyed, b"yes") == mark_of(CompositeConverter(EncryptionConverter(RAW)), b"yes")


async def test_messages_of_failures_and_of_their_causes_are_sealed():
    """Also where a run fails with an error that it has received, which holds the stored failure."""
    converter = CompositeConverter(EncryptionConverter(RAW))
    error: BaseException = ActivityError(
        f"{CANARY} 1", scheduled_event_id=1, started_event_id=2, identity="", activity_type="", activity_id="", retry_state=None
    )
    error.__cause__ = ApplicationError(f"{CANARY} 2", f"{CANARY} 3")
    error.__cause__.__cause__ = ValueError(f"{CANARY} 4")
    for _ in range(3):
        failure = await encoded(converter, error)
        assert CANARY.encode() not in failure.SerializeToString()
        error = await converter.decode_failure(failure)
        assert isinstance(error, ActivityError)
        assert isinstance(error.cause, ApplicationError)
        assert (error.message, error.cause.message, list(error.cause.details)) == (f"{CANARY} 1", f"{CANARY} 2", [f"{CANARY} 3"])
        assert f"{CANARY} 4" in str(error.cause.cause)


async def encoded(converter: DataConverter, error: BaseException) -> Any:
    from temporalio.api.failure.v1 import Failure

    failure = Failure()
    await converter.encode_failure(error, failure)
    return failure


def test_the_configuration_s_keys_are_used_and_masked():
    new, old = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    given = Settings(temporal={"data_converter": {"encryption_key": new, "compress": True, "previous_keys": [old]}})
    made = repr(codec_of(given.temporal))
    assert made.index(EncryptionConverter(new).key_id) < made.index(EncryptionConverter(old).key_id)
    assert "compress=zlib" in made
    assert {new, old} <= set(secrets_of(given))
    for text in (repr(given), made):
        assert new not in text
        assert old not in text


@pytest.mark.promise("specification: Temporal Cloud, data_converter")
@pytest.mark.parametrize(
    ("section", "name"),
    [
        ({"encryption_key": "planted"}, "encryption_key"),
        ({"encryption_key": ""}, "encryption_key"),
        ({"encryption_key": TEXT, "previous_keys": [base64.b64encode(bytes(32)).decode(), "planted"]}, "previous_keys.1"),
    ],
)
def test_a_wrong_key_of_the_configuration_is_named_by_its_setting(section: dict[str, Any], name: str):
    with pytest.raises(ConfigError, match=rf"`temporal\.data_converter\.{name}`") as told:
        codec_of(TemporalSettings(data_converter=section))
    assert "planted" not in str(told.value)
    assert TEXT not in str(told.value)


def test_starting_without_a_key_does_not_load_the_cipher():
    program = (
        "import sys, mcp_agent.app, mcp_agent.cli.commands, mcp_agent.executor.temporal, mcp_agent.executor.temporal.engine\n"
        "print([m for m in sys.modules if m.startswith('cryptography')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
