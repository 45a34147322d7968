"""Workflows with agents, for what is the same on both engines. The models' words are in `agents_script.yaml`."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any, Literal

from mcp_types import ImageContent, ToolUseContent
from pydantic import BaseModel

from mcp_agent import workflow
from mcp_agent.agents.agent import Agent
from mcp_agent.errors import BudgetExceeded, MaxTurnsExceeded, StructuredAnswerError, WorkflowApplicationError
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.workflows.llm.augmented_llm import Compaction, RequestParams
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM
from mcp_agent.workflows.llm.messages import Message
from tests.behaviour.desk import app, current_step

CALLS: list[str] = []
"""What was called, in this process: both engines run their steps here."""


class Weather(BaseModel):
    city: str
    degrees: float
    sky: Literal["clear", "grey"] = "clear"


@dataclass
class Pair:
    left: int
    right: int


async def weather(city: str, days: int = 1) -> Weather:
    """Tells the weather of a city."""
    step = current_step()
    CALLS.append(f"{city} {days} {step.step if step else 'no step'}")
    return Weather(city=city, degrees=21.5)


def picture(name: str) -> ImageContent:
    """Draws something."""
    return ImageContent(data="aGVsbG8=", mime_type="image/png")


def breaks(how: str) -> str:
    """Does not work."""
    CALLS.append(how)
    if how == "application":
        raise WorkflowApplicationError("not today", type="Closed", non_retryable=True)
    raise ValueError(f"cannot {how}")


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def inner(*args: Any) -> Any:
        CALLS.append("decorated")
        return function(*args)

    return inner


@logged
def halved(number: int) -> int:
    """Halves a number."""
    return number // 2


@logged
async def squared(number: int) -> int:
    """Squares a number."""
    return number * number


def by_name(number: int, *, times: int, more: int = 1) -> int:
    """Multiplies."""
    return number * times + more


def huge() -> str:
    return "x" * 300_000


@app.workflow_task(name="agents.doubled", retry_policy=workflow.RetryPolicy(maximum_attempts=1))
async def doubled(number: int) -> int:
    """Doubles a number."""
    return number * 2


async def all_of(llm: Any) -> list[str]:
    """What a conversation holds, a line a block."""
    told: list[str] = []
    for message in llm.history:
        for block in message.content:
            match block.type:
                case "text":
                    told.append(f"{message.role}: {block.text}")
                case "tool_use":
                    told.append(f"calls {block.name}")
                case "tool_result":
                    kind = block.content[0].type
                    text = block.content[0].text if kind == "text" else kind
                    told.append(f"{'error' if block.is_error else 'result'}: {text}")
                case other:
                    told.append(other)
    return told


Made = Callable[[], Agent]


def risky(call: ToolUseContent) -> bool:
    return call.input["name"] == "deed"


@app.workflow
class Talks(Workflow[list[str]]):
    """Has an agent of some kind answer once, and tells the whole conversation."""

    async def tripled(self, number: int) -> int:
        """Triples a number."""
        return number * 3

    def agent(self, kind: str) -> Agent:
        agents: dict[str, Made] = {
            "functions": lambda: Agent(kind, "Help.", functions=[weather, doubled, picture, breaks, huge, self.tripled]),
            "decorated": lambda: Agent(kind, functions=[halved, squared, by_name]),
            "person": lambda: Agent(kind, functions=[doubled], human_input=True),
            "shelf": lambda: Agent(kind, server_names=["shelf"], functions=[doubled]),
            "approved without a name": lambda: Agent(kind, server_names=["shelf"], approval={"*": risky}),
            "person with approval": lambda: Agent("person", human_input=True, approval={"*": "always"}),
            "counted": lambda: Agent(kind, server_names=["shelf"]),
            "filtered": lambda: Agent(kind, server_names=["shelf"], tool_filter={"shelf": ["read"]}),
            "wrong filter": lambda: Agent(kind, server_names=["shelf"], tool_filter={"shelf": ["reed"]}),
            "wrong rule": lambda: Agent(kind, server_names=["shelf"], approval={"shelf.reed": "always"}),
            "rule for hidden": lambda: Agent(
                "filtered", server_names=["shelf"], tool_filter={"shelf": ["read"]}, approval={"shelf.erase": "always"}
            ),
            "approved": lambda: Agent(
                kind, server_names=["shelf"], functions=[doubled], approval={"shelf": "always", "shelf.read": risky}
            ),
            "callable": lambda: Agent("echo", lambda: "Told at once."),
        }
        return agents[kind]()

    @app.workflow_run
    async def run(self, kind: str, text: str = "go") -> WorkflowResult[list[str]]:
        async with self.agent(kind) as agent:
            llm = await agent.attach_llm(OpenAIAugmentedLLM)
            await llm.generate(text)
        return WorkflowResult(value=await all_of(llm))


@app.workflow
class Thrift(Workflow[str]):
    """Works within a budget, of its own or of its agent."""

    @app.workflow_run
    async def run(self, whose: str, limit: str, amount: float, agent: str = "spender") -> WorkflowResult[str]:
        given: Any = timedelta(seconds=amount) if limit == "deadline" else amount if limit == "max_cost_usd" else int(amount)
        budget = workflow.Budget(**{limit: given})
        if whose == "run":
            workflow.set_budget(budget)
        spender = Agent(agent, functions=[doubled], budget=budget if whose == "agent" else None)
        llm = await spender.attach_llm(OpenAIAugmentedLLM)
        try:
            await llm.generate_str("spend")
        except BudgetExceeded as error:
            return WorkflowResult(value=f"{error.limit}: {error.message}", metadata={"reached": error.reached})
        return WorkflowResult(value="within")


@app.workflow
class OverBudget(Workflow[str]):
    @app.workflow_run
    async def run(self) -> WorkflowResult[str]:
        workflow.set_budget(workflow.Budget(max_tokens=10))
        llm = await Agent("spender", functions=[doubled]).attach_llm(OpenAIAugmentedLLM)
        return WorkflowResult(value=await llm.generate_str("spend"))


@app.workflow
class Impatient(Workflow[list[str]]):
    """Lets the model answer only so often, and goes on."""

    @app.workflow_run
    async def run(self) -> WorkflowResult[list[str]]:
        llm = await Agent("spender", functions=[doubled, weather]).attach_llm(OpenAIAugmentedLLM)
        try:
            await llm.generate("spend", RequestParams(max_turns=2))
        except MaxTurnsExceeded as error:
            return WorkflowResult(value=[error.message, *await all_of(llm)])
        return WorkflowResult(value=[])


@app.workflow
class Forms(Workflow[str]):
    """Has a model answer in a type."""

    @app.workflow_run
    async def run(self, agent: str, type_: str) -> WorkflowResult[str]:
        types: dict[str, Any] = {"model": Weather, "dataclass": Pair, "list": list[int]}
        llm = await Agent(agent).attach_llm(OpenAIAugmentedLLM)
        try:
            value = await llm.generate_structured("fill it in", types[type_])
        except StructuredAnswerError as error:
            return WorkflowResult(value=f"{error.message} [{error.reached}]")
        return WorkflowResult(value=f"{type(value).__name__} {value}", metadata={"turns": len(llm.history)})


@app.workflow
class Long(Workflow[list[str]]):
    """Talks so long that the conversation is made shorter."""

    @app.workflow_run
    async def run(self, how: str) -> WorkflowResult[list[str]]:
        compaction = Compaction(at_tokens=500, how=how, keep_messages=2)  # type: ignore[arg-type]
        llm = await Agent("chatter").attach_llm(OpenAIAugmentedLLM, compaction=compaction)
        for number in range(4):
            await llm.generate_str(f"question {number}")
        return WorkflowResult(value=await all_of(llm))


@app.workflow
class Resumes(Workflow[list[str]]):
    """Goes on with its conversation in the run that continues it."""

    @app.workflow_run
    async def run(self, history: list[Message] | None = None) -> WorkflowResult[list[str]]:
        llm = await Agent("echo").attach_llm(OpenAIAugmentedLLM, history=history or [])
        await llm.generate_str("first" if history is None else "second")
        if history is None:
            workflow.continue_as_new([message.model_dump(mode="json") for message in llm.history])
        return WorkflowResult(value=await all_of(llm))


@app.workflow
class Crowd(Workflow[list[str]]):
    """Several agents at once, two of the same name, and several conversations of one agent."""

    @app.workflow_run
    async def run(self) -> WorkflowResult[list[str]]:
        agents = [Agent("echo"), Agent("echo"), Agent("other")]
        llms = [await agent.attach_llm(OpenAIAugmentedLLM) for agent in [*agents, agents[0]]]
        said = await asyncio.gather(*(llm.generate_str(f"{n}") for n, llm in enumerate(llms)))
        again = await llms[0].generate_str("again", RequestParams(use_history=False))
        return WorkflowResult(value=[*said, again, *await all_of(llms[0])])


@app.workflow
class Interrupted(Workflow[list[str]]):
    """Its model fails after a tool has answered, and is asked something else then."""

    @app.workflow_run
    async def run(self) -> WorkflowResult[list[str]]:
        llm = await Agent("interrupted", functions=[doubled]).attach_llm(OpenAIAugmentedLLM)
        try:
            await llm.generate("go")
        except WorkflowApplicationError as error:
            if error.type != "BadRequestError":
                raise
        await llm.generate("and now?")
        return WorkflowResult(value=await all_of(llm))


@app.workflow
class Queued(Workflow[list[str]]):
    """Asks one model several things at once."""

    @app.workflow_run
    async def run(self) -> WorkflowResult[list[str]]:
        llm = await Agent("echo").attach_llm(OpenAIAugmentedLLM)
        await asyncio.gather(*(llm.generate(text) for text in "abc"))
        return WorkflowResult(value=await all_of(llm))


shared = Agent("shared", functions=[doubled], server_names=["shelf"], budget=workflow.Budget(max_tool_calls=1))


@app.workflow
class Shared(Workflow[str]):
    """Uses an agent that is made once for all runs of the process."""

    @app.workflow_run
    async def run(self) -> WorkflowResult[str]:
        return WorkflowResult(value=await (await shared.attach_llm(OpenAIAugmentedLLM)).generate_str("go"))


@app.workflow
class Streams(Workflow[str]):
    """Takes its time to answer."""

    @app.workflow_run
    async def run(self) -> WorkflowResult[str]:
        llm = await Agent("slow").attach_llm(OpenAIAugmentedLLM)
        return WorkflowResult(value=await llm.generate_str("tell"))
