"""Google's Gemini models, through the Gemini API or on Vertex AI (`google.vertexai`)."""

from __future__ import annotations

from typing import ClassVar

from mcp_agent.workflows.llm.augmented_llm import AugmentedLLM, RequestParams

__all__ = ["GoogleAugmentedLLM", "RequestParams"]


class GoogleAugmentedLLM(AugmentedLLM):
    """`llm = await agent.attach_llm(GoogleAugmentedLLM)`."""

    provider: ClassVar[str] = "google"
