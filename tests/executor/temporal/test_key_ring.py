"""Keys come from files and commands, and change while runs go on; what is wrong with them is told without their values."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import ValidationError
from temporalio.api.common.v1 import Payload

from mcp_agent.config import DataConverterSettings, load_settings
from mcp_agent.errors import ConfigError, EncryptionError
from mcp_agent.executor.temporal.cipher import EncryptionConverter
from mcp_agent.executor.temporal.encryption import EncryptionCodec
from mcp_agent.executor.temporal.key_ring import ASK_EVERY, LOOK_EVERY, KeyRing, configured_keys

pytestmark = pytest.mark.anyio
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"a value"')


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


Rings = Callable[..., KeyRing]


@pytest.fixture
def ring(clock: Clock) -> Rings:
    return lambda *keys, **more: configured_keys(DataConverterSettings(keys=keys, **more), clock)


def printing(path: Path) -> list[str]:
    """A command that prints a file, and notes that it ran."""
    program = f"import pathlib as p; f = p.Path({str(path)!r}); print(f.read_text()); p.Path(f'{{f}}.runs').open('a').write('x')"
    return [sys.executable, "-c", program]


def runs(path: Path) -> int:
    return len(Path(f"{path}.runs").read_text())


async def used(codec: EncryptionCodec) -> str:
    (sealed,) = await codec.encode([PLAIN])
    return sealed.metadata["encryption-key-id"].decode()


async def test_one_key_encrypts_and_all_decrypt(ring: Rings):
    keys = ({"id": "new", "secret": NEW}, {"id": "old", "secret": OLD})
    (before,) = await EncryptionCodec(ring(keys[1])).encode([PLAIN])
    codec = EncryptionCodec(ring(*keys))
    assert await used(codec) == "new"
    assert await codec.decode([before]) == [PLAIN]
    assert await used(EncryptionCodec(ring(*keys, active_key="old"))) == "old"


async def test_a_key_that_moves_from_encryption_key_to_keys_keeps_its_id(ring: Rings):
    moved = EncryptionCodec(ring({"id": "new", "secret": NEW}, {"secret": OLD}))
    (before,) = await EncryptionCodec(configured_keys(DataConverterSettings(encryption_key=OLD))).encode([PLAIN])
    assert await moved.decode([before]) == [PLAIN]


@pytest.mark.promise("issue: keys are rotated without a restart")
async def test_a_file_that_changes_changes_the_keys_of_what_is_running(ring: Rings, clock: Clock, tmp_path: Path):
    file = tmp_path / "keys"
    file.write_text(f"# ours\nold {OLD}\n")
    codec = EncryptionCodec(ring({"file": file}))
    (before,) = await codec.encode([PLAIN])
    replacement = tmp_path / "keys.new"
    replacement.write_text(f"new {NEW}\nold {OLD}\n")
    replacement.replace(file)
    assert await used(codec) == "old"  # looked at before the second is over
    clock.now += LOOK_EVERY
    assert await used(codec) == "new"
    assert await codec.decode([before]) == [PLAIN]


async def test_a_file_that_became_wrong_leaves_the_keys_of_before(
    ring: Rings, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    file = tmp_path / "keys"
    file.write_text(f"old {OLD}")
    codec = EncryptionCodec(ring({"file": file}))
    for wrong in ("new planted-text", f"{NEW} {OLD}", f"a {OLD} {NEW}", ""):
        file.write_text(wrong)
        clock.now += LOOK_EVERY
        assert await used(codec) == "old"
    file.unlink()
    clock.now += LOOK_EVERY
    assert await used(codec) == "old"
    assert caplog.text.count("the keys of before stay in use: `temporal.data_converter.keys.0.file`") == 5
    for secret in ("planted", NEW, OLD):
        assert secret not in caplog.text


async def test_a_command_runs_at_start_and_for_an_unknown_key_only(ring: Rings, clock: Clock, tmp_path: Path):
    vault = tmp_path / "vault"
    vault.write_text(f"old {OLD}")
    codec = EncryptionCodec(ring({"command": printing(vault)}))
    assert await codec.decode(await codec.encode([PLAIN])) == [PLAIN]
    assert runs(vault) == 1
    vault.write_text(f"new {NEW}\nold {OLD}")
    (foreign,) = await EncryptionCodec(ring({"id": "new", "secret": NEW})).encode([PLAIN])
    assert await codec.decode([foreign]) == [PLAIN]
    assert await used(codec) == "new"
    assert runs(vault) == 2
    (unknown,) = await EncryptionCodec(ring({"id": "made-up", "secret": NEW})).encode([PLAIN])
    for _ in range(3):
        with pytest.raises(EncryptionError, match="`made-up`, which is not given"):
            await codec.decode([unknown])
    assert runs(vault) == 2  # not again for a while, whatever the ids
    clock.now += ASK_EVERY
    with pytest.raises(EncryptionError):
        await codec.decode([unknown])
    assert runs(vault) == 3


async def test_a_command_is_run_again_where_that_is_asked_for(ring: Rings, clock: Clock, tmp_path: Path):
    vault = tmp_path / "vault"
    vault.write_text(f"old {OLD}")
    codec = EncryptionCodec(ring({"command": printing(vault), "refresh_seconds": 60}))
    vault.write_text(f"new {NEW}\nold {OLD}")
    clock.now += 59
    assert await used(codec) == "old"
    clock.now += 1
    assert await used(codec) == "new"
    assert runs(vault) == 2


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("print('planted')", "has 5 bytes, not 32"),
        ("print('planted planted planted')", "more than two words"),
        ("print('')", "holds no key"),
        ("import sys; print('planted', file=sys.stderr); sys.exit(3)", "ended with status 3"),
        ("import threading; threading.Event().wait()", "did not end in 0.5 s"),
        (None, "cannot be run: No such file"),
    ],
)
def test_what_a_command_does_wrong_is_told_without_what_it_prints(ring: Rings, program: str | None, told: str):
    command = ["/nowhere/vault"] if program is None else [sys.executable, "-c", program]
    with pytest.raises(ConfigError, match=rf"`temporal\.data_converter\.keys\.0\.command`.*{told}") as error:
        ring({"command": command, "timeout_seconds": 0.5 if "Event" in command[-1] else 10})
    assert "planted" not in str(error.value)


def test_equal_ids_and_a_missing_active_key_are_refused(ring: Rings):
    with pytest.raises(ConfigError, match="Two keys have the id `a`"):
        ring({"id": "a", "secret": NEW}, {"id": "a", "secret": OLD})
    with pytest.raises(ConfigError, match=r"`temporal\.data_converter\.active_key` is `c`.*there is `a`"):
        ring({"id": "a", "secret": NEW}, active_key="c")


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({}, "say what to do"),
        ({"codec": "aes256gcm", "compress": True}, "needs an `encryption_key`"),
        ({"previous_keys": [OLD]}, "give an `encryption_key`"),
        ({"encryption_key": OLD, "keys": [{"secret": NEW}]}, "takes the place of"),
        ({"encryption_key": OLD, "active_key": "a"}, "give them"),
        ({"keys": [{"id": "a"}]}, "not none"),
        ({"keys": [{"secret": NEW, "file": "keys"}]}, "not `?secret`? and"),
        ({"keys": [{"secret": NEW, "refresh_seconds": 5}]}, "is about a `command`"),
        ({"keys": [{"secret": NEW, "id": "a b"}]}, "is no key id"),
    ],
)
def test_a_section_that_cannot_be_meant_is_refused(section: dict[str, Any], told: str):
    with pytest.raises(ValidationError, match=told):
        DataConverterSettings(**section)


def test_a_file_is_meant_from_where_the_configuration_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "keys").write_text(f"mine {NEW}")
    config = tmp_path / "mcp_agent.config.yaml"
    config.write_text("temporal: {data_converter: {keys: [{file: keys}]}, external_storage: {folder: blobs}}")
    monkeypatch.chdir("/")
    temporal = load_settings(config).temporal
    assert temporal.data_converter is not None
    assert temporal.external_storage is not None
    assert configured_keys(temporal.data_converter).keys.active.key_id == "mine"
    assert temporal.external_storage.folder == tmp_path / "blobs"


def test_a_lone_key_has_the_id_beside_its_file(ring: Rings, tmp_path: Path):
    file = tmp_path / "key"
    file.write_text(NEW)
    assert ring({"file": file, "id": "mine"}).keys.active.key_id == "mine"
    assert ring({"file": file}).keys.active.key_id == EncryptionConverter(NEW).key_id
    file.write_text(f"a {NEW}")
    with pytest.raises(ConfigError, match="leave out the `id`"):
        ring({"file": file, "id": "mine"})
