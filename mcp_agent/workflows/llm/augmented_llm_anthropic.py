"""Anthropic's models, and every service that speaks their Messages API (`anthropic.base_url`)."""

from __future__ import annotations

from typing import ClassVar

from mcp_agent.workflows.llm.augmented_llm import AugmentedLLM, RequestParams

__all__ = ["AnthropicAugmentedLLM", "RequestParams"]


class AnthropicAugmentedLLM(AugmentedLLM):
    """`llm = await agent.attach_llm(AnthropicAugmentedLLM)`."""

    provider: ClassVar[str] = "anthropic"
