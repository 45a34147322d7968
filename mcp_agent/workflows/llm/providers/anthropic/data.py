"""What the Messages API must get back unchanged, kept under `provider_data["anthropic"]` of an answer.

`blocks` holds the blocks that have no form of their own here (thinking, its signatures, the provider's own tools), each
with the number of the block that it stood before; `extra` holds further fields of the others, by their number; `model`
and `prefix` name who thought, and after what. The API refuses thoughts of another model, and of the newest models those
after another beginning, such as one that was summed up since: they are left out. `stop_reason` holds an unknown one.
"""

from __future__ import annotations

from mcp_agent.workflows.llm.messages import Message
from mcp_agent.workflows.llm.providers.reading import JSON, as_dict

NAMESPACE = "anthropic"
THOUGHTS = frozenset({"thinking", "redacted_thinking"})
"""Types of blocks that only the model reads."""


def own_data(message: Message) -> JSON:
    """What an answer of this API left to be sent back; nothing for an answer of another one."""
    return as_dict((message.provider_data or {}).get(NAMESPACE))
