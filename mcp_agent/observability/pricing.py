"""What model calls cost, by the price table of `genai-prices`. An unknown model has no cost rather than a wrong one.

The table takes a moment to import, so that is done when the first price is asked for.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Cost:
    """In US dollars, `None` where no price is known. `source` names the price table with its version, or what has no price."""

    usd: float | None
    source: str


class Tokens(Protocol):
    """What a call read and wrote; see `mcp_agent.workflows.llm.messages.Usage`."""

    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def cached_input_tokens(self) -> int: ...
    @property
    def cache_write_tokens(self) -> int: ...


def cost_of(provider: str, model: str, tokens: Tokens, base_url: str | None = None) -> Cost | None:
    """What a call cost, or `None` where the price is not known.

    Args:
        provider: `openai`, `azure`, `anthropic` or `google`.
        model: In the provider's words.
        tokens: What was read and written.
        base_url: Where the call went if not to the provider itself: who is known there has prices of its own.
    """
    prices = load_prices()
    usage = prices.Usage(
        input_tokens=tokens.input_tokens,
        output_tokens=tokens.output_tokens,
        cache_read_tokens=tokens.cached_input_tokens or None,
        cache_write_tokens=tokens.cache_write_tokens or None,
    )
    whose = {"provider_id": provider} if base_url is None else {"provider_api_url": base_url}
    try:
        found = prices.calc_price(usage, model, **whose)
    except LookupError:
        return None
    return Cost(float(found.total_price), f"genai-prices {prices.__version__}")


@dataclass(frozen=True, slots=True)
class _Ordinary:
    """About what calls are like: three tokens are read for one that is written."""

    input_tokens: int = 3000
    output_tokens: int = 1000
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0


_ORDINARY = _Ordinary()


@lru_cache(maxsize=256)
def price_per_token(provider: str, model: str) -> float | None:
    """About what a token of an ordinary call costs, in US dollars."""
    cost = cost_of(provider, model, _ORDINARY)
    return None if cost is None or cost.usd is None else cost.usd / (_ORDINARY.input_tokens + _ORDINARY.output_tokens)


def load_prices() -> Any:
    """The module with the price table."""
    return importlib.import_module("genai_prices")
