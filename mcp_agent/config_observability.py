"""The `observability` section: metrics, traces, and whether a process is alive and ready."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr

from mcp_agent.config_section import Address, Section
from mcp_agent.errors import ConfigError

TRACES_PATH = "/v1/traces"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_RATIO_SAMPLERS = ("traceidratio", "parentbased_traceidratio")


def _with_traces_path(text: str) -> str:
    base = text.rstrip("/")
    return base if base.endswith(TRACES_PATH) else base + TRACES_PATH


class ListenSettings(Section):
    """Where a page for machines is served. Port 0 is any that is free; which one is said on standard error."""

    host: str = "127.0.0.1"
    port: int = Field(ge=0, lt=65536)


class MetricsSettings(ListenSettings):
    """Prometheus reads `http://host:port/metrics`. Two processes on one machine need two ports."""

    port: int = Field(default=9464, ge=0, lt=65536)


class HealthSettings(ListenSettings):
    """`/healthz` and `/readyz`, for processes without the HTTP server, which has them too. May be the address of `metrics`."""

    port: int = Field(default=8081, ge=0, lt=65536)


class TracingSettings(Section):
    """OpenTelemetry traces, sent to a collector by OTLP over HTTP.

    Attributes:
        endpoint: The collector; `/v1/traces` is put behind it where it is missing.
        headers: Sent along, such as a key.
        service_name: What the process is called in traces; the app's name by default.
        sample_ratio: Of traces that begin here; those that a caller has begun are its own to decide.
        record_content: Also what models are asked and answer, and the texts of errors. Secrets are masked all the same.
    """

    endpoint: Annotated[Address, AfterValidator(_with_traces_path)] = "http://127.0.0.1:4318" + TRACES_PATH
    headers: dict[str, SecretStr] = {}
    service_name: str | None = None
    sample_ratio: float = Field(default=1, ge=0, le=1)
    record_content: bool = False


class ObservabilitySettings(Section):
    """Each part is off where it is not there."""

    metrics: MetricsSettings | None = None
    health: HealthSettings | None = None
    tracing: TracingSettings | None = None


def opentelemetry_variables() -> dict[str, Any]:
    """The section as OpenTelemetry's own variables give it; empty where they name no collector.

    Raises:
        ConfigError: They ask for what cannot be had.
    """
    endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    if endpoint is None or off:
        return {}
    protocol = next((os.environ[name] for name in _PROTOCOLS if os.environ.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        raise ConfigError(
            f"OTLP is spoken as `http/protobuf`, not as `{protocol}`: set `{_PROTOCOLS[0]}` and the endpoint for that."
        )
    tracing: dict[str, Any] = {"endpoint": endpoint, "headers": _headers()}
    if os.environ.get("OTEL_SERVICE_NAME"):
        tracing["service_name"] = os.environ["OTEL_SERVICE_NAME"]
    ratio = _sample_ratio(os.environ.get("OTEL_TRACES_SAMPLER", ""))
    if ratio is not None:
        tracing["sample_ratio"] = ratio
    return {"observability": {"tracing": tracing}}


def _headers() -> dict[str, str]:
    given = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS") or os.environ.get("OTEL_EXPORTER_OTLP_HEADERS") or ""
    return {name.strip(): value.strip() for name, value in re.findall(r"([^=,]+)=([^,]*)", given)}


def _sample_ratio(sampler: str) -> float | str | None:
    """What a sampler of OpenTelemetry's names comes to."""
    if sampler in ("", "always_on", "parentbased_always_on"):
        return None
    if sampler in ("always_off", "parentbased_always_off"):
        return 0
    if sampler in _RATIO_SAMPLERS:
        return os.environ.get("OTEL_TRACES_SAMPLER_ARG") or 1
    known = ", ".join(f"`{name}`" for name in ("always_on", "always_off", *_RATIO_SAMPLERS))
    raise ConfigError(f"`OTEL_TRACES_SAMPLER` is `{sampler}`: choose one of {known}.")
