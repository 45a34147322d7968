"""The Temporal engine. Importing this imports `temporalio`."""

from mcp_agent.executor.temporal.definition import install as _install_definitions
from mcp_agent.executor.temporal.encryption import CompositeConverter, EncryptionConverter
from mcp_agent.executor.temporal.frozen_code import install as _install_finder
from mcp_agent.executor.temporal.measuring import install as _install_measuring
from mcp_agent.executor.temporal.plugin import AgentPlugin
from mcp_agent.executor.temporal.worker import AppWorker, create_temporal_worker_for_app
from mcp_agent.executor.workflow_signal import Signal

__all__ = [
    "AgentPlugin",
    "AppWorker",
    "CompositeConverter",
    "EncryptionConverter",
    "Signal",
    "create_temporal_worker_for_app",
]

_install_definitions()
_install_finder()
_install_measuring()
