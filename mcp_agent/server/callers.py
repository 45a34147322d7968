"""Who calls, and what belongs to whom (`contract.md`, "Ids and ownership")."""

from __future__ import annotations

import base64
import hashlib
import math
import time
from dataclasses import dataclass

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken

from mcp_agent.executor.caller_tokens import CallerTokens
from mcp_agent.server.auth import scopes
from mcp_agent.server.auth.scopes import Action

_TAG_BYTES = 10


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request.

    Attributes:
        tag: What the ids of the caller's runs begin with; `None` where there is no auth: then all runs are everybody's.
        scopes: What the caller's token allows; `None` for everything.
        expires_at: When the token ends, in seconds since 1970.
        subject: As its issuer calls it; the client where there is no subject.
    """

    tag: str | None = None
    scopes: frozenset[str] | None = None
    expires_at: float | None = None
    subject: str | None = None

    @property
    def prefix(self) -> str:
        """What the ids of its runs begin with."""
        return "" if self.tag is None else f"{self.tag}."

    def seconds_left(self) -> float:
        """Until its token ends; infinite for one that does not."""
        return math.inf if self.expires_at is None else max(self.expires_at - time.time(), 0)

    def owns(self, run_id: str) -> bool:
        """Whether it is the id of a run of the caller's own: another's looks the same as one that is not there."""
        return run_id.startswith(self.prefix)

    def may(self, action: Action, workflow: str | None) -> bool:
        """Whether the caller's token allows it; with no workflow, for every one."""
        return scopes.missing(self.scopes, action, workflow) is None

    def check_may(self, action: Action, workflow: str | None) -> None:
        """Raises InsufficientScope where the caller's token does not allow it."""
        scopes.require(self.scopes, action, workflow)


ANYBODY = Caller()


def current_caller(lent: CallerTokens | None = None) -> Caller:
    """Who sent the request that is being handled.

    Args:
        lent: Where the caller's token is kept for the downstream servers that get it; `None` if none does.
    """
    token = get_access_token()
    if token is None:
        return ANYBODY
    caller = _caller(token)
    if lent is not None and caller.tag is not None:
        lent.keep(caller.tag, token.token, token.expires_at)
    return caller


def _caller(token: AccessToken) -> Caller:
    subject = token.subject or token.client_id
    return Caller(tag=owner_tag(token), scopes=frozenset(token.scopes), expires_at=token.expires_at, subject=subject)


def owner_tag(token: AccessToken) -> str:
    """A truncated hash of issuer and subject; of the client only where there is no subject."""
    issuer = str((token.claims or {}).get("iss", ""))
    owner = f"s\0{token.subject}" if token.subject else f"c\0{token.client_id}"
    digest = hashlib.sha256(f"{issuer}\0{owner}".encode()).digest()[:_TAG_BYTES]
    return base64.b32encode(digest).decode().lower()
