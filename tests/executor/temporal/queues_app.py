"""An app whose steps go to queues of their own, and whose runs have priorities."""

import asyncio

from temporalio import activity

from mcp_agent import workflow
from mcp_agent.agents.agent import Agent
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM

app = MCPApp("queues")
begun = asyncio.Event()
go_on = asyncio.Event()
done: list[str] = []
priorities: dict[str, set[int | None]] = {}


def look_up() -> str:
    """Looks it up."""
    return "found"


@app.workflow_task(name="queues.own")
async def own(text: str) -> str:
    priorities.setdefault(text, set()).add(activity.info().priority.priority_key)
    return f"own {text}"


@app.workflow_task(name="queues.drawn", queue="gpu", priority=2)
async def drawn(text: str) -> str:
    priorities.setdefault(text, set()).add(activity.info().priority.priority_key)
    return f"drawn {text}"


@app.workflow_task(name="queues.held")
async def held(text: str) -> str:
    begun.set()
    await go_on.wait()
    return f"held {text}"


@app.workflow_task(name="queues.noted")
async def noted(text: str) -> str:
    done.append(text)
    return text


@app.workflow(priority=4)
class Child(Workflow[str]):
    @app.workflow_run
    async def run(self) -> str:
        return await own("child")


@app.workflow
class Heir(Workflow[str]):
    @app.workflow_run
    async def run(self) -> str:
        return await own("heir")


@app.workflow
class Everything(Workflow[str]):
    """A model, a tool, steps, children, and all again as a continued run."""

    @app.workflow_run
    async def run(self, again: bool) -> str:
        agent = await Agent("asker", functions=[look_up]).attach_llm(OpenAIAugmentedLLM)
        said = await agent.generate_str("look")
        said += await own("step") + await drawn("picture")
        await workflow.execute_child_workflow(Child)
        await workflow.execute_child_workflow(Heir)
        await workflow.execute_child_workflow(Heir, priority=5)
        if again:
            workflow.continue_as_new(False)
        return said


@app.workflow
class Holds(Workflow[str]):
    @app.workflow_run
    async def run(self) -> str:
        return await held("fast")


@app.workflow
class Notes(Workflow[str]):
    @app.workflow_run
    async def run(self, text: str) -> str:
        return await noted(text)
