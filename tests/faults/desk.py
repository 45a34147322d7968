"""A run that asks one model with one tool."""

from mcp_agent.agents.agent import Agent
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow
from mcp_agent.workflows.llm.augmented_llm import AugmentedLLM
from mcp_agent.workflows.llm.augmented_llm_anthropic import AnthropicAugmentedLLM
from mcp_agent.workflows.llm.augmented_llm_azure import AzureAugmentedLLM
from mcp_agent.workflows.llm.augmented_llm_google import GoogleAugmentedLLM
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM

app = MCPApp(name="faults")

PROVIDERS: dict[str, type[AugmentedLLM]] = {
    "openai": OpenAIAugmentedLLM,
    "azure": AzureAugmentedLLM,
    "anthropic": AnthropicAugmentedLLM,
    "google": GoogleAugmentedLLM,
}
"""By the section of the configuration."""


@app.workflow
class Asks(Workflow[str]):
    """One question, with as many tool calls as the model wants."""

    @app.workflow_run
    async def run(self, provider: str, question: str) -> str:
        async with Agent("clerk", "You keep a ledger.", server_names=["ledger"]) as clerk:
            llm = await clerk.attach_llm(PROVIDERS[provider])
            return await llm.generate_str(question)
