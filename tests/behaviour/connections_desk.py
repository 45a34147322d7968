"""A run that asks one model with one downstream server."""

from mcp_agent.agents.agent import Agent
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow
from mcp_agent.workflows.llm.augmented_llm import AugmentedLLM
from mcp_agent.workflows.llm.augmented_llm_anthropic import AnthropicAugmentedLLM
from mcp_agent.workflows.llm.augmented_llm_google import GoogleAugmentedLLM
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM

app = MCPApp(name="connections")

PROVIDERS: dict[str, type[AugmentedLLM]] = {
    "openai": OpenAIAugmentedLLM,
    "anthropic": AnthropicAugmentedLLM,
    "google": GoogleAugmentedLLM,
}
"""By the section of the configuration."""


@app.workflow
class AsksOften(Workflow[int]):
    """One question, with as many tool calls as the model wants: how many answers there were."""

    @app.workflow_run
    async def run(self, provider: str) -> int:
        async with Agent("clerk", "You count.", server_names=["odd"]) as clerk:
            llm = await clerk.attach_llm(PROVIDERS[provider])
            return len(await llm.generate("Who are you?"))
