"""The keys that seal what clients carry from one call to the next (`requestState`)."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from mcp.server.request_state import RequestStateSecurity

from mcp_agent.config import Settings
from mcp_agent.executor.data_dir import data_dir

STATE_LIFETIME = 7 * 86_400.0
"""Seconds that a person may take for an answer, before the client has to ask for the run's status."""
KEY_FILE = "state.key"


def state_security(settings: Settings) -> RequestStateSecurity:
    """With the keys of the configuration; without, runs that outlive this process have a key that does so, too."""
    return RequestStateSecurity(keys=_keys(settings), ttl=STATE_LIFETIME)


def _keys(settings: Settings) -> list[bytes]:
    if settings.server.state_keys:
        return [key.get_secret_value().encode() for key in settings.server.state_keys]
    if settings.execution_engine == "temporal" and settings.temporal.embedded:
        return [_kept_key(data_dir(settings.temporal.data_dir) / KEY_FILE)]
    return [secrets.token_bytes(32)]


def _kept_key(file: Path) -> bytes:
    """The key in a file that only its user can read; made the first time, by one of those that do so at once."""
    made = file.with_name(f"{file.name}.{os.getpid()}")
    if not file.exists():
        made.touch(mode=0o600)
        made.write_bytes(secrets.token_bytes(32))
        with suppress(FileExistsError):
            os.link(made, file)
        made.unlink()
    return file.read_bytes()
