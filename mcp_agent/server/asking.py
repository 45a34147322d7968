"""Puts what a run asks a person to the client of a call, in whichever way the client knows.

Up to 2025-11-25 a client is asked while its call waits (`elicitation/create`); from 2026-07-28 on the call gives the question
as its result, and the client calls again with the answer. Its sealed state names the run, so that a second run is never
started. A client that knows neither finds the question in the run, and answers with the `-resume` tool.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    CallToolRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitRequestURLParams,
    ElicitResult,
    InputRequiredResult,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, ConfigDict, ValidationError

from mcp_agent.errors import AlreadyAnswered, AlreadyClosed, CallError, InvalidArguments, NotWaiting
from mcp_agent.executor.elicitation import LEAVE_OPEN, form_for, payload_for
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.runs import Answer, PendingInput, RunState
from mcp_agent.server.entries import Request, ToolCall
from mcp_agent.server.watching import Watch, Watches

logger = logging.getLogger(__name__)

TRIES = 3
"""How often a person is asked whose answer does not fit."""

Way = Literal["live", "input_required"]


def way_of(request: Request) -> Way | None:
    """How the client of a request can be asked; `None` if it cannot."""
    capabilities = request.session.client_capabilities
    if capabilities is None or capabilities.elicitation is None:
        return None
    if request.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return "input_required"
    return "live" if request.session.can_send_request else None


def question(request: Request, run_id: str, asked: PendingInput, problem: str | None) -> ElicitRequestParams | None:
    """What a run asks, as MCP has it; `None` where the client, or MCP's flat forms, cannot show it.

    Args:
        request: Whose client is asked.
        run_id: The run.
        asked: Its question.
        problem: Why the answer before did not fit.
    """
    capabilities = request.session.client_capabilities
    known = None if capabilities is None else capabilities.elicitation
    if known is None or way_of(request) is None:
        return None
    message = asked.message if problem is None else f"{asked.message}\n\nThe last answer did not fit: {problem}"
    if asked.url is not None:
        shown = ElicitRequestURLParams(message=message, url=asked.url, elicitation_id=f"{run_id}/{asked.request_id}")
        return None if known.url is None else shown
    form = form_for(asked) if known.form is not None or known.url is None else None
    return None if form is None else ElicitRequestFormParams(message=message, requested_schema=form)


class Carried(BaseModel):
    """What a client carries, sealed, from a call that gives questions to the one that brings the answers.

    Attributes:
        run_id: The run that asks.
        existing: It was there before the first call, which met it with an idempotency key.
        asked: Its questions, with how many answers to each did not fit.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    existing: bool
    asked: dict[str, int]


def required(
    run_id: str, questions: Mapping[str, ElicitRequestParams], answers: Answers, *, existing: bool
) -> InputRequiredResult:
    """The questions as the result of a call, with the run in its state, which is sealed on the way out."""
    requests: dict[str, Any] = {request_id: ElicitRequest(params=params) for request_id, params in questions.items()}
    asked = {request_id: answers.refused.get(request_id, 0) for request_id in questions}
    state = Carried(run_id=run_id, existing=existing, asked=asked)
    return InputRequiredResult(input_requests=requests, request_state=state.model_dump_json())


def carried(params: CallToolRequestParams) -> Carried | None:
    """What a call brings answers for; `None` for a call that begins.

    Raises:
        InvalidArguments: The state is not one of these tools'.
    """
    if params.request_state is None:
        return None
    try:
        return Carried.model_validate_json(params.request_state)
    except ValidationError:
        raise InvalidArguments("`requestState`: this tool did not give it. Call without it.") from None


def for_person(error: InvalidArguments) -> str:
    """Why an answer does not fit, without what only callers of the `-resume` tool need."""
    return str(error).removeprefix("`payload`: ").removesuffix(" The request is still open.")


@dataclass(slots=True)
class Answers:
    """What became of the answers that a call has brought.

    Attributes:
        taken: Requests that the run asks no longer.
        left: Requests that the person did not answer, or not well after some tries: they are not asked again by this call.
        problems: Why an answer does not fit, by request.
        refused: How many answers did not fit, by request.
    """

    taken: set[str] = field(default_factory=set[str])
    left: set[str] = field(default_factory=set[str])
    problems: dict[str, str] = field(default_factory=dict[str, str])
    refused: dict[str, int] = field(default_factory=dict[str, int])

    def refuse(self, request_id: str, problem: str, before: int) -> None:
        """An answer does not fit, as `before` did not."""
        self.problems[request_id] = problem
        self.refused[request_id] = before + 1
        if before + 1 >= TRIES:
            self.left.add(request_id)


class Asking:
    """Args:
    watches: Tell when a question is no longer open.
    """

    def __init__(self, watches: Watches) -> None:
        self._watches = watches
        self._live: dict[tuple[int, str, str], asyncio.Task[bool]] = {}

    def open_questions(self, call: ToolCall, state: RunState, answers: Answers) -> dict[str, ElicitRequestParams]:
        """What the run asks and the call's client can show, without what its person has left open."""
        if state.status != "waiting_for_input":
            return {}
        shown = {
            asked.request_id: question(call.request, state.run_id, asked, answers.problems.get(asked.request_id))
            for asked in state.pending_inputs
            if asked.request_id not in answers.left
        }
        return {request_id: params for request_id, params in shown.items() if params is not None}

    async def take(self, params: CallToolRequestParams, begun: Carried, executor: Executor, state: RunState) -> Answers:
        """Gives the run the answers that a call has brought."""
        given, answers = params.input_responses or {}, Answers()
        pending = {asked.request_id: asked for asked in state.pending_inputs}
        for request_id, refused in begun.asked.items():
            response = given.get(request_id)
            if request_id not in pending:
                answers.taken.add(request_id)
            elif not isinstance(response, ElicitResult):
                answers.left.add(request_id)
            else:
                try:
                    done = await give(executor, state.run_id, pending[request_id], response)
                except InvalidArguments as error:
                    answers.refuse(request_id, for_person(error), refused)
                else:
                    (answers.taken if done else answers.left).add(request_id)
        return answers

    async def ask_live(self, call: ToolCall, executor: Executor, state: RunState, answers: Answers, seconds: float) -> None:
        """Asks the client of a call that waits, for `seconds` at most. An answer that comes later still reaches the run."""
        request_id = next(iter(self.open_questions(call, state, answers)))
        asked = next(one for one in state.pending_inputs if one.request_id == request_id)
        key = (id(call.request.session.client_params), state.run_id, request_id)
        task = self._live.get(key)
        if task is None:
            task = self._live[key] = asyncio.create_task(self._ask(call, executor, state.run_id, asked), name=f"ask {key[1:]}")
            task.add_done_callback(lambda _: self._live.pop(key, None))
        done, _ = await asyncio.wait({task}, timeout=max(seconds, 0))
        (answers.taken if done and task.result() else answers.left).add(request_id)

    async def _ask(self, call: ToolCall, executor: Executor, run_id: str, asked: PendingInput) -> bool:
        """Whether the run has its answer, or asks no longer; the client's form is withdrawn then."""
        asking = asyncio.create_task(_put(call.request, executor, run_id, asked))
        async with self._watches.of(executor, run_id) as watch:
            closing = asyncio.create_task(_no_longer_open(watch, asked.request_id))
            try:
                await asyncio.wait({asking, closing}, return_when=asyncio.FIRST_COMPLETED)
                return asking.result() if asking.done() else True
            except (CallError, MCPError, OSError) as error:
                logger.info("run %s could not ask `%s` of its client: %s", run_id, asked.request_id, error)
                return False
            finally:
                asking.cancel()
                closing.cancel()

    async def aclose(self) -> None:
        """Withdraws what is still asked."""
        tasks = list(self._live.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _no_longer_open(watch: Watch, request_id: str) -> None:
    """Returns when the run asks it no longer, or nobody is to wait any more."""
    seen, state = await watch.after()
    while not watch.released and state is not None and any(request_id == asked.request_id for asked in state.pending_inputs):
        seen, state = await watch.after(seen)


async def _put(request: Request, executor: Executor, run_id: str, asked: PendingInput) -> bool:
    """Asks until an answer fits. Whether the run has it."""
    problem: str | None = None
    for _ in range(TRIES):
        params = question(request, run_id, asked, problem)
        assert params is not None
        response = await request.session.send_request(
            ElicitRequest(params=params), ElicitResult, metadata=ServerMessageMetadata(related_request_id=request.request_id)
        )
        try:
            return await give(executor, run_id, asked, response)
        except InvalidArguments as error:
            problem = for_person(error)
    return False


async def give(executor: Executor, run_id: str, asked: PendingInput, response: ElicitResult) -> bool:
    """Whether the run has an answer now. Raises InvalidArguments for one that does not fit."""
    payload = payload_for(asked, response.action, response.content)
    if payload is LEAVE_OPEN:
        return False
    try:
        await executor.answer_run(run_id, Answer(request_id=asked.request_id, payload=payload))
    except (AlreadyAnswered, AlreadyClosed, NotWaiting) as error:  # somebody else was faster
        logger.info("run %s: an answer to `%s` came too late: %s", run_id, asked.request_id, error)
    return True
