"""How values are stored with runs: `temporal.data_converter`, `temporal.external_storage`, `temporal.codec_server`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from mcp_agent.config_section import Address, Seconds, Section
from mcp_agent.config_server import DEFAULT_BODY_LIMIT, Host, Origin, ServerAuthSettings

CompressionMethod = Literal["zstd", "gzip", "zlib"]


def _a_key_id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", text):
        raise ValueError(f"`{text[:64]}` is no key id: use 1 to 64 letters, digits, `.`, `_`, `:` and `-`.")
    return text


KeyId = Annotated[str, AfterValidator(_a_key_id)]


class KeySettings(Section):
    """Where one key, or a set of keys, comes from: a secret in place, a file, or a command.

    A file, and the output of a command, hold one key a line: its id, a space, and the key; or a lone key. Empty lines and
    what begins with `#` do not count.

    Attributes:
        id: The key's name, which is stored with each value; for a lone key. A short hash of the key by default.
        secret: 32 bytes in base64.
        file: Read again when it changes.
        command: Program and arguments; run at start and for a key id that is not known. What it prints is never logged.
        timeout_seconds: How long the command may take.
        refresh_seconds: How often the command is run again beside that.
    """

    id: KeyId | None = None
    secret: SecretStr | None = None
    file: Path | None = None
    command: list[str] | None = Field(default=None, min_length=1)
    timeout_seconds: Seconds = 10
    refresh_seconds: Seconds | None = None

    @model_validator(mode="after")
    def _one_source(self) -> KeySettings:
        given = [name for name in ("secret", "file", "command") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of `secret`, `file` and `command`, not {' and '.join(given) or 'none'}.")
        lone = sorted({"timeout_seconds", "refresh_seconds"} & self.model_fields_set) if self.command is None else []
        if lone:
            raise ValueError(f"`{lone[0]}` is about a `command`: leave it out.")
        return self


class DataConverterSettings(Section):
    """Encryption and compression of what is stored with runs on Temporal.

    Attributes:
        encryption_key: 32 bytes in base64; what is stored from now on is encrypted with it.
        previous_keys: Keys that older runs were encrypted with; they only decrypt.
        keys: Instead of both: keys with ids, from files and commands too. All decrypt.
        active_key: The id of the one of `keys` that encrypts; the first by default.
        compress: Compress, before encrypting, what becomes smaller by it; `true` is `zlib`.
    """

    encryption_key: SecretStr | None = None
    codec: Literal["aes256gcm"] = "aes256gcm"
    compress: CompressionMethod | bool = False
    previous_keys: list[SecretStr] = []
    keys: list[KeySettings] = []
    active_key: KeyId | None = None

    @property
    def compression(self) -> CompressionMethod | None:
        return ("zlib" if self.compress else None) if isinstance(self.compress, bool) else self.compress

    @property
    def encrypts(self) -> bool:
        return self.encryption_key is not None or bool(self.keys)

    @model_validator(mode="after")
    def _keys_are_named_once(self) -> DataConverterSettings:
        if self.keys and (self.encryption_key is not None or self.previous_keys):
            raise ValueError("`keys` takes the place of `encryption_key` and `previous_keys`: put them there, as `secret`.")
        if self.previous_keys and self.encryption_key is None:
            raise ValueError("`previous_keys` only decrypt: give an `encryption_key`.")
        if self.active_key is not None and not self.keys:
            raise ValueError("`active_key` is one of `keys`: give them.")
        if not self.encrypts and not {"compress"} & self.model_fields_set:
            raise ValueError("say what to do: give an `encryption_key`, `keys`, or `compress`.")
        if not self.encrypts and "codec" in self.model_fields_set:
            raise ValueError(f"`codec: {self.codec}` needs an `encryption_key`, or `keys`.")
        return self


class S3Settings(Section):
    """Amazon S3, or what speaks its API. Credentials are found as boto3 finds them, where none are given.

    Attributes:
        prefix: What the names of the objects begin with.
        endpoint_url: Of another server than Amazon's.
    """

    bucket: str = Field(min_length=1)
    prefix: str = ""
    region: str | None = None
    endpoint_url: Address | None = None
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None

    @model_validator(mode="after")
    def _credentials_are_whole(self) -> S3Settings:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("give `access_key_id` and `secret_access_key`, or neither.")
        return self


class GCSSettings(Section):
    """Google Cloud Storage, with the machine's own credentials.

    Attributes:
        prefix: What the names of the objects begin with.
    """

    bucket: str = Field(min_length=1)
    prefix: str = ""
    project: str | None = None


class ExternalStorageSettings(Section):
    """Where values are kept that are too large for a run's history, which then holds a reference.

    Attributes:
        folder: A folder that every server and worker sees.
        threshold_bytes: What is at least as large, as it is stored, is kept there.
        max_payload_bytes: The most that one value may have.
    """

    folder: Path | None = None
    s3: S3Settings | None = None
    gcs: GCSSettings | None = None
    threshold_bytes: int = Field(default=128 * 1024, ge=1024, le=1_500_000)
    max_payload_bytes: int = Field(default=50_000_000, ge=2_000_000, le=60_000_000)

    @model_validator(mode="after")
    def _one_place(self) -> ExternalStorageSettings:
        given = [name for name in ("folder", "s3", "gcs") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of `folder`, `s3` and `gcs`, not {' and '.join(given) or 'none'}.")
        return self


class CodecServerSettings(Section):
    """`mcp-agent codec-server`, which decrypts for Temporal's web page and command line.

    Attributes:
        allowed_origins: Web pages that may ask, such as `https://temporal.example.com`; that of the embedded Temporal may.
        allowed_hosts: Names that it is called by, beside this machine's own and that of `host`.
        auth: Who may ask, as in `server.auth`; whoever is on this machine without it, and then nobody else.
        max_request_bytes: Of one request's body.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8081, ge=0, lt=65536)
    allowed_origins: list[Origin] = []
    allowed_hosts: list[Host] = []
    auth: ServerAuthSettings | None = None
    max_request_bytes: int = Field(default=4 * DEFAULT_BODY_LIMIT, gt=0)

    @model_validator(mode="after")
    def _tokens_are_for_it(self) -> CodecServerSettings:
        if self.auth is not None and self.auth.issuer is not None and self.auth.audience is None:
            raise ValueError("`auth.issuer` needs `auth.audience`: say what its tokens for this server are for.")
        return self
