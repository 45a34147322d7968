"""Tokens that carry their own proof (JWT access tokens, RFC 9068)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import jwt
from mcp.server.auth.provider import AccessToken

from mcp_agent.server.auth.claims import access, audience_of
from mcp_agent.server.auth.keys import IssuerKeys

logger = logging.getLogger(__name__)

TYPES = (None, "jwt", "at+jwt", "application/at+jwt")
"""What a token may call itself: a token that was made for something else, such as a logout, does not count."""

_REQUIRED = ["exp", "iss", "aud"]


class JWTVerifier:
    """Args:
    issuer: Who must have made the token, to the letter.
    audiences: What it must be for: one of these.
    keys: The issuer's.
    algorithms: The signatures that are accepted.
    leeway: By how many seconds clocks may differ.
    """

    def __init__(self, issuer: str, audiences: Sequence[str], keys: IssuerKeys, algorithms: Sequence[str], leeway: float) -> None:
        self._issuer = issuer
        self._audiences = audiences
        self._keys = keys
        self._algorithms = algorithms
        self._leeway = leeway

    async def verify_token(self, token: str) -> AccessToken | None:
        """The caller; `None` if the token does not prove one. Raises IssuerUnavailable, as `IssuerKeys.find`."""
        try:
            return await self._verified(token)
        except jwt.PyJWTError as error:
            return _refuse(type(error).__name__)

    async def _verified(self, token: str) -> AccessToken | None:
        header = jwt.get_unverified_header(token)
        algorithm: Any = header.get("alg")
        kind: Any = header.get("typ")
        if algorithm not in self._algorithms:
            return _refuse("its algorithm is not accepted")
        if (kind.lower() if isinstance(kind, str) else kind) not in TYPES or "crit" in header:
            return _refuse("it is no access token")
        key = await self._keys.find(header.get("kid"), algorithm)
        if key is None:
            return _refuse("its key is not the issuer's")
        claims = jwt.decode(
            token,
            key.public,
            algorithms=[algorithm],
            audience=self._audiences,
            issuer=self._issuer,
            leeway=self._leeway,
            options={"require": _REQUIRED},
        )
        # The leeway is added here: what reads `expires_at` has none.
        until = int(claims["exp"] + self._leeway)
        resource = audience_of(claims, self._audiences)
        return access(token, claims, issuer=self._issuer, resource=resource, expires_at=until)


def _refuse(why: str) -> None:
    logger.info("a JWT was refused: %s", why)
