"""Tokens that only their issuer understands: it is asked about each (RFC 7662), and its answers are kept for a while."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import httpx2
from mcp.server.auth.provider import AccessToken

from mcp_agent.config import IntrospectionSettings
from mcp_agent.errors import IssuerUnavailable
from mcp_agent.server.auth.claims import access, audience_of
from mcp_agent.server.auth.issuer import ask

logger = logging.getLogger(__name__)

MOST_ANSWERS = 10_000


class Introspection:
    """Args:
    settings: Whom to ask, and as whom.
    issuer: Who makes the tokens.
    audiences: What a token must be for: one of these.
    client: For the questions.
    leeway: By how many seconds clocks may differ.
    clock: Seconds since 1970.
    """

    def __init__(
        self,
        settings: IntrospectionSettings,
        issuer: str,
        audiences: Sequence[str],
        client: httpx2.AsyncClient,
        leeway: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._issuer = issuer
        self._audiences = audiences
        self._client = client
        self._leeway = leeway
        self._clock = clock
        self._answers: OrderedDict[bytes, tuple[float, AccessToken | None]] = OrderedDict()

    async def verify_token(self, token: str) -> AccessToken | None:
        """The caller; `None` if the issuer does not vouch for the token. Raises IssuerUnavailable."""
        digest = sha256(token.encode()).digest()
        kept = self._answers.get(digest)
        if kept is not None and self._clock() < kept[0]:
            self._answers.move_to_end(digest)
            return kept[1]
        try:
            said = await ask(self._client, self._question(token))
        except IssuerUnavailable as error:
            logger.warning("a token cannot be checked: %s", error)
            raise
        found = self._caller(token, said)
        self._keep(digest, found)
        return found

    def _question(self, token: str) -> httpx2.Request:
        settings = self._settings
        # RFC 6749, 2.3.1: both are form-encoded before they become a header.
        pair = quote(settings.client_id, safe=""), quote(settings.client_secret.get_secret_value(), safe="")
        request = self._client.build_request(
            "POST",
            settings.url,
            data={"token": token, "token_type_hint": "access_token"},
            headers={"Accept": "application/json"},
        )
        return next(httpx2.BasicAuth(*pair).sync_auth_flow(request))

    def _caller(self, token: str, said: dict[str, Any]) -> AccessToken | None:
        """As RFC 7662, 2.2 wants what is said to be read: `active` alone does not make it a token for this server."""
        if said.get("active") is not True:
            return _refuse("it is not active")
        if said.get("iss", self._issuer) != self._issuer:
            return _refuse("it is another issuer's")
        audience = audience_of(said, self._audiences)
        if audience is None and (self._settings.require_audience or "aud" in said):
            return _refuse("it is not for this server")
        begins, ends = said.get("nbf"), said.get("exp")
        now = self._clock()
        if isinstance(begins, int | float) and begins > now + self._leeway:
            return _refuse("it is not valid yet")
        until = int(ends + self._leeway) if isinstance(ends, int | float) else None
        if until is not None and until <= now:
            return _refuse("it has expired")
        return access(token, said, issuer=self._issuer, resource=audience, expires_at=until)

    def _keep(self, digest: bytes, found: AccessToken | None) -> None:
        until = self._clock() + self._settings.cache_seconds
        if found is not None and found.expires_at is not None:
            until = min(until, found.expires_at)
        self._answers[digest] = until, found
        self._answers.move_to_end(digest)
        if len(self._answers) > MOST_ANSWERS:
            self._answers.popitem(last=False)


def _refuse(why: str) -> None:
    logger.info("a token was refused: %s", why)
