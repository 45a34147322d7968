"""The mailbox of a run: what it asks a person, and what was answered (`design.md`, "Needing a human is one mechanism").

Pure state: the same on both engines, and safe to replay.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mcp_agent.errors import AlreadyAnswered, InvalidArguments, NotWaiting
from mcp_agent.executor.payloads import json_of
from mcp_agent.executor.problems import describe_problems
from mcp_agent.executor.runs import Answer, PendingInput, Receipt

REMEMBERED_ANSWERS = 1_000


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

    def open(
        self,
        *,
        kind: str,
        name: str,
        message: str,
        schema: dict[str, Any] | None,
        created_at: datetime,
        check: Check | None = None,
    ) -> PendingInput:
        """Asks for `name`. It may be answered at once, by what came early. A payload that `check` refuses is not taken."""
        number = self._counts.get(name, 0) + 1
        self._counts[name] = number
        public = PendingInput.model_validate(
            {
                "request_id": f"{name}#{number}",
                "kind": kind,
                "name": name,
                "message": message,
                "schema": schema,
                "created_at": created_at,
            }
        )
        request = self._requests[public.request_id] = _Request(public, check)
        kept = [self._early.pop(name)] if name in self._early else []
        waiting = self._signals.get(name, deque())
        while not request.resolved and (kept or waiting):
            self._take(request, kept.pop() if kept else waiting.popleft())
        return public

    def resolved(self, request_id: str) -> bool:
        return self._requests[request_id].resolved

    def close(self, request_id: str) -> Any:
        """Forgets the request and returns its payload; `None` if it was not answered."""
        return self._requests.pop(request_id).payload

    def pending(self) -> list[PendingInput]:
        return [request.public for request in self._requests.values() if not request.resolved]

    def kept(self) -> KeptMail:
        """What another run that continues this one needs: everything but the requests that are open."""
        signals = {name: list(waiting) for name, waiting in self._signals.items() if waiting}
        return KeptMail(signals=signals, early=self._early, digests=self._digests, counts=self._counts)

    def restore(self, mail: KeptMail) -> None:
        """Takes over what the run before has kept; signals that have come since stay behind it."""
        for name, before in mail.signals.items():
            self._signals[name] = deque([*before, *self._signals.get(name, ())])
        self._early = {**mail.early, **self._early}
        self._digests = {**mail.digests, **self._digests}
        self._counts = {**mail.counts, **self._counts}

    def withdraw(self) -> None:
        """Forgets every request that is open."""
        self._requests.clear()

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
            NotWaiting: No such request, or no way to tell which one is meant.
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
        last = f"{name}#{self._counts[name]}" if name in self._counts else None
        if last is None or last not in self._digests:
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
        if request_id not in self._digests:
            raise NotWaiting(f"The run has no request `{request_id}`.")
        if self._digests[request_id] != _digest(answer.payload):
            raise AlreadyAnswered(f"Request `{request_id}` was answered before with something else; that answer stands.")
        return Receipt(request_id=request_id, name=request_id.rpartition("#")[0], duplicate=True)

    def _oldest_open(self, name: str) -> _Request | None:
        return next((r for r in self._requests.values() if r.public.name == name and not r.resolved), None)

    def _resolve(self, request: _Request, payload: Any) -> None:
        request.resolved = True
        request.payload = payload
        self._digests[request.public.request_id] = _digest(payload)
        while len(self._digests) > REMEMBERED_ANSWERS:
            self._digests.pop(next(iter(self._digests)))


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


def _digest(payload: Any) -> str:
    return hashlib.sha256(json_of(payload)).hexdigest()
