"""The app of the tests of what a server tells of itself."""

import logging

from mcp_agent.agents.agent import Agent
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM

app = MCPApp(name="observed")


@app.workflow_task(name="observed.weigh")
async def weigh(text: str) -> int:
    logging.getLogger("observed").info("weighing for planted-log-key")
    return len(text)


@app.workflow
class Writes(Workflow[str]):
    @app.workflow_run
    async def run(self, topic: str) -> str:
        app.context.logger.info("begins")
        app.context.metrics.record("topic.length", await weigh(topic), {"language": "en"})
        async with Agent("writer", "You write.", server_names=["archive"]) as writer:
            llm = await writer.attach_llm(OpenAIAugmentedLLM)
            return await llm.generate_str(f"about {topic}")


@app.workflow
class Asks(Workflow[str]):
    @app.workflow_run
    async def run(self) -> str:
        return (await app.context.elicit("Which colour?")).data or ""


@app.workflow
class Fails(Workflow[str]):
    @app.workflow_run
    async def run(self) -> str:
        raise ValueError("planted-error-text")


@app.tool
def greet(name: str) -> str:
    return f"Hello {name}"
