"""The sections of model providers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from mcp_agent.config_section import Seconds, Section


class ModelSettings(Section):
    """A model among which `RequestParams.model_preferences` chooses; 1 is best. What it costs is known from its price."""

    intelligence: float = Field(default=0.5, ge=0, le=1)
    speed: float = Field(default=0.5, ge=0, le=1)


class ProviderSettings(Section):
    """A model provider. Keys are read from the provider's usual variable too, such as `OPENAI_API_KEY`.

    Attributes:
        api_key: Goes to the provider and nowhere else.
        base_url: Another address than the provider's own.
        prices_of: Whose prices count where `base_url` is a gateway's: `openai`, `anthropic` or another name of `genai-prices`.
        default_model: For calls that name none.
        models: For calls that say what they prefer; this package's own list by default.
        timeout_seconds: The longest that one attempt may take.
        stall_timeout_seconds: The longest that an answer may be silent while it is streamed.
        stream: Whether answers come piece by piece, so that whoever watches a run sees them grow.
        prompt_caching: Whether long beginnings are marked for the provider's cache, where its API has marks.
    """

    api_key: SecretStr | None = None
    base_url: str | None = None
    prices_of: str | None = None
    default_model: str | None = None
    models: dict[str, ModelSettings] = {}
    timeout_seconds: Seconds | None = None
    stall_timeout_seconds: Seconds = 120
    stream: bool = True
    prompt_caching: bool = True


class OpenAISettings(ProviderSettings):
    """OpenAI, and whatever speaks its API.

    Attributes:
        api: `responses`, or `chat` (completions). `auto`: `responses` at OpenAI's own address, except for what only `chat`
            can do (stop sequences, sound), and `chat` elsewhere.
        organization: Sent with each request, as is `project`.
    """

    api: Literal["auto", "chat", "responses"] = "auto"
    organization: str | None = None
    project: str | None = None


class AzureSettings(ProviderSettings):
    """OpenAI's models on Azure.

    Attributes:
        base_url: The resource's endpoint, such as `https://my-resource.openai.azure.com`.
        api_version: Of Azure's dated API; without one its v1 API is spoken, which needs none.
        api: As for OpenAI; `auto` is `chat`.
        ad_token: An Entra ID token instead of `api_key`.
    """

    api: Literal["auto", "chat", "responses"] = "auto"
    api_version: str | None = None
    ad_token: SecretStr | None = None


class GoogleSettings(ProviderSettings):
    """Gemini, with an API key or on Vertex AI.

    Attributes:
        vertexai: Whether to use Vertex AI: with the machine's Google credentials for the `project`, or without a project
            with an express-mode `api_key`.
        project: The Google Cloud project, for Vertex AI.
        location: Its region, such as `europe-west4`; `global` by default.
    """

    vertexai: bool = False
    project: str | None = None
    location: str | None = None


class ScriptedSettings(Section):
    """A scripted model (`mcp_agent.testing`) that stands in for every provider when `file` is given."""

    file: Path | None = None
