"""The app of this repository: the workflows of `workflows/` register with it."""

from mcp_agent.app import MCPApp

app = MCPApp(
    name="research_desk",
    description="Writes research briefs from a folder of documents, and asks a person before they are stored.",
)
