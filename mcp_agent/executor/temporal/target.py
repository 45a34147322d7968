"""Where Temporal is and who calls it: the configuration, a profile, and the files that they name, as they are now."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio.envconfig import ClientConfigProfile
from temporalio.service import TLSConfig

from mcp_agent.config import TemporalAuthSettings, TemporalSettings, TLSSettings
from mcp_agent.errors import ConfigError

COMMAND_WITHIN = 30.0
RENEW_AT = 0.8  # of a key's life


@dataclass(frozen=True, slots=True)
class Target:
    """What a connection is made with.

    Attributes:
        address: Host and port.
        tls: As `temporalio.client.Client.connect` takes it.
        metadata: Headers of every call.
    """

    address: str
    namespace: str = "default"
    tls: TLSConfig | bool | None = field(default=None, repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    api_key: str | None = field(default=None, repr=False)

    @property
    def secured(self) -> bool:
        """Whether TLS is spoken: a key alone turns it on."""
        return bool(self.tls) or (self.tls is None and self.api_key is not None)


class Targets:
    """Reads the target of a configuration, again and again: what it is made of may change.

    Args:
        settings: With a `host` or a `profile`.
    """

    def __init__(self, settings: TemporalSettings) -> None:
        self._settings = settings
        self._auth = settings.auth or TemporalAuthSettings()
        self._printed: str | None = None
        self._print_again = datetime.min.replace(tzinfo=UTC)

    @property
    def changing(self) -> bool:
        """Whether there is anything that can change: a file, a command, a profile."""
        tls = self._settings.tls
        files = isinstance(tls, TLSSettings) and (tls.client_cert_path or tls.ca_cert_path)
        return bool(files or self._settings.profile or self._auth.api_key_file or self._auth.api_key_command)

    async def read(self) -> Target:
        """The target now. Raises ConfigError."""
        key = await self._from_command(self._auth.api_key_command) if self._auth.api_key_command else None
        return await asyncio.to_thread(self._read, key)

    def _read(self, printed: str | None) -> Target:
        given = self._settings
        profile = self._profile() if given.profile is not None else ClientConfigProfile()
        address = profile.address if given.host is None else f"{given.host}:{given.port}"
        if address is None:
            raise ConfigError(f"Profile `{given.profile}` names no address: add it there, or give `temporal.host`.")
        named = "namespace" in given.model_fields_set or profile.namespace is None
        return Target(
            address,
            given.namespace if named else profile.namespace or "",
            _tls(given.tls) if given.tls is not None else _profile_tls(profile),
            {**profile.grpc_meta, **{name: value.get_secret_value() for name, value in given.rpc_metadata.items()}},
            printed or self._key() or profile.api_key,
        )

    def _profile(self) -> ClientConfigProfile:
        file = self._settings.profile_file
        try:
            return ClientConfigProfile.load(self._settings.profile, config_source=file, config_file_strict=True)
        except (RuntimeError, OSError) as error:
            where = "its usual place or `TEMPORAL_CONFIG_FILE`" if file is None else f"`{file}`"
            raise ConfigError(
                f"Profile `{self._settings.profile}` (`temporal.profile`) cannot be read from {where}: {error}."
            ) from None

    def _key(self) -> str | None:
        if self._auth.api_key is not None:
            return self._auth.api_key.get_secret_value()
        if self._auth.api_key_file is None:
            return None
        key = _file(self._auth.api_key_file, "temporal.auth.api_key_file").decode(errors="replace").strip()
        return _usable(key, f"The file `{self._auth.api_key_file}` (`temporal.auth.api_key_file`)")

    async def _from_command(self, command: list[str]) -> str:
        """What the command prints; it runs when its last key gets old."""
        if self._printed is None or datetime.now(UTC) >= self._print_again:
            self._printed = await _printed_by(command)
            self._print_again = _renewal(self._printed, self._auth.renew_seconds)
        return self._printed


def expiry(key: str) -> datetime | None:
    """When a key ends that says so: a JWT. Others do not."""
    import jwt  # noqa: PLC0415 - only where there is a key: it loads ciphers

    try:
        claims: dict[str, Any] = jwt.decode(key, options={"verify_signature": False})
        return datetime.fromtimestamp(float(claims["exp"]), UTC)
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, OverflowError):
        return None


def _renewal(key: str, longest: float) -> datetime:
    now = datetime.now(UTC)
    ends = expiry(key)
    life = longest if ends is None else min(longest, RENEW_AT * (ends - now).total_seconds())
    return now + timedelta(seconds=max(life, 1))


async def _printed_by(command: list[str]) -> str:
    """Never tells what it printed: that may be the key."""
    what = f"`{command[0]}` (`temporal.auth.api_key_command`)"
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL)
    except OSError as error:
        raise ConfigError(f"{what} cannot be run: {error.strerror}.") from None
    try:
        async with asyncio.timeout(COMMAND_WITHIN):
            printed, _ = await process.communicate()
    except TimeoutError:
        raise ConfigError(f"{what} printed no key within {COMMAND_WITHIN:g} s: run it by hand.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise ConfigError(f"{what} ended with {process.returncode}: run it by hand.")
    return _usable(printed.decode(errors="replace").strip(), what)


def _usable(key: str, what: str) -> str:
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"{what} holds no key: one line of printable characters is needed.")
    return key


def _tls(settings: TLSSettings | bool) -> TLSConfig | bool:
    if not isinstance(settings, TLSSettings):
        return settings
    key = None if settings.client_key is None else settings.client_key.get_secret_value()
    return TLSConfig(
        server_root_ca_cert=_pem(settings.ca_cert_path, settings.ca_cert, "ca_cert_path"),
        client_cert=_pem(settings.client_cert_path, settings.client_cert, "client_cert_path"),
        client_private_key=_pem(settings.client_key_path, key, "client_key_path"),
        domain=settings.server_name,
    )


def _pem(path: Path | None, text: str | None, name: str) -> bytes | None:
    if path is None:
        return None if text is None else text.encode()
    content = _file(path, f"temporal.tls.{name}")
    if b"-----BEGIN " not in content:
        raise ConfigError(f"`{path}` (`temporal.tls.{name}`) is no PEM file: it has no `-----BEGIN ...`.")
    return content


def _profile_tls(profile: ClientConfigProfile) -> TLSConfig | bool | None:
    if profile.tls is None:
        return None
    try:
        return profile.tls.to_connect_tls_config()
    except OSError as error:
        raise ConfigError(f"The profile names `{error.filename}`, which cannot be read: {error.strerror}.") from None


def _file(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"`{path}` (`{setting}`) cannot be read: {error.strerror}.") from None
