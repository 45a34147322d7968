"""The mailbox of a run: what it asks a person, and what was answered (`design.md`, "Needing a human is one mechanism").

Pure state: the same on both engines, and safe to replay.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mcp_agent.errors import AlreadyAnswered, InvalidArguments, NotWaiting
from mcp_agent.executor.payloads import json_of
from mcp_agent.executor.problems import describe_problems
from mcp_agent.executor.runs import Answer, PendingInput, Receipt, RequestKind

REMEMBERED_REQUESTS = 1_000
PROBLEM_LIMIT = 1_000  # characters
"""How many answers, and how many requests that were not answered, are told apart from ones that never were."""


@dataclass(slots=True)
class Signal:
    """A message to a run, or what a run waits for.

    Attributes:
        name: The signal's name.
        workflow_id: The run's id, or the workflow's name when `run_id` is given (specification, "Signals for
            Human-in-the-Loop").
        run_id: The run's id.
        payload: What is sent.
        payload_type: What `wait_for_signal` turns the payload into.
        message: What the person who answers is asked.
    """

    name: str
    workflow_id: str | None = None
    run_id: str | None = None
    payload: Any = None
    payload_type: Any = None
    message: str | None = None

    @property
    def target(self) -> str | None:
        """The public id of the run that is meant."""
        return self.run_id or self.workflow_id


Check = Callable[[Any], Any]
"""Raises ValueError for a payload that does not fit; what it returns is not used."""


@dataclass(slots=True)
class Question:
    """What a run asks.

    Attributes:
        kind: As of `PendingInput`, as the rest.
        check: Raises ValueError for a payload that does not fit; without it any will do.
    """

    kind: RequestKind
    name: str
    message: str
    schema: dict[str, Any] | None = None
    check: Check | None = None
    url: str | None = None
    default: Any = None


Ending = Literal["expired", "withdrawn"]


class EndedRequest(BaseModel):
    """A request that was never answered. Stored: add, never rename."""

    model_config = ConfigDict(defer_build=True)

    kind: RequestKind
    how: Ending
    at: datetime

    def refusal(self, request_id: str) -> NotWaiting:
        """Why it takes no answer any more."""
        at = self.at.isoformat(timespec="seconds")
        why = f"expired at {at}: nobody had answered by then" if self.how == "expired" else f"was withdrawn at {at}"
        return NotWaiting(f"Request `{request_id}` {why}, and the run waits for it no longer. Nothing was changed.")


@dataclass(slots=True)
class _Request:
    public: PendingInput
    check: Check | None = None
    resolved: bool = False
    payload: Any = None


class KeptMail(BaseModel):
    """The part of a mailbox that outlives `continue_as_new`. Stored: add, never rename."""

    model_config = ConfigDict(defer_build=True)

    signals: dict[str, list[Any]] = {}
    early: dict[str, Any] = {}
    digests: dict[str, str] = {}
    counts: dict[str, int] = {}
    ended: dict[str, EndedRequest] = {}


@dataclass(slots=True)
class Mailbox:
    """Requests and answers of one run.

    A signal that nothing asks for yet is kept, in order. An early *answer* is kept too, at most one a name, because the
    one who answers is told whether it was taken.
    """

    _requests: dict[str, _Request] = field(default_factory=dict[str, _Request])
    _signals: dict[str, deque[Any]] = field(default_factory=dict[str, deque[Any]])
    _early: dict[str, Any] = field(default_factory=dict[str, Any])
    _digests: dict[str, str] = field(default_factory=dict[str, str])
    _counts: dict[str, int] = field(default_factory=dict[str, int])
    _ended: dict[str, EndedRequest] = field(default_factory=dict[str, EndedRequest])

    def open(self, question: Question, now: datetime, timeout: timedelta | None = None) -> PendingInput:
        """Asks a question. It may be answered at once, by what came early. A payload that its check refuses is not taken."""
        name = question.name
        number = self._counts[name] = self._counts.get(name, 0) + 1
        public = PendingInput(
            request_id=f"{name}#{number}",
            kind=question.kind,
            name=name,
            message=question.message,
            schema=question.schema,
            url=question.url,
            created_at=now,
            expires_at=_after(now, timeout),
            default=question.default,
        )
        request = self._requests[public.request_id] = _Request(public, question.check)
        kept = [self._early.pop(name)] if name in self._early else []
        waiting = self._signals.get(name, deque())
        while not request.resolved and (kept or waiting):
            self._take(request, kept.pop() if kept else waiting.popleft())
        return public

    def resolved(self, request_id: str) -> bool:
        request = self._requests.get(request_id)
        return request is not None and request.resolved

    def close(self, request_id: str) -> Any:
        """Forgets a request that is answered, and returns its payload."""
        return self._requests.pop(request_id).payload

    def end(self, request_id: str, how: Ending, now: datetime) -> None:
        """Forgets a request, and remembers how it ended if it was not answered."""
        request = self._requests.pop(request_id, None)
        if request is not None and not request.resolved:
            self._ended[request_id] = EndedRequest(kind=request.public.kind, how=how, at=now)
            _forget_oldest(self._ended)

    def pending(self) -> list[PendingInput]:
        return [request.public for request in self._requests.values() if not request.resolved]

    def kept(self) -> KeptMail:
        """What another run that continues this one needs: everything but the requests that are open."""
        signals = {name: list(waiting) for name, waiting in self._signals.items() if waiting}
        return KeptMail(signals=signals, early=self._early, digests=self._digests, counts=self._counts, ended=self._ended)

    def restore(self, mail: KeptMail) -> None:
        """Takes over what the run before has kept; signals that have come since stay behind it."""
        for name, before in mail.signals.items():
            self._signals[name] = deque([*before, *self._signals.get(name, ())])
        self._early = {**mail.early, **self._early}
        self._digests = {**mail.digests, **self._digests}
        self._counts = {**mail.counts, **self._counts}
        self._ended = {**mail.ended, **self._ended}

    def note_refusal(self, request_id: str, problem: str) -> None:
        """Remembers with an open request that an answer to it did not fit."""
        request = self._requests.get(request_id)
        if request is not None:
            refused = request.public.refused + 1
            request.public = request.public.model_copy(update={"refused": refused, "problem": problem[:PROBLEM_LIMIT]})

    def withdraw(self, now: datetime) -> None:
        """Ends every request that is open."""
        for request_id in list(self._requests):
            self.end(request_id, "withdrawn", now)

    def deliver(self, name: str, payload: Any) -> None:
        """A raw signal: goes to the oldest open request of that name, else is kept.

        Nobody can be told that a raw signal does not fit, so one that the request refuses is dropped, and the run waits on.
        """
        request = self._oldest_open(name)
        if request is None:
            self._signals.setdefault(name, deque()).append(payload)
        else:
            self._take(request, payload)

    def _take(self, request: _Request, payload: Any) -> None:
        if not _problem(request, payload):
            self._resolve(request, payload)

    def accept(self, answer: Answer) -> Receipt:
        """Takes an answer. The same answer again is a duplicate, and harmless. Raises as `plan` does."""
        receipt = self.plan(answer).model_copy(update={"call": answer.call})
        if receipt.duplicate:
            return receipt
        if receipt.early:
            self._early[receipt.name] = answer.payload
        else:
            assert receipt.request_id is not None
            self._resolve(self._requests[receipt.request_id], answer.payload)
        return receipt

    def plan(self, answer: Answer) -> Receipt:
        """What `accept` would do; changes nothing.

        Raises:
            NotWaiting: No such request, one that has expired or was withdrawn, or no way to tell which one is meant.
            AlreadyAnswered: It was answered before, differently.
            InvalidArguments: The payload does not fit what the request asks for.
        """
        receipt = self._planned(answer)
        request = None if receipt.duplicate else self._requests.get(receipt.request_id or "")
        problem = _problem(request, answer.payload) if request is not None else None
        if problem:
            raise InvalidArguments(f"`payload`: {problem}. The request is still open.")
        return receipt

    def _planned(self, answer: Answer) -> Receipt:
        if answer.request_id is not None:
            return self._plan_for_request(answer.request_id, answer)
        if answer.name is None:
            return self._plan_for_only_request(answer)
        request = self._oldest_open(answer.name)
        if request is not None:
            return Receipt(request_id=request.public.request_id, name=answer.name)
        if answer.name not in self._early:
            return self._plan_early(answer.name, answer)
        if _digest(self._early[answer.name]) == _digest(answer.payload):
            return Receipt(name=answer.name, duplicate=True, early=True)
        raise AlreadyAnswered(f"`{answer.name}` was answered before with something else; that answer stands.")

    def _plan_early(self, name: str, answer: Answer) -> Receipt:
        last = f"{name}#{self._counts.get(name, 0)}"
        ended = self._ended.get(last)
        if ended is not None and ended.kind != "signal":  # it is late for that one, and not early for another question
            raise ended.refusal(last)
        if last not in self._digests:
            return Receipt(name=name, early=True)
        if self._digests[last] == _digest(answer.payload):
            return Receipt(request_id=last, name=name, duplicate=True)
        raise AlreadyAnswered(f"`{last}` was answered before with something else, and the run does not ask again yet.")

    def _plan_for_only_request(self, answer: Answer) -> Receipt:
        pending = self.pending()
        if len(pending) == 1:
            return Receipt(request_id=pending[0].request_id, name=pending[0].name)
        if pending:
            choices = ", ".join(f"`{request.request_id}`" for request in pending)
            raise NotWaiting(f"The run waits for several answers: name one of {choices} as `request_id`.")
        raise NotWaiting("The run waits for no answer.")

    def _plan_for_request(self, request_id: str, answer: Answer) -> Receipt:
        request = self._requests.get(request_id)
        if request is not None and not request.resolved:
            return Receipt(request_id=request_id, name=request.public.name)
        if request_id in self._ended:
            raise self._ended[request_id].refusal(request_id)
        if request_id not in self._digests:
            choices = ", ".join(f"`{request.request_id}`" for request in self.pending())
            raise NotWaiting(f"The run has no request `{request_id}`: it waits for {choices or 'none'}. Nothing was changed.")
        if self._digests[request_id] != _digest(answer.payload):
            raise AlreadyAnswered(f"Request `{request_id}` was answered before with something else; that answer stands.")
        return Receipt(request_id=request_id, name=request_id.rpartition("#")[0], duplicate=True)

    def _oldest_open(self, name: str) -> _Request | None:
        return next((r for r in self._requests.values() if r.public.name == name and not r.resolved), None)

    def _resolve(self, request: _Request, payload: Any) -> None:
        request.resolved = True
        request.payload = payload
        self._digests[request.public.request_id] = _digest(payload)
        _forget_oldest(self._digests)


def _problem(request: _Request, payload: Any) -> str | None:
    """What is wrong with a payload for the request."""
    if request.check is None:
        return None
    try:
        request.check(payload)
    except ValidationError as error:
        return describe_problems(error)
    except ValueError as error:
        return str(error)
    return None


def _forget_oldest(kept: dict[str, Any]) -> None:
    while len(kept) > REMEMBERED_REQUESTS:
        kept.pop(next(iter(kept)))


def _after(now: datetime, timeout: timedelta | None) -> datetime | None:
    """The moment, where there is one that the calendar knows."""
    try:
        return None if timeout is None else now + timeout
    except OverflowError:
        return None


def _digest(payload: Any) -> str:
    return hashlib.sha256(json_of(payload)).hexdigest()
