"""Names that are stored with runs. They are persisted data: changing one breaks runs under way."""

ANSWER_UPDATE = "mcp_agent.answer"
RUN_MEMO = "mcp_agent.run"
STATE_MEMO = "mcp_agent.state"
CHANGED_EXTERN = "mcp_agent_changed"
