"""Parts of the `temporal` section: how a connection is secured and authorised, and what a worker takes on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, Tag, model_validator

from mcp_agent.config_section import Plain, Seconds, Section, plain_or

RENEW_SECONDS = 300.0


def _in_pem(text: str) -> str:
    if "-----BEGIN " not in text:
        raise ValueError("give the text of a PEM file, from `-----BEGIN ...` on; a file is named with the `_path` key.")
    return text


def _secret_in_pem(text: SecretStr) -> SecretStr:
    _in_pem(text.get_secret_value())
    return text


def _a_header(name: str) -> str:
    if not re.fullmatch(r"[0-9a-z_.-]+", name) or name.startswith("grpc-") or name.endswith("-bin"):
        raise ValueError(
            f"`{name}` is no name of metadata: lower-case letters, digits, `_`, `.` and `-`, not `grpc-...` and not `...-bin`."
        )
    return name


MetadataName = Annotated[str, AfterValidator(_a_header)]


class TLSSettings(Section):
    """Certificates of a connection to Temporal, as files or as their text. Files that change lead to a new connection.

    Attributes:
        ca_cert_path: Who signs Temporal's certificate; by default the authorities that this machine trusts.
        server_name: What Temporal's certificate is for, if that is not the host.
    """

    client_cert_path: Path | None = None
    client_key_path: Path | None = None
    ca_cert_path: Path | None = None
    client_cert: Annotated[str, AfterValidator(_in_pem)] | None = None
    client_key: Annotated[SecretStr, AfterValidator(_secret_in_pem)] | None = None
    ca_cert: Annotated[str, AfterValidator(_in_pem)] | None = None
    server_name: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_of_each(self) -> TLSSettings:
        for name in ("client_cert", "client_key", "ca_cert"):
            if getattr(self, name) is not None and getattr(self, f"{name}_path") is not None:
                raise ValueError(f"`{name}` and `{name}_path` say the same: keep one.")
        given = {name for name in ("client_cert", "client_key") if getattr(self, name) or getattr(self, f"{name}_path")}
        if len(given) == 1:
            missing = ({"client_cert", "client_key"} - given).pop()
            raise ValueError(f"`{given.pop()}` needs its other half: give `{missing}_path` or `{missing}`.")
        return self


TLS = Annotated[Annotated[bool, Plain] | Annotated[TLSSettings, Tag("TLSSettings")], plain_or(TLSSettings)]


class TemporalAuthSettings(Section):
    """The API key of Temporal Cloud, or a JWT for a server of one's own; `namespace` must be the section's own.

    Attributes:
        api_key_file: Where the key is; read again when it changes.
        api_key_command: A program and its arguments that print the key; run again before a JWT expires, and at least each
            `renew_seconds`.
    """

    api_key: SecretStr | None = None
    api_key_file: Path | None = None
    api_key_command: list[str] | None = Field(default=None, min_length=1)
    renew_seconds: Seconds = RENEW_SECONDS
    namespace: str | None = None

    @model_validator(mode="after")
    def _one_key(self) -> TemporalAuthSettings:
        given = [name for name in ("api_key", "api_key_file", "api_key_command") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"`{given[0]}` and `{given[1]}` both say what the key is: keep one.")
        if "renew_seconds" in self.model_fields_set and self.api_key_command is None:
            raise ValueError("`renew_seconds` says how often `api_key_command` runs: there is none.")
        return self


class PollerSettings(Section):
    """Requests for work that a worker holds open: as many as Temporal advises, within bounds."""

    minimum: int = Field(default=2, ge=2)
    maximum: int = Field(default=100, ge=2)
    initial: int = Field(default=5, ge=2)

    @model_validator(mode="after")
    def _in_order(self) -> PollerSettings:
        if not self.minimum <= self.initial <= self.maximum:
            raise ValueError("`initial` must be between `minimum` and `maximum`.")
        return self


Pollers = Annotated[
    Annotated[int, Field(ge=2), Plain] | Annotated[PollerSettings, Tag("PollerSettings")], plain_or(PollerSettings)
]


class TunerSettings(Section):
    """Takes on work until the machine is this busy: parts of one, of what all programs on it use.

    Attributes:
        maximum_workflows: Runs whose code is executed at the same time, at most; `maximum_activities` the same for steps.
    """

    target_memory_usage: float = Field(default=0.8, gt=0, le=1)
    target_cpu_usage: float = Field(default=0.9, gt=0, le=1)
    maximum_workflows: int = Field(default=500, ge=5)
    maximum_activities: int = Field(default=500, ge=1)


class WorkerSettings(Section):
    """What one worker process takes on. What `create_temporal_worker_for_app` is given wins.

    Attributes:
        max_concurrent_workflows: Runs whose code is executed at the same time.
        max_cached_workflows: Runs kept in memory between their events.
        threads: For steps that are plain functions.
        max_activities_per_second: Steps that this process begins.
        max_queue_activities_per_second: Steps that all workers of the queue begin together.
        workflow_pollers: A number, or bounds between which it follows the load.
        activity_pollers: The same for steps.
        tuner: Instead of `max_concurrent_...`: as much as the machine can do.
    """

    max_concurrent_workflows: int | None = Field(default=None, ge=2)
    max_cached_workflows: int | None = Field(default=None, ge=0)
    threads: int | None = Field(default=None, gt=0)
    max_activities_per_second: float | None = Field(default=None, gt=0)
    max_queue_activities_per_second: float | None = Field(default=None, gt=0)
    workflow_pollers: Pollers | None = None
    activity_pollers: Pollers | None = None
    tuner: TunerSettings | None = None

    @model_validator(mode="after")
    def _one_measure(self) -> WorkerSettings:
        if self.tuner is not None and self.max_concurrent_workflows is not None:
            raise ValueError("`tuner` and `max_concurrent_workflows` both say how much at the same time: keep one.")
        return self
