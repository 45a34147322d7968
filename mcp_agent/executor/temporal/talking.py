"""Talking to runs on Temporal: answers, signals, queries, updates."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import (
    Client,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from mcp_agent.errors import (
    AlreadyAnswered,
    AlreadyClosed,
    EngineUnavailable,
    InvalidArguments,
    NotFound,
    NotWaiting,
    NoWorker,
    WorkflowApplicationError,
)
from mcp_agent.executor.failures import query_failure
from mcp_agent.executor.payloads import check_size, json_of
from mcp_agent.executor.runs import Answer, Receipt, RunState
from mcp_agent.executor.temporal.calls import reaching_run, unreachable
from mcp_agent.executor.temporal.client import RPC_TIMEOUT
from mcp_agent.executor.temporal.encryption import HIDDEN, mark_of, opened_text
from mcp_agent.executor.temporal.names import ANSWER_UPDATE, REFUSAL_SIGNAL
from mcp_agent.executor.temporal.states import task_failure
from mcp_agent.executor.temporal.unserved import unserved

ANSWER_TIMEOUT = timedelta(seconds=10)
LOOK_AGAIN = timedelta(seconds=5)
BUSY_ANSWER_TIMEOUT = timedelta(seconds=45)  # while somebody works on the run's queue; less than the 60 s that clients wait
_PATIENCE = (ANSWER_TIMEOUT, *[LOOK_AGAIN] * ((BUSY_ANSWER_TIMEOUT - ANSWER_TIMEOUT) // LOOK_AGAIN))
_REFUSALS = {error.code: error for error in (AlreadyAnswered, AlreadyClosed, NotWaiting, InvalidArguments)}


class Talking:
    """What is sent to runs.

    Args:
        client: Where they live.
        describe: Reads a run's state; raises NotFound.
        largest: The most bytes that one value may have.
    """

    def __init__(self, client: Client, describe: Callable[[str], Awaitable[RunState]], largest: int) -> None:
        self._largest = largest
        self._client = client
        self._describe = describe

    async def answer(self, run_id: str, answer: Answer) -> Receipt:
        check_size([answer.payload], self._largest)
        state = await self._describe(run_id)
        answer = _addressed(answer, state)
        update_id = self._update_id(answer)
        sent = answer.model_copy(update={"call": uuid.uuid4().hex})
        try:
            for patience in _PATIENCE:
                receipt = await self._answered_within(patience, run_id, sent, update_id)
                if receipt is not None:
                    return receipt
                await self._check_goes_on(run_id)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise AlreadyClosed(f"Run `{run_id}` has ended: it takes no more answers.") from None
            if error.status is RPCStatusCode.FAILED_PRECONDITION:
                await self._check_goes_on(run_id)
            raise unreachable(error) from error
        raise EngineUnavailable(
            f"Run `{run_id}` did not take the answer in {BUSY_ANSWER_TIMEOUT.total_seconds():g} s: "
            "look at its status, answer again."
        )

    async def _answered_within(self, patience: timedelta, run_id: str, sent: Answer, update_id: str) -> Receipt | None:
        """What became of the answer, None when that is not known in time: asking again with the same id waits on."""
        try:
            async with asyncio.timeout(patience.total_seconds()):
                return await self._update(run_id, sent, update_id)
        except TimeoutError:
            return None
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            _raise_if_cancelled(error)
            return None

    def _update_id(self, answer: Answer) -> str:
        """The same for the same answer. Temporal stores it in clear."""
        if answer.request_id is None:
            return uuid.uuid4().hex
        return f"{answer.request_id}:{mark_of(self._client.data_converter, json_of(answer.payload))[:32]}"

    async def _update(self, run_id: str, sent: Answer, update_id: str) -> Receipt:
        handle: Any = self._client.get_workflow_handle(run_id)
        try:
            receipt: Receipt = await handle.execute_update(ANSWER_UPDATE, sent, id=update_id, result_type=Receipt)
        except WorkflowUpdateFailedError as error:
            raise _refusal(error) from None
        # An update runs once for its id: an answer with another call's mark is that call's, told again.
        return receipt if receipt.call == sent.call else receipt.model_copy(update={"duplicate": True})

    async def _check_goes_on(self, run_id: str) -> None:
        """Raises NoWorker when nobody works on the run's queue, or whoever does cannot go on with the run."""
        description = await self._client.get_workflow_handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
        nobody = await unserved(self._client, description, ANSWER_TIMEOUT)
        if nobody is not None:
            raise NoWorker(f"{nobody} Then answer again: nothing was changed.")
        cause = await task_failure(self._client, description)
        if cause is not None:
            raise NoWorker(f"Run `{run_id}` is blocked. {cause} Then answer again: nothing was changed.")

    async def note_refusal(self, run_id: str, request_id: str, problem: str) -> None:
        async with reaching_run(run_id):
            handle = self._client.get_workflow_handle(run_id)
            await handle.signal(REFUSAL_SIGNAL, args=[request_id, problem], rpc_timeout=RPC_TIMEOUT)

    async def signal(self, run_id: str, signal: str, args: Sequence[Any]) -> None:
        check_size(args, self._largest)
        try:
            async with reaching_run(run_id):
                await self._client.get_workflow_handle(run_id).signal(signal, args=list(args), rpc_timeout=RPC_TIMEOUT)
        except NotFound:
            await self._describe(run_id)
            raise AlreadyClosed(f"Run `{run_id}` has ended: it takes no more signals.") from None

    async def query(self, run_id: str, query: str, args: Sequence[Any]) -> Any:
        try:
            async with reaching_run(run_id):
                return await self._client.get_workflow_handle(run_id).query(query, args=list(args), rpc_timeout=RPC_TIMEOUT)
        except WorkflowQueryFailedError as error:
            why = await opened_text(self._client.data_converter, str(error))
            if why == HIDDEN:
                why = await self._hidden_query_failure(run_id, query)
            if f"'{query}'" in why and "not found" in why:
                raise NotFound(f"Run `{run_id}` has no query `{query}`: {why}.") from None
            raise query_failure(run_id, query, why) from None

    async def _hidden_query_failure(self, run_id: str, query: str) -> str:
        """Why a query failed before its handler was called, where Temporal does not hand on the reason."""
        handle: Any = self._client.get_workflow_handle(run_id)
        async with reaching_run(run_id):
            told = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata, rpc_timeout=RPC_TIMEOUT)
        names = [known.name for known in told.definition.query_definitions if known.name]
        if query not in names:
            return f"Query handler for '{query}' not found, known queries: [{' '.join(names)}]"
        return "its arguments do not fit (the reason is encrypted and was not handed on)"

    async def update(self, run_id: str, update: str, args: Sequence[Any]) -> Any:
        """Calls an update handler. Raises as `WorkflowHandle.update`."""
        check_size(args, self._largest)
        try:
            async with reaching_run(run_id):
                return await self._client.get_workflow_handle(run_id).execute_update(update, args=list(args))
        except WorkflowUpdateFailedError as error:
            raise _update_failure(run_id, update, error.cause) from None
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            _raise_if_cancelled(error)
            raise EngineUnavailable(f"Update `{update}` of run `{run_id}` was not answered in time: {error}.") from error
        except NotFound:
            await self._describe(run_id)
            raise AlreadyClosed(f"Run `{run_id}` has ended: it takes no more updates.") from None


def _raise_if_cancelled(error: WorkflowUpdateRPCTimeoutOrCancelledError) -> None:
    """The client tells a time-out and a cancel of the waiting task alike."""
    waiting = asyncio.current_task()
    if waiting is not None and waiting.cancelling():
        raise asyncio.CancelledError from error


def _addressed(answer: Answer, state: RunState) -> Answer:
    """The answer with the request that it means, where that is plain, so that the same answer has the same id."""
    if answer.request_id is not None:
        return answer
    fitting = [r for r in state.pending_inputs if answer.name in (None, r.name)]
    if len(fitting) == 1 or (fitting and answer.name is not None):
        return answer.model_copy(update={"request_id": fitting[0].request_id})
    return answer


def _refusal(error: WorkflowUpdateFailedError) -> Exception:
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.type in _REFUSALS:
        return _REFUSALS[cause.type](cause.message)
    return NotWaiting(f"The run did not take the answer: {cause}.")


def _update_failure(run_id: str, update: str, cause: BaseException) -> Exception:
    if not isinstance(cause, ApplicationError):
        return WorkflowApplicationError(str(cause), type=type(cause).__name__, non_retryable=True)
    if cause.type == "AcceptedUpdateCompletedWorkflow":
        return AlreadyClosed(f"Run `{run_id}` has ended before its update `{update}`.")
    if cause.type == "ReadOnlyContextError" or ("not found" in cause.message and update in cause.message):
        return NotFound(f"Run `{run_id}` has no update `{update}`: {cause.message}.")
    return WorkflowApplicationError(cause.message, *cause.details, type=cause.type, non_retryable=cause.non_retryable)
