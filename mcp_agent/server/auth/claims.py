"""What a token's claims say of its caller, whether they come signed (RFC 9068) or as an answer (RFC 7662)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from mcp.server.auth.provider import AccessToken

_CLIENT = ("client_id", "azp", "cid", "appid")
_SCOPES = ("scope", "scp")


def access(
    token: str, claims: Mapping[str, Any], issuer: str, resource: str | None, expires_at: int | None
) -> AccessToken | None:
    """What the server knows of the caller; `None` if the claims name nobody.

    Args:
        token: The token itself.
        claims: What is said of it, already trusted.
        issuer: By whom.
        resource: What it is for.
        expires_at: Until when it is accepted, as a Unix time.
    """
    subject = _text(claims.get("sub"))
    client = next((text for name in _CLIENT if (text := _text(claims.get(name)))), subject)
    if client is None:
        return None
    return AccessToken(
        token=token,
        client_id=client,
        subject=subject,
        scopes=_scopes(claims),
        expires_at=expires_at,
        resource=resource,
        claims={"iss": issuer},
    )


def audience_of(claims: Mapping[str, Any], accepted: Collection[str]) -> str | None:
    """Which of the accepted audiences the claims name."""
    named: Any = claims.get("aud")
    return next((one for one in accepted if one == named or (isinstance(named, list) and one in named)), None)


def _scopes(claims: Mapping[str, Any]) -> list[str]:
    """One text with spaces between, or a list: issuers differ."""
    for name in _SCOPES:
        value: Any = claims.get(name)
        if isinstance(value, str):
            return value.split()
        if isinstance(value, list):
            return [scope for scope in cast("list[Any]", value) if isinstance(scope, str)]
    return []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
