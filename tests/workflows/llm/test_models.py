import pytest
from mcp_types import ModelHint, ModelPreferences

from mcp_agent.activities.llm import SDK_CLIENTS
from mcp_agent.observability.pricing import price_per_token
from mcp_agent.workflows.llm.providers.base import ProviderError
from mcp_agent.workflows.llm.providers.client import SDKClient
from mcp_agent.workflows.llm.providers.models import Traits, preferred

MODELS = {
    "gpt-4.1": Traits(intelligence=0.9, speed=0.4),
    "gpt-4.1-nano": Traits(intelligence=0.3, speed=0.9),
    "house-model": Traits(intelligence=0.9, speed=0.8),  # without a known price
}


def chosen(*hints: str, **wishes: float) -> str:
    return preferred("openai", MODELS, ModelPreferences(hints=[ModelHint(name=name) for name in hints], **wishes))


@pytest.mark.promise("issue: model selection by name or by preference")
@pytest.mark.parametrize(
    ("wishes", "model"),
    [
        ({"intelligence_priority": 1, "cost_priority": 1}, "gpt-4.1-nano"),
        ({"intelligence_priority": 1, "cost_priority": 0.1}, "gpt-4.1"),
        ({"intelligence_priority": 0.5, "speed_priority": 1}, "house-model"),
        ({"speed_priority": 1}, "gpt-4.1-nano"),
        ({"cost_priority": 1}, "gpt-4.1-nano"),
    ],
)
def test_weights_choose(wishes: dict[str, float], model: str):
    assert chosen(**wishes) == model


def test_the_first_hint_that_names_a_model_decides():
    assert chosen("gemini", "HOUSE", "gpt", cost_priority=1) == "house-model"
    assert chosen("gpt", cost_priority=1) == "gpt-4.1-nano"
    assert chosen("gemini", intelligence_priority=0.1, speed_priority=0.1) == "house-model"


def test_nothing_to_choose_from_is_an_error_that_says_what_to_do():
    with pytest.raises(ProviderError, match=r"`my\.models`") as told:
        preferred("my", {}, ModelPreferences())
    assert not told.value.retryable


@pytest.mark.parametrize("client", SDK_CLIENTS, ids=lambda client: client.section)
def test_every_provider_has_models_to_choose_from_with_prices(client: type[SDKClient]):
    if client.section == "azure":
        assert not client.default_models, "names of deployments are the user's own"
        return
    assert len(client.default_models) >= 3
    assert all(price_per_token(client.section, model) for model in client.default_models)
    assert price_per_token(client.section, client.default_model)
