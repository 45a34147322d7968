"""Names that are stored with runs. They are persisted data: changing one breaks runs under way."""

ANSWER_UPDATE = "mcp_agent.answer"
OWN_MEMO = "mcp_agent."
RUN_MEMO = "mcp_agent.run"
STATE_MEMO = "mcp_agent.state"
CHANGED_EXTERN = "mcp_agent_changed"
SEAL_EXTERN = "mcp_agent_seal"
CARRIED_HEADER = "mcp_agent.carried"
