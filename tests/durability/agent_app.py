"""The app of the tests that kill workers in long agent runs."""

from mcp_agent.agents.agent import Agent
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM, RequestParams

TURNS = 30

app = MCPApp(name="ledger")


@app.workflow
class Keeps(Workflow[str]):
    """As many turns of one model as it is allowed: all but the last call the tool."""

    @app.workflow_run
    async def run(self, name: str) -> str:
        async with Agent("clerk", "You keep a ledger.", server_names=["ledger"]) as clerk:
            llm = await clerk.attach_llm(OpenAIAugmentedLLM)
            return await llm.generate_str(name, RequestParams(max_turns=TURNS))
