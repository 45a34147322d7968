"""Tokens that the configuration names: for small set-ups, which have no OAuth server."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256

from mcp.server.auth.provider import AccessToken

from mcp_agent.config import StaticTokenSettings

ISSUER = "urn:mcp-agent:static"
"""Whose callers these are: no OAuth server's subject is ever one of them."""


class StaticTokens:
    """Keeps digests, never the tokens. Args: `tokens`, the callers; `resource`, what their tokens are for."""

    def __init__(self, tokens: Sequence[StaticTokenSettings], resource: str | None) -> None:
        self._callers = [(_digest(one.token.get_secret_value()), one.subject, one.scopes) for one in tokens]
        self._resource = resource

    async def verify_token(self, token: str) -> AccessToken | None:
        """The caller. Takes as long for a wrong token as for a right one, for each caller."""
        digest = _digest(token)
        matching = [caller for caller in self._callers if hmac.compare_digest(caller[0], digest)]
        if not matching:
            return None
        _, subject, scopes = matching[0]
        return AccessToken(
            token=token,
            client_id=subject,
            subject=subject,
            scopes=scopes,
            resource=self._resource,
            claims={"iss": ISSUER},
        )


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
