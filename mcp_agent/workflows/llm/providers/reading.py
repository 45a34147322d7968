"""JSON of providers, read with care: a field may be missing, or be something else than it should."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

from mcp_agent.workflows.llm.providers.base import ProviderError

JSON: TypeAlias = dict[str, Any]


def as_dict(value: Any) -> JSON:
    """The value, or nothing where it is no object."""
    return cast("JSON", value) if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """The value, or nothing where it is no list."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def count(value: Any) -> int:
    """A number of tokens; 0 where there is none."""
    return int(value) if isinstance(value, int | float) and value > 0 else 0


def incomplete(why: str) -> ProviderError:
    """The error for an answer that is not whole: another attempt may get one."""
    return ProviderError(f"The answer is not whole: {why}.", type="IncompleteResponseError", retryable=True)
