"""The scripted model, for tests and demonstrations: replies from a file instead of a provider.

The file's format is described in `mcp_agent.workflows.llm.providers.scripted`.
"""

from __future__ import annotations

from mcp_agent.workflows.llm.providers.scripted import (
    Script,
    ScriptedClient,
    ScriptedError,
    ScriptedReply,
    ScriptedToolCall,
)

__all__ = ["Script", "ScriptedClient", "ScriptedError", "ScriptedReply", "ScriptedToolCall"]
