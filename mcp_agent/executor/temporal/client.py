"""Connects to Temporal as the configuration says."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import lru_cache

from temporalio.client import Client
from temporalio.common import HeaderCodecBehavior
from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.service import RetryConfig, RPCError, TLSConfig

from mcp_agent.config import TemporalSettings, TLSSettings
from mcp_agent.errors import ConfigError, EngineUnavailable
from mcp_agent.executor.temporal.encryption import EncryptionCodec, data_converter
from mcp_agent.executor.temporal.measuring import measuring_default

# A cluster that loses a node refuses calls for up to a minute; the SDK's default gives up after ten seconds.
PATIENT = RetryConfig(max_elapsed_time_millis=120_000, max_retries=100)
RPC_TIMEOUT = timedelta(seconds=10)


def core_runtime() -> Runtime:
    """The SDK's core for this process: the program's own where it has set one that measures, else one of this package's."""
    return measuring_default() or _quiet_runtime()


@lru_cache(maxsize=1)
def _quiet_runtime() -> Runtime:
    """Its log lines are in Python's logging: by default they go to stdout."""
    levels = TelemetryFilter(core_level="WARN", other_level="ERROR")
    forwarding = LogForwardingConfig(logger=logging.getLogger("temporalio.core"))
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=levels, forwarding=forwarding)))


async def connect(address: str, settings: TemporalSettings, codec: EncryptionCodec | None = None) -> Client:
    """A client whose namespace answers.

    Args:
        address: Host and port.
        settings: How to connect; `codec` is made of its `data_converter` before.
        codec: Encrypts what is stored.

    Raises:
        EngineUnavailable: Temporal does not answer there, or not to this namespace and key.
    """
    key = settings.auth.api_key.get_secret_value() if settings.auth and settings.auth.api_key else None
    try:
        client = await Client.connect(
            address,
            namespace=settings.namespace,
            data_converter=data_converter(codec),
            header_codec_behavior=HeaderCodecBehavior.NO_CODEC if codec is None else HeaderCodecBehavior.CODEC,
            api_key=key,
            tls=_tls(settings.tls),
            retry_config=PATIENT,
            runtime=core_runtime(),
        )
        await _check_namespace(client)
    except (RuntimeError, RPCError) as error:
        raise EngineUnavailable(
            f"Temporal at `{address}`, namespace `{settings.namespace}`, does not answer: {error}. "
            "Check `temporal.host`, `port`, `namespace`, `tls` and `auth`, and that the server runs."
        ) from error
    return client


async def _check_namespace(client: Client) -> None:
    """`connect` succeeds with a wrong key or namespace; the first call of the namespace does not."""
    await client.count_workflows("WorkflowId = 'mcp-agent-check'", rpc_timeout=RPC_TIMEOUT)


def _tls(settings: TLSSettings | bool | None) -> TLSConfig | bool | None:
    if not isinstance(settings, TLSSettings):
        return settings

    def read(path: object) -> bytes | None:
        if path is None:
            return None
        try:
            with open(str(path), "rb") as file:
                return file.read()
        except OSError as error:
            raise ConfigError(f"`temporal.tls` names `{path}`, which cannot be read: {error.strerror}.") from None

    return TLSConfig(
        server_root_ca_cert=read(settings.ca_cert_path),
        client_cert=read(settings.client_cert_path),
        client_private_key=read(settings.client_key_path),
        domain=settings.server_name,
    )
