"""How a run is started: `executor.start_workflow(..., workflow_id=, id_reuse_policy=, execution_timeout=, ...)`."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from pydantic_core import PydanticSerializationError

from mcp_agent.errors import InvalidArguments
from mcp_agent.executor.payloads import json_of
from mcp_agent.executor.priority import check_priority
from mcp_agent.executor.problems import did_you_mean

IdReusePolicy = Literal["allow_duplicate", "allow_duplicate_failed_only", "reject_duplicate", "terminate_if_running"]
SearchAttribute = str | int | float | bool | datetime | list[str]
LONGEST_ID = 1_000
_REUSE_POLICIES = typing.get_args(IdReusePolicy)
_SCALARS = typing.get_args(SearchAttribute)[:5]
_DURATIONS = ("execution_timeout", "run_timeout", "task_timeout", "start_delay")


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """Checked when it is made.

    Attributes:
        workflow_id: The public id; one that nobody can guess by default.
        id_reuse_policy: What happens when the id was used before.
        execution_timeout: The longest that the run may take, continued runs included.
        run_timeout: The longest between two continuations.
        task_timeout: The longest that workflow code may think between two waits; Temporal only.
        start_delay: When it begins to run.
        priority: 1 (first) to 5 (last) where more waits than can be done; that of its workflow by default. Temporal only.
        memo: Kept with the run for people; not searchable.
        search_attributes: Kept with the run for searches; Temporal only, where the namespace has them.

    Raises:
        InvalidArguments: A value is wrong; names it and what there is to choose from.
    """

    workflow_id: str | None = None
    id_reuse_policy: IdReusePolicy = "allow_duplicate"
    execution_timeout: timedelta | None = None
    run_timeout: timedelta | None = None
    task_timeout: timedelta | None = None
    start_delay: timedelta | None = None
    priority: int | None = None
    memo: Mapping[str, Any] = field(default_factory=dict[str, Any])
    search_attributes: Mapping[str, SearchAttribute] = field(default_factory=dict[str, SearchAttribute])

    def __post_init__(self) -> None:
        check_id("workflow_id", self.workflow_id)
        check_choice("id_reuse_policy", self.id_reuse_policy, _REUSE_POLICIES)
        check_priority("priority", self.priority)
        for name in _DURATIONS:
            check_duration(name, getattr(self, name))
        for option in ("memo", "search_attributes"):
            _check_named(option, getattr(self, option))
        for name, value in self.search_attributes.items():
            items: Any = value if isinstance(value, list) else [None]
            if not isinstance(value, _SCALARS) and not all(isinstance(item, str) for item in items):
                choices = "text, a number, a bool, a datetime or a list of texts"
                raise InvalidArguments(f"`search_attributes.{name}` is `{value!r}`: use {choices}.")
        try:
            json_of(dict(self.memo))
        except PydanticSerializationError as error:
            raise InvalidArguments(f"`memo` has no JSON form: {error}.") from None


def _check_named(option: str, values: Any) -> None:
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in cast("Mapping[Any, Any]", values)):
        raise InvalidArguments(f"`{option}` is `{values!r}`: use a mapping of names to values.")


def start_options(memo: Any, search_attributes: Any, given: Mapping[str, Any]) -> StartOptions:
    """What `start_workflow` was given. Raises InvalidArguments, also for an option that there is not."""
    known = [name for name in StartOptions.__dataclass_fields__ if name not in ("memo", "search_attributes")]
    for name in given:
        if name not in known:
            raise InvalidArguments(f"`start_workflow` has no option `{name}`. {did_you_mean(name, known)}")
    nothing: dict[str, Any] = {}
    return StartOptions(
        memo=nothing if memo is None else memo,
        search_attributes=nothing if search_attributes is None else search_attributes,
        **given,
    )


def check_id(name: str, value: Any) -> None:
    """An id for a run, or None. Raises InvalidArguments."""
    if value is None:
        return
    if not isinstance(value, str):
        raise InvalidArguments(f"`{name}` is `{value!r}`: use text.")
    if not value.strip():
        raise InvalidArguments(f"`{name}` is empty: leave it out, or give the run a name.")
    size = len(value.encode(errors="replace"))
    if size > LONGEST_ID:
        raise InvalidArguments(f"`{name}` has {size:,} bytes (`{value[:40]}...`); at most {LONGEST_ID:,} are kept.")
    if not value.isprintable():
        raise InvalidArguments(f"`{name}` is `{value!r}`: leave out the control characters.")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raises InvalidArguments for what is none of the choices."""
    if value not in choices:
        raise InvalidArguments(
            f"`{name}` is `{value!r}`: use one of {', '.join(f'`{c}`' for c in choices)}. {did_you_mean(str(value), choices)}"
        )


def check_duration(name: str, value: Any) -> None:
    """A positive timedelta, or None. Raises InvalidArguments."""
    if value is None:
        return
    if not isinstance(value, timedelta):
        raise InvalidArguments(f"`{name}` is `{value!r}`: use a timedelta, such as `timedelta(minutes=5)`.")
    if value <= timedelta(0):
        raise InvalidArguments(f"`{name}` is `{value}`: it must be longer than nothing.")
