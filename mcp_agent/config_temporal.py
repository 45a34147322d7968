"""The `temporal` section, and retry policies."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from mcp_agent.config_section import Seconds, Section
from mcp_agent.executor.retry import RetryPolicy


class RetryPolicySettings(Section):
    """Retries of a step; intervals in seconds. See `RetryPolicy`."""

    initial_interval: Seconds = 1
    maximum_interval: Seconds | None = None
    backoff_coefficient: float = Field(default=2, ge=1)
    maximum_attempts: int = Field(default=0, ge=0)
    non_retryable_error_types: list[str] | None = None

    def as_policy(self) -> RetryPolicy:
        return RetryPolicy(
            initial_interval=timedelta(seconds=self.initial_interval),
            maximum_interval=None if self.maximum_interval is None else timedelta(seconds=self.maximum_interval),
            backoff_coefficient=self.backoff_coefficient,
            maximum_attempts=self.maximum_attempts,
            non_retryable_error_types=self.non_retryable_error_types,
        )


class TLSSettings(Section):
    """Paths of PEM files for a connection to Temporal, and the name its certificate is for."""

    client_cert_path: Path | None = None
    client_key_path: Path | None = None
    ca_cert_path: Path | None = None
    server_name: str | None = None


class DataConverterSettings(Section):
    """Encryption of what is stored with runs on Temporal.

    Attributes:
        encryption_key: 32 bytes in base64; what is stored from now on is encrypted with it.
        compress: Compress before encrypting what becomes smaller by it.
        previous_keys: Keys that older runs were encrypted with; they only decrypt.
    """

    encryption_key: SecretStr
    codec: Literal["aes256gcm"] = "aes256gcm"
    compress: bool = False
    previous_keys: list[SecretStr] = []


class TemporalAuthSettings(Section):
    """Temporal Cloud's API key; `namespace` must be the section's own."""

    api_key: SecretStr | None = None
    namespace: str | None = None


class TemporalSettings(Section):
    """Where runs live. Without a `host`, this package brings its own Temporal.

    Attributes:
        task_queue: The app's name by default (on the embedded server made unique by the configuration's path).
        binary: The `temporal` program for the embedded server.
        data_dir: Where the embedded server keeps its database.
        worker_versioning: Whether workers tell Temporal which build of the code they have, so that the one that was started
            last runs all workflows. By default on the embedded server only: on another one it may not be allowed.
        passthrough_modules: Modules that workflow code may import as they are, instead of anew for each run.
    """

    host: str | None = None
    port: int = Field(default=7233, gt=0, lt=65536)
    namespace: str = "default"
    task_queue: str | None = Field(default=None, min_length=1)
    max_concurrent_activities: int | None = Field(default=None, gt=0)
    tls: bool | TLSSettings | None = None
    data_converter: DataConverterSettings | None = None
    retry_policy: RetryPolicySettings | None = None
    auth: TemporalAuthSettings | None = None
    binary: Path | None = None
    data_dir: Path | None = None
    worker_versioning: bool | None = None
    passthrough_modules: list[str] = []

    @model_validator(mode="after")
    def _one_namespace(self) -> TemporalSettings:
        if self.auth is not None and self.auth.namespace not in (None, self.namespace):
            raise ValueError(f"`auth.namespace` is `{self.auth.namespace}`, `namespace` is `{self.namespace}`: give one.")
        return self
