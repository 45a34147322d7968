"""`AugmentedLLM`: a model with an agent's instruction and tools. Workflow code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, TypeVar

from mcp_agent.errors import IncompleteAnswerError, StructuredAnswerError
from mcp_agent.executor.runtime import host
from mcp_agent.workflows.llm.compaction import Compaction
from mcp_agent.workflows.llm.generation import COMPLETE, Generation
from mcp_agent.workflows.llm.messages import LLMSetup, Message, RequestParams, unrecorded
from mcp_agent.workflows.llm.structured import AnswerType
from mcp_agent.workflows.llm.thread import Dialogue, Thread
from mcp_agent.workflows.llm.turns import Turns

if TYPE_CHECKING:
    from mcp_agent.agents.agent import Agent

T = TypeVar("T")

REASKS = 2
"""How often a model is told that its answer does not fit the type."""


class AugmentedLLM:
    """A model with an agent's instruction and tools, and the conversation so far.

    Made by `Agent.attach_llm`. A conversation belongs to the run; it can be used after the agent's block has ended.

    Args:
        agent: Whose instruction and tools.
        default_request_params: Used where a call says nothing.
        history: A conversation to go on with, such as `history` of another one, or of the run before `continue_as_new`.
        compaction: When and how a long conversation is made shorter; by default it is not.
    """

    provider: ClassVar[str]

    def __init__(
        self,
        agent: Agent,
        default_request_params: RequestParams | None = None,
        *,
        history: Sequence[Message] = (),
        compaction: Compaction | None = None,
    ) -> None:
        self.agent = agent
        self.default_request_params = default_request_params or RequestParams()
        self._compaction = compaction
        self._conversation = host().unique(agent.name)
        self._dialogue = Dialogue(Thread(tuple(map(unrecorded, history))))

    @property
    def history(self) -> list[Message]:
        """What was said so far: messages, tool calls and their results."""
        return list(self._dialogue.thread.messages)

    async def generate(
        self, message: str | Message | Sequence[Message], request_params: RequestParams | None = None
    ) -> Generation:
        """Has the model answer, with as many tool calls as it wants, up to `max_turns`.

        Raises:
            MaxTurnsExceeded: It still asks for tools then.
            BudgetExceeded: The run or the agent has used what it may use.
            WorkflowApplicationError: The provider failed for good, by the class name of its error.
        """
        params = self._params(request_params)
        return await self._turns(params, self._dialogue_for(params)).answer(_messages(message), await self._setup(params))

    async def generate_str(self, message: str | Message | Sequence[Message], request_params: RequestParams | None = None) -> str:
        """The text of the model's answer.

        Raises:
            IncompleteAnswerError: The answer is cut off, refused, filtered or empty.
            MaxTurnsExceeded, BudgetExceeded, WorkflowApplicationError: As `generate`.
        """
        return self._whole(await self.generate(message, request_params))

    async def generate_structured(
        self,
        message: str | Message | Sequence[Message],
        response_model: type[T],
        request_params: RequestParams | None = None,
    ) -> T:
        """The model's answer as a value of `response_model`.

        The provider is given the schema; the answer is checked in any case, and the model is told what is wrong with it and
        asked again, twice at most.

        Raises:
            StructuredAnswerError: The third answer does not fit either; the error holds it.
            IncompleteAnswerError, MaxTurnsExceeded, BudgetExceeded, WorkflowApplicationError: As `generate_str`.
        """
        params = self._params(request_params)
        dialogue, new = self._dialogue_for(params), _messages(message)
        expected = AnswerType(response_model)
        setup = (await self._setup(params)).model_copy(update={"response_schema": expected.schema})
        asked = 0
        while True:
            text = self._whole(await self._turns(params, dialogue).answer(new, setup))
            try:
                return expected.read(text)
            except ValueError as error:
                problem = str(error)
            asked += 1
            if asked > REASKS:
                raise StructuredAnswerError(self.agent.name, expected.name, problem, text)
            new = [Message.user(f"The answer does not fit the schema: {problem}. Answer again, with the JSON object alone.")]

    def _params(self, given: RequestParams | None) -> RequestParams:
        return (given or RequestParams()).over(self.default_request_params)

    def _dialogue_for(self, params: RequestParams) -> Dialogue:
        return Dialogue() if params.use_history is False else self._dialogue

    def _whole(self, generation: Generation) -> str:
        if generation.stop_reason not in COMPLETE:
            raise IncompleteAnswerError(self.agent.name, generation.stop_reason, generation.text)
        return generation.text

    def _turns(self, params: RequestParams, dialogue: Dialogue) -> Turns:
        return Turns(self.agent, self.provider, self._conversation, params, dialogue, self._compaction)

    async def _setup(self, params: RequestParams) -> LLMSetup:
        instruction = params.system_prompt if params.system_prompt is not None else self.agent.instruction
        return LLMSetup(instruction=instruction or None, tools=await self.agent.tool_specs())


def _messages(message: str | Message | Sequence[Message]) -> list[Message]:
    if isinstance(message, str):
        return [Message.user(message)]
    return [unrecorded(one) for one in ([message] if isinstance(message, Message) else message)]


__all__ = ["AugmentedLLM", "Compaction", "Generation", "IncompleteAnswerError", "RequestParams"]
