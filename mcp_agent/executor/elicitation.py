"""What a run asks of a person, and the answer as it came by whichever way (`design.md`, "Needing a human is one mechanism").

Everything here is the same on both engines, and pure but for `elicit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from functools import partial
from types import EllipsisType
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar, cast
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from mcp_agent.errors import InvalidArguments
from mcp_agent.executor.durations import duration_of
from mcp_agent.executor.forms import ANSWER, field_names, fitting, form_of, is_wrapped, takes_booleans
from mcp_agent.executor.problems import describe_problems
from mcp_agent.executor.runs import PendingInput
from mcp_agent.executor.runtime import current
from mcp_agent.executor.workflow_signal import Question

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Action = Literal["accept", "decline", "cancel"]
_ACTIONS = ("accept", "decline", "cancel")
_ENVELOPE = {"action", "content"}


@dataclass(frozen=True, slots=True)
class Accepted(Generic[T_co]):
    """The person's answer, or the default that stands for it.

    Attributes:
        data: What was asked for, in its type.
        expired: Nobody has answered in time: `data` is the default.
    """

    data: T_co
    expired: bool = False
    action: Literal["accept"] = "accept"


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """The person has said no (`decline`), or has put the question away without an answer (`cancel`)."""

    action: Literal["decline", "cancel"]
    data: None = None
    expired: Literal[False] = False


Elicited: TypeAlias = Accepted[T] | NotAccepted
"""What `elicit` answers: look at `action` first, as with MCP's own elicitations."""


class Response(NamedTuple):
    """An answer as MCP has it. `content` is what an accepted question has for an answer."""

    action: Action
    content: Any = None


class LeaveOpen(Enum):
    """The type of `LEAVE_OPEN`."""

    LEAVE_OPEN = "leave open"


LEAVE_OPEN = LeaveOpen.LEAVE_OPEN
"""What an action says that answers nothing: the request goes on waiting."""


# In workflow code


async def elicit(
    message: str,
    schema: Any,
    *,
    name: str,
    timeout: float | timedelta | None,
    default: Any | EllipsisType,
    url: str | None,
) -> Elicited[Any]:
    """Puts a question to a person, as `Context.elicit` says."""
    question, read = _question(message, schema, name, url)
    if default is not ...:
        default = _checked_default(default, schema, timeout, url)
        question.default = to_jsonable_python(default)
    try:
        answer = await current().ask(question, None if timeout is None else duration_of(timeout))
    except TimeoutError:
        if default is ...:
            raise
        return Accepted(default, expired=True)
    return read(answer)


def _question(message: str, schema: Any, name: str, url: str | None) -> tuple[Question, Callable[[Any], Elicited[Any]]]:
    """The question, and what reads an answer of it."""
    if not name:
        raise InvalidArguments("`name` is empty: leave it out, or give what is asked for a name.")
    if url is not None:
        if schema is not None:
            raise InvalidArguments("`schema` and `url` do not go together: what a person does at an address is no answer here.")
        check_url(url)
    asked, read_content = (None, _nothing) if url is not None else _typed(schema)

    def read(payload: Any) -> Elicited[Any]:
        action, content = response_of(payload, asked, url=url is not None)
        return Accepted(read_content(content)) if action == "accept" else NotAccepted(action)

    return Question("elicitation", name, message, schema=asked, check=read, url=url), read


def _nothing(_: Any) -> None:
    return None


def _typed(schema: Any) -> tuple[dict[str, Any], Callable[[Any], Any]]:
    """The JSON schema of what is asked for, and what turns content into it or raises ValueError."""
    if not isinstance(schema, Mapping):
        adapter: TypeAdapter[Any] = TypeAdapter(str if schema is None else schema)
        return adapter.json_schema(), adapter.validate_python
    asked = dict(cast("Mapping[str, Any]", schema))
    form = None if is_wrapped(asked) else form_of(asked)
    if form is None:
        raise InvalidArguments(
            "`schema` is more than MCP's forms can ask: use an object whose fields are texts, numbers, booleans and choices, "
            "or a pydantic model, which is answered with the resume tool where it is no form."
        )
    return asked, partial(fitting, form=form)


def _checked_default(default: Any, schema: Any, timeout: float | timedelta | None, url: str | None) -> Any:
    if timeout is None or url is not None:
        why = (
            "a `timeout`, after which it is taken" if timeout is None else "a `schema`: at an address there is no answer to take"
        )
        raise InvalidArguments(f"`default` needs {why}.")
    try:
        checked = _typed(schema)[1](default)
        to_jsonable_python(checked)
    except ValidationError as error:
        raise InvalidArguments(f"`default` does not fit `schema`: {describe_problems(error)}.") from None
    except (ValueError, PydanticSerializationError) as error:
        raise InvalidArguments(f"`default` does not fit `schema`: {error}.") from None
    return checked


def check_url(url: str) -> None:
    """Raises InvalidArguments for what a person should not be sent to."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise InvalidArguments(
            f"`url` is `{url[:200]}`: a person can only be sent to an address that begins with https:// or http://."
        )


# Answers


def response_of(payload: Any, schema: Mapping[str, Any] | None, *, url: bool = False) -> Response:
    """An answer as MCP has it, from `{action, content?}`, from the content alone, or from a yes or no.

    `null` declines, and so does `false` where it is no answer itself; `true` agrees to what needs no content.
    """
    enveloped = _envelope(payload, schema)
    if enveloped is not None:
        return enveloped
    yes_or_no = url or not takes_booleans(schema)
    if payload is None or (payload is False and yes_or_no):
        return Response("decline")
    if payload is True and (url or not is_wrapped(schema)):
        return Response("accept", {})
    return Response("accept", payload)


def _envelope(payload: Any, schema: Mapping[str, Any] | None) -> Response | None:
    """`{action, content}`, unless the schema has fields of these names itself."""
    if not isinstance(payload, dict):
        return None
    given = cast("dict[str, Any]", payload)
    action, content = given.get("action"), given.get("content")
    if action not in _ACTIONS or not given.keys() <= _ENVELOPE:
        return None
    own = field_names(schema)
    if "action" in own and ("content" not in given or "content" in own):
        return None
    if content is None and action == "accept" and not is_wrapped(schema):
        content = {}
    return Response(action, content)


def payload_for(request: PendingInput, action: Action, content: Mapping[str, Any] | None = None) -> Any:
    """The payload that an answer given through MCP stands for; `LEAVE_OPEN` where it is none.

    A question takes every action; an approval is declined but not cancelled; a signal is only ever accepted.

    Args:
        request: What was asked, as `form_for` has put it.
        action: What the person did.
        content: What they filled in, where they accepted.
    """
    if action == "accept":
        return _accepted(request, content)
    if request.kind == "elicitation":
        return {"action": action, "content": None}
    if request.kind == "approval" and action == "decline":
        return {"approved": False}
    return LEAVE_OPEN


def _accepted(request: PendingInput, content: Mapping[str, Any] | None) -> Any:
    if request.url is not None:
        return True
    given: Any = dict(content or {})
    if is_wrapped(request.schema_):
        given = given.get(ANSWER)
    plain = request.kind != "elicitation" or response_of(given, request.schema_) == ("accept", given)
    return given if plain else {"action": "accept", "content": given}


def form_for(request: PendingInput) -> dict[str, Any] | None:
    """MCP's `requestedSchema` for a request; `None` for an address to open, and for what only the resume tool can answer."""
    return None if request.url is not None else form_of(request.schema_)


def told(request: PendingInput, most: int) -> str:
    """What a person is to read where nothing shows them an address by itself; of the message at most so many characters."""
    message = request.message[:most]
    return message if request.url is None else f"{message} Open {request.url} if you agree, then answer `true`; `false` declines."
