"""Where this user's runs are kept on this machine: the folder of the embedded Temporal and of what belongs to it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mcp_agent.errors import EngineUnavailable

DATA_VARIABLE = "MCP_AGENT_DATA_DIR"


def data_dir(configured: Path | None = None) -> Path:
    """The folder of the embedded server, made with access for its owner only.

    Args:
        configured: `temporal.data_dir`; without it the variable MCP_AGENT_DATA_DIR, else the user's data folder.

    Raises:
        EngineUnavailable: The folder cannot be made, or is another user's.
    """
    if configured is None:
        configured = Path(os.environ[DATA_VARIABLE]) if os.environ.get(DATA_VARIABLE) else _platform_dir()
    try:
        folder = configured.expanduser().resolve()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    except (OSError, RuntimeError) as error:
        raise EngineUnavailable(
            f"The data folder `{configured}` of the embedded Temporal cannot be used ({error}): set `temporal.data_dir`."
        ) from error
    return folder


def _platform_dir() -> Path:
    if sys.platform == "darwin":
        base = Path("~/Library/Application Support")
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share")
    return base / "durable-mcp-agent"
