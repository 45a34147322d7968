"""OpenAI's models, and every service that speaks one of its APIs (`openai.base_url`, `openai.api`)."""

from __future__ import annotations

from typing import ClassVar

from mcp_agent.workflows.llm.augmented_llm import AugmentedLLM, RequestParams

__all__ = ["OpenAIAugmentedLLM", "RequestParams"]


class OpenAIAugmentedLLM(AugmentedLLM):
    """`llm = await agent.attach_llm(OpenAIAugmentedLLM)`."""

    provider: ClassVar[str] = "openai"
