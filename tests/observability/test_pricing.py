import pytest

from mcp_agent.observability.pricing import cost_of, load_prices, price_per_token
from mcp_agent.workflows.llm.messages import Usage

USAGE = Usage(input_tokens=1_000_000, output_tokens=100_000)


@pytest.mark.promise("issue: price table from a kept library, `cost_source` says which")
def test_a_known_model_has_the_cost_of_the_table():
    cost = cost_of("openai", "gpt-4.1", USAGE)
    assert cost is not None
    assert cost.usd == pytest.approx(2.8)
    assert cost.source == f"genai-prices {load_prices().__version__}"


def test_what_came_from_the_cache_costs_less():
    whole = cost_of("anthropic", "claude-sonnet-4-5", USAGE)
    cached = cost_of("anthropic", "claude-sonnet-4-5", USAGE.model_copy(update={"cached_input_tokens": 900_000}))
    written = cost_of("anthropic", "claude-sonnet-4-5", USAGE.model_copy(update={"cache_write_tokens": 900_000}))
    assert cached is not None
    assert whole is not None
    assert written is not None
    assert cached.usd < whole.usd < written.usd


@pytest.mark.promise("issue: unknown models have no cost rather than a wrong one")
@pytest.mark.parametrize(
    ("provider", "model", "base_url"),
    [
        ("openai", "my-own-model", None),
        ("openai", "gpt-4.1", "http://127.0.0.1:8080/v1"),  # whoever serves it there has prices of its own
        ("scripted", "gpt-4.1", None),
    ],
)
def test_what_is_not_in_the_table_has_no_cost(provider: str, model: str, base_url: str | None):
    assert cost_of(provider, model, USAGE, base_url) is None


def test_a_provider_s_own_address_has_the_provider_s_prices():
    assert cost_of("openai", "gpt-4.1", USAGE, "https://api.openai.com/v1") == cost_of("openai", "gpt-4.1", USAGE)


def test_a_token_of_a_larger_model_costs_more():
    small, large = price_per_token("openai", "gpt-4.1-nano"), price_per_token("openai", "gpt-4.1")
    assert small is not None
    assert large is not None
    assert small < large
    assert price_per_token("openai", "my-own-model") is None
