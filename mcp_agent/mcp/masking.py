"""Keeps the secrets of a downstream server out of what its steps tell: errors, results and log lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from pydantic_core import to_json

from mcp_agent.config import MCPServerSettings
from mcp_agent.observability.logging import secrets_of

MASK = "***"
_SHORTEST = 6


class Masking:
    """Knows secrets, and puts `***` in their place.

    Args:
        secrets: Values; those of less than 6 characters are too common to be looked for.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets: list[str] = []
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """One more to look for, such as a token that was just fetched."""
        if len(secret) >= _SHORTEST and secret not in self._secrets:
            self._secrets = sorted([*self._secrets, secret], key=len, reverse=True)

    def text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def data(self, value: Any) -> Any:
        """JSON-compatible data with the secrets masked in all its texts, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.data(item) for item in cast("list[Any]", value)]
        if isinstance(value, dict):
            return {self.text(key): self.data(item) for key, item in cast("dict[str, Any]", value).items()}
        return value

    def hides(self, data: bytes) -> bool:
        """Whether a JSON text holds one of them."""
        return any(to_json(secret)[1:-1] in data for secret in self._secrets)


def masking_of(settings: MCPServerSettings) -> Masking:
    """The secrets of a server's section. Of an `Authorization` header what follows the scheme too: `Bearer <token>`."""
    schemed = (value for name, value in settings.headers.items() if name.lower().endswith("authorization"))
    return Masking([*secrets_of(settings), *(value.get_secret_value().partition(" ")[2] for value in schemed)])
