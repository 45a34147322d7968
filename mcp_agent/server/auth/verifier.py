"""Which of the ways to know a caller is for which token."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.server.auth.provider import AccessToken, TokenVerifier

from mcp_agent.config import ServerAuthSettings
from mcp_agent.server.auth.introspection import Introspection
from mcp_agent.server.auth.issuer import ask, discover_jwks
from mcp_agent.server.auth.scopes import ALL
from mcp_agent.server.auth.static import StaticTokens

LONGEST_TOKEN = 16 * 1024
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)


class Verifier:
    """Asks first the static tokens, then whoever understands a token of that shape.

    Args:
        static: The configuration's own callers.
        signed: For JWTs.
        opaque: For all others, and for JWTs where there is no `signed`.
        granted: Scopes that every caller has.
    """

    def __init__(
        self,
        static: StaticTokens,
        signed: TokenVerifier | None = None,
        opaque: TokenVerifier | None = None,
        granted: Sequence[str] = (),
    ) -> None:
        self._static = static
        self._signed = signed
        self._opaque = opaque
        self._granted = granted

    async def verify_token(self, token: str) -> AccessToken | None:
        """The caller; `None` if the token is not accepted. Raises IssuerUnavailable if nobody can tell."""
        if len(token) > LONGEST_TOKEN:
            return None
        known = await self._static.verify_token(token) or await self._asked(token)
        if known is None or not self._granted:
            return known
        return known.model_copy(update={"scopes": [*known.scopes, *self._granted]})

    async def _asked(self, token: str) -> AccessToken | None:
        way = self._signed if self._signed is not None and _JWT.fullmatch(token) else self._opaque
        return None if way is None else await way.verify_token(token)


@asynccontextmanager
async def open_verifier(auth: ServerAuthSettings, resources: Sequence[str]) -> AsyncGenerator[Verifier, None]:
    """The verifier of `server.auth`. Nothing is asked of the issuer before the first token.

    Args:
        auth: The section.
        resources: The addresses that tokens are for, as `ServerSettings.resources`.
    """
    static = StaticTokens(auth.tokens, resources[0] if resources else None)
    granted = ALL if auth.scopes == "off" else ()
    if auth.issuer is None:
        yield Verifier(static, granted=granted)
        return
    audiences = [auth.audience] if auth.audience is not None else list(resources)
    async with httpx2.AsyncClient(follow_redirects=False) as client:
        opaque = None
        if auth.introspection is not None:
            opaque = Introspection(auth.introspection, auth.issuer, audiences, client, auth.leeway_seconds)
            if auth.introspection.all_tokens:
                yield Verifier(static, None, opaque, granted)
                return
        async with _signed(auth, auth.issuer, audiences, client) as signed:
            yield Verifier(static, signed, opaque, granted)


@asynccontextmanager
async def _signed(
    auth: ServerAuthSettings, issuer: str, audiences: Sequence[str], client: httpx2.AsyncClient
) -> AsyncGenerator[TokenVerifier, None]:
    # Imported late: a server without an issuer does without the signatures.
    from mcp_agent.server.auth.jwt import JWTVerifier  # noqa: PLC0415
    from mcp_agent.server.auth.keys import IssuerKeys  # noqa: PLC0415

    async def fetch() -> dict[str, Any]:
        url = auth.jwks_url or await discover_jwks(client, issuer)
        return await ask(client, client.build_request("GET", url))

    keys = IssuerKeys(fetch)
    try:
        yield JWTVerifier(issuer, audiences, keys, auth.algorithms, auth.leeway_seconds)
    finally:
        await keys.aclose()
