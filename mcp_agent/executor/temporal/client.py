"""Connects to Temporal as the configuration says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsRequest
from temporalio.client import Client, Interceptor
from temporalio.common import HeaderCodecBehavior
from temporalio.converter import DataConverter
from temporalio.runtime import Runtime
from temporalio.service import ConnectConfig, RetryConfig, RPCError, ServiceClient

from mcp_agent.executor.temporal.converter import agent_data_converter
from mcp_agent.executor.temporal.measuring import quiet_runtime
from mcp_agent.executor.temporal.refusals import refusal
from mcp_agent.executor.temporal.service import LiveService
from mcp_agent.executor.temporal.target import Target

# A cluster that loses a node refuses calls for up to a minute; the SDK's default gives up after ten seconds.
PATIENT = RetryConfig(max_elapsed_time_millis=120_000, max_retries=100)
RPC_TIMEOUT = timedelta(seconds=10)
ANSWERS_WITHIN = 20.0


async def connect(
    target: Target,
    converter: DataConverter | None = None,
    *,
    runtime: Runtime | None = None,
    interceptors: Sequence[Interceptor] = (),
) -> Client:
    """A client whose namespace answers, over a `LiveService`.

    Args:
        target: Where, and as whom.
        converter: How values are stored; as they are by default.
        runtime: The SDK's core; one that measures nothing by default.
        interceptors: See its calls, and what its workers do.

    Raises:
        EngineUnavailable: Temporal does not answer there, or not to this namespace and key; names the setting to look at.
    """
    converter = converter or agent_data_converter()
    return Client(
        LiveService(await open_service(target, runtime or quiet_runtime())),
        namespace=target.namespace,
        data_converter=converter,
        header_codec_behavior=HeaderCodecBehavior.NO_CODEC if converter.payload_codec is None else HeaderCodecBehavior.CODEC,
        interceptors=interceptors,
    )


async def open_service(target: Target, runtime: Runtime | None) -> ServiceClient:
    """A connection on which the target's namespace answers. Raises as `connect`."""
    config = ConnectConfig(
        target.address,
        api_key=target.api_key,
        tls=target.tls,
        retry_config=PATIENT,
        rpc_metadata=target.metadata,
        runtime=runtime,
        connect_timeout=RPC_TIMEOUT,
    )
    try:
        async with asyncio.timeout(ANSWERS_WITHIN):
            service = await ServiceClient.connect(config)
            await _check_namespace(service, target.namespace)
    except (RuntimeError, RPCError, TimeoutError) as error:
        raise refusal(error, target) from error
    return service


async def _check_namespace(service: ServiceClient, namespace: str) -> None:
    """`connect` succeeds with a wrong key or namespace; the first call of the namespace does not."""
    request = CountWorkflowExecutionsRequest(namespace=namespace, query="WorkflowId = 'mcp-agent-check'")
    await service.workflow_service.count_workflow_executions(request, retry=True, timeout=RPC_TIMEOUT)
