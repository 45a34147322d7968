"""What the Messages API accepts of a model: which sampling, which thinking, which structured output."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mcp_agent.workflows.llm.providers.anthropic.data import JSON
from mcp_agent.workflows.llm.providers.base import ProviderError

_NAME = re.compile(r"claude-(?:([a-z]+)-)?(\d+)(?:[-.](\d{1,2})(?!\d))?")
_NEWEST = (99, 0)
_NONE = (0, 0)
_BUDGETS = {"minimal": 1_024, "low": 4_096, "medium": 12_288, "high": 24_576, "xhigh": 24_576, "max": 24_576}
_SMALLEST_BUDGET = 1_024
_OFF: dict[tuple[str, tuple[int, int]], str] = {
    ("opus", (5, 0)): "disabled",
    ("sonnet", (5, 0)): "disabled",
    ("sonnet", (5, 5)): "between_tools",
    ("haiku", (5, 5)): "disabled",
}


@dataclass(frozen=True, slots=True)
class Claude:
    """A model as its name tells: `claude-sonnet-4-5-20250929` is `sonnet`, (4, 5).

    A Claude without a version counts as the newest, the model of another maker as older than all.
    """

    family: str
    version: tuple[int, int]

    @classmethod
    def named(cls, model: str) -> Claude:
        found = _NAME.search(model)
        if found is None:
            return cls("", _NEWEST if "claude" in model else _NONE)
        return cls(found[1] or "", (int(found[2]), int(found[3] or 0)))

    @property
    def takes_sampling(self) -> bool:
        """Whether it takes a temperature, in the API's version of 2023: later models and later versions refuse it."""
        return self.version < (4, 7)

    @property
    def takes_schemas(self) -> bool:
        """Whether an answer can be bound to a JSON schema."""
        return self.version >= (4, 5)

    @property
    def binds_thoughts(self) -> bool:
        """Whether its thoughts hold only after the very conversation that they were thought in."""
        return self.version >= (5, 1)

    @property
    def default_max_tokens(self) -> int:
        """The longest answer, thinking included, where nothing is said: the API wants a number."""
        return 32_000 if self.version >= (3, 7) else 4_096

    def thinking(self, effort: str, max_tokens: int) -> JSON:
        """The fields of a request that make the model think as hard as `effort` says; `none` for as little as it can.

        Raises:
            ProviderError: Type `BadRequestError`: a model with a budget, and an effort that has none.
        """
        if effort == "none":
            return self._least()
        if self.version >= (4, 6):
            return {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low" if effort == "minimal" else effort}}
        if effort not in _BUDGETS:
            known = ", ".join(f"`{name}`" for name in ("none", *_BUDGETS))
            raise ProviderError(
                f"There is no reasoning effort `{effort}`: choose one of {known}.", type="BadRequestError", retryable=False
            )
        budget = min(_BUDGETS[effort], max_tokens - _SMALLEST_BUDGET)
        return {"thinking": {"type": "enabled", "budget_tokens": budget}} if budget >= _SMALLEST_BUDGET else {}

    def _least(self) -> JSON:
        if self.version < (5, 0):
            return {}  # they think only when they are told to
        off = _OFF.get((self.family, self.version))
        return {"thinking": {"type": off}} if off else {"output_config": {"effort": "low"}}
