"""The client of OpenAI's models on Azure: the same two APIs, with Azure's addresses and ways to say who one is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, cast
from urllib.parse import urlsplit

from mcp_agent.workflows.llm.providers.models import ModelTraits
from mcp_agent.workflows.llm.providers.openai.client import OpenAIClient

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from mcp_agent.config import AzureSettings

_DEPLOYMENTS = "/openai/deployments/"


class AzureClient(OpenAIClient):
    """Asks a resource on Azure; models are named as its deployments are."""

    section = "azure"
    key_variable = "AZURE_OPENAI_API_KEY"
    key_settings = "`azure.api_key` or `azure.ad_token`"
    default_base_url = "https://my-resource.openai.azure.com"
    default_models: ClassVar[Mapping[str, ModelTraits]] = {}  # deployments have names of the user's own

    @property
    def own(self) -> bool:
        """Only the v1 API takes all that OpenAI does."""
        return self._azure.api_version is None

    @property
    def _azure(self) -> AzureSettings:
        return cast("AzureSettings", self._settings)

    @property
    def _prefers_responses(self) -> bool:
        return False

    def _key(self) -> str:
        token = self._azure.ad_token
        return token.get_secret_value().strip() if token else super()._key()

    def _connect(self) -> AsyncOpenAI:
        azure, url = self._azure, self._checked_url().rstrip("/")
        key = self._checked_key()
        if azure.api_version is None:
            return self._sdk_client("AsyncOpenAI", api_key=key, base_url=_v1(url))
        place = {"base_url": url} if _DEPLOYMENTS in url else {"azure_endpoint": url.removesuffix("/openai")}
        who = {"azure_ad_token": key} if azure.ad_token else {"api_key": key}
        return self._sdk_client("AsyncAzureOpenAI", api_version=azure.api_version, **place, **who)

    def _checked_url(self) -> str:
        if not self._azure.base_url:
            raise self._refused(
                f"No address: set `azure.base_url` to the resource's endpoint, such as `{self.default_base_url}`"
                " (environment: `AZURE_OPENAI_ENDPOINT`).",
                "ConfigError",
            )
        return super()._checked_url()

    def _checked_key(self) -> str:
        if self._azure.ad_token and self._azure.api_key:
            raise self._refused(
                "Both `azure.api_key` and `azure.ad_token` are set (`AZURE_OPENAI_API_KEY` counts): leave one out.", "ConfigError"
            )
        return super()._checked_key()


def _v1(url: str) -> str:
    """The base of the v1 API at an endpoint; an address that names a version is taken as it is."""
    if urlsplit(url).path.endswith("/v1"):
        return url
    return f"{url.partition(_DEPLOYMENTS)[0].removesuffix('/openai')}/openai/v1"
