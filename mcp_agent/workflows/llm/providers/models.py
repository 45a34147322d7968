"""Which of a provider's models fits what a call prefers (MCP specification, "Sampling", "Model Preferences")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from mcp_types import ModelPreferences

from mcp_agent.observability.pricing import price_per_token
from mcp_agent.workflows.llm.providers.base import ProviderError


class ModelTraits(Protocol):
    """What a model is like; 1 is best, 0 is worst."""

    @property
    def intelligence(self) -> float: ...
    @property
    def speed(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Traits:
    """A model of this package's own lists."""

    intelligence: float
    speed: float


def preferred(provider: str, models: Mapping[str, ModelTraits], wishes: ModelPreferences) -> str:
    """The first model that a hint names (a part of its name is enough), else the best by the weights of the wishes.

    A model whose price is not known counts as the dearest.

    Raises:
        ProviderError: Type `NoModelToPrefer`: there are no models to choose from.
    """
    if not models:
        raise ProviderError(
            f"`model_preferences` has nothing to choose from: list models under `{provider}.models`.",
            type="NoModelToPrefer",
            retryable=False,
        )
    for hint in wishes.hints or []:
        named = [model for model in models if hint.name and hint.name.lower() in model.lower()]
        if named:
            return _best(provider, {model: models[model] for model in named}, wishes)
    return _best(provider, models, wishes)


def _best(provider: str, models: Mapping[str, ModelTraits], wishes: ModelPreferences) -> str:
    prices = {model: price_per_token(provider, model) for model in models}
    dearest = max((price for price in prices.values() if price is not None), default=0.0)

    def merit(model: str) -> float:
        price = prices[model]
        cheapness = 0.0 if price is None or dearest == 0 else 1 - price / dearest
        traits = models[model]
        return (
            (wishes.intelligence_priority or 0) * traits.intelligence
            + (wishes.speed_priority or 0) * traits.speed
            + (wishes.cost_priority or 0) * cheapness
        )

    return max(models, key=merit)
