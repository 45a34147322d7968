"""The `temporal` section, and retry policies."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, model_validator

from mcp_agent.config_connection import TLS, MetadataName, TemporalAuthSettings, WorkerSettings
from mcp_agent.config_queues import QueueName, QueueSettings
from mcp_agent.config_section import Address, Seconds, Section
from mcp_agent.config_stored import CodecServerSettings, DataConverterSettings, ExternalStorageSettings
from mcp_agent.config_versioning import VersioningSettings, WorkerVersioning
from mcp_agent.executor.priority import PriorityLevel
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


def _a_host(text: str) -> str:
    if not re.fullmatch(r"[^\s:/]+|\[[0-9a-fA-F:.]+\]", text):
        raise ValueError("give a name or an address alone, like `temporal.example.com` or `[::1]`; the port is `port`.")
    return text


_OF_A_GIVEN_SERVER = ("port", "namespace", "tls", "auth", "rpc_metadata")


class TemporalSettings(Section):
    """Where runs live. Without a `host` and a `profile`, this package brings its own Temporal.

    Attributes:
        profile: One of those that the `temporal` program keeps. It says what this section does not: address, namespace, TLS, key.
        profile_file: Where it is, if not where that program has it.
        rpc_metadata: Headers of every call.
        task_queue: The app's name by default (on the embedded server made unique by the configuration's path).
        queues: Queues of their own for steps: `models`, `tools`, `steps`, and those that steps name.
        priorities: Of the runs of workflows, by name: 1 (first) to 5 (last). What their code says by default.
        binary: The `temporal` program for the embedded server.
        data_dir: Where the embedded server keeps its database.
        worker_versioning: Whether workers tell Temporal which version of the code they have, and how versions follow each other.
            By default on the embedded server only: on another one it may not be allowed.
        ui_url: Where Temporal's web page of a server that is not the embedded one is: runs are linked to their pages there.
        passthrough_modules: Modules that workflow code may import as they are, instead of anew for each run.
    """

    host: Annotated[str, AfterValidator(_a_host)] | None = None
    port: int = Field(default=7233, gt=0, lt=65536)
    namespace: str = "default"
    task_queue: str | None = Field(default=None, min_length=1)
    queues: dict[QueueName, QueueSettings] = {}
    priorities: dict[str, PriorityLevel] = {}
    max_concurrent_activities: int | None = Field(default=None, gt=0)
    profile: str | None = Field(default=None, min_length=1)
    profile_file: Path | None = None
    tls: TLS | None = None
    data_converter: DataConverterSettings | None = None
    external_storage: ExternalStorageSettings | None = None
    codec_server: CodecServerSettings = CodecServerSettings()
    retry_policy: RetryPolicySettings | None = None
    auth: TemporalAuthSettings | None = None
    rpc_metadata: dict[MetadataName, SecretStr] = {}
    worker: WorkerSettings = WorkerSettings()
    binary: Path | None = None
    data_dir: Path | None = None
    worker_versioning: WorkerVersioning | None = None
    ui_url: Address | None = None
    passthrough_modules: list[str] = []

    @model_validator(mode="after")
    def _one_namespace(self) -> TemporalSettings:
        if self.auth is not None and self.auth.namespace not in (None, self.namespace):
            raise ValueError(f"`auth.namespace` is `{self.auth.namespace}`, `namespace` is `{self.namespace}`: give one.")
        return self

    @model_validator(mode="after")
    def _known_where(self) -> TemporalSettings:
        if self.profile_file is not None and self.profile is None:
            raise ValueError("`profile_file` holds profiles: name one with `profile`.")
        lone = [name for name in _OF_A_GIVEN_SERVER if name in self.model_fields_set] if self.embedded else []
        if lone:
            raise ValueError(f"`{lone[0]}` is about a Temporal of your own: say where it is, with `host` or `profile`.")
        return self

    @model_validator(mode="after")
    def _said_once(self) -> TemporalSettings:
        if self.worker.tuner is not None and self.max_concurrent_activities is not None:
            raise ValueError("`worker.tuner` and `max_concurrent_activities` both say how much at the same time: keep one.")
        if self.auth is not None and "authorization" in self.rpc_metadata:
            raise ValueError("`rpc_metadata.authorization` would hide the key of `auth`: keep one.")
        return self

    @property
    def embedded(self) -> bool:
        """Whether this package brings Temporal."""
        return self.host is None and self.profile is None

    @property
    def versioning(self) -> VersioningSettings | None:
        """How versions of the code are told apart; `None` where they are not."""
        asked = self.embedded if self.worker_versioning is None else self.worker_versioning
        return (VersioningSettings() if asked else None) if isinstance(asked, bool) else asked
