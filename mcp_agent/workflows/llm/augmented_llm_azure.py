"""OpenAI's models on Azure; `RequestParams.model` is the name of a deployment."""

from __future__ import annotations

from typing import ClassVar

from mcp_agent.workflows.llm.augmented_llm import AugmentedLLM, RequestParams

__all__ = ["AzureAugmentedLLM", "RequestParams"]


class AzureAugmentedLLM(AugmentedLLM):
    """`llm = await agent.attach_llm(AzureAugmentedLLM)`."""

    provider: ClassVar[str] = "azure"
