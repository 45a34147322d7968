"""The public keys of an issuer, as it shows them (JWKS, RFC 7517)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from jwt import PyJWK, PyJWTError

from mcp_agent.errors import IssuerUnavailable
from mcp_agent.server.limits import Allowance

logger = logging.getLogger(__name__)

FRESH_SECONDS = 600.0
"""After that the keys are asked for again, beside the calls: one that the issuer took back is not accepted for ever."""

FETCHES_AT_ONCE, FETCH_EVERY = 3, 10.0
"""Tokens with made-up keys make nobody ask the issuer more often than that (seconds)."""

MOST_KEYS = 100
SHORTEST_RSA = 2048

_RSA = ("RSA", None)
_KINDS: dict[str, tuple[str, str | None]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), _RSA),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""The type of key and the curve that each algorithm is for."""


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key, with what it is for."""

    id: str | None
    kind: tuple[str, str | None]
    algorithm: str | None
    public: Any

    def fits(self, algorithm: str) -> bool:
        """A key is only used for what it is made for, whatever a token says."""
        return self.kind == _KINDS[algorithm] and self.algorithm in (None, algorithm)


class IssuerKeys:
    """Keeps the keys, and asks for them again when a token names one that is not there.

    Args:
        fetch: Asks the issuer for its JWKS. May raise IssuerUnavailable.
        clock: Seconds that only go forward.
    """

    def __init__(self, fetch: Callable[[], Awaitable[dict[str, Any]]], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: list[IssuerKey] = []
        self._fresh_until = clock()
        self._allowance = Allowance(FETCHES_AT_ONCE, 1 / FETCH_EVERY, clock)
        self._fetching: asyncio.Task[None] | None = None
        self._trouble: str | None = None

    async def find(self, key_id: str | None, algorithm: str) -> IssuerKey | None:
        """The key of a token. Raises IssuerUnavailable if it is not known and the issuer cannot be asked."""
        key = self._known(key_id, algorithm)
        if key is not None:
            if self._clock() >= self._fresh_until:
                self._begin()
            return key
        fetching = self._begin()
        if fetching is not None:
            await asyncio.shield(fetching)
        if self._trouble is not None:
            raise IssuerUnavailable(self._trouble)
        return self._known(key_id, algorithm)

    async def aclose(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _known(self, key_id: str | None, algorithm: str) -> IssuerKey | None:
        """The key of that id; without an id the only one that it can be."""
        fitting = [key for key in self._keys if key.fits(algorithm) and key_id in (None, key.id)]
        return fitting[0] if len(fitting) == 1 or (fitting and key_id is not None) else None

    def _begin(self) -> asyncio.Task[None] | None:
        """The fetch that is under way, or a new one; `None` if it is too early for another."""
        if (self._fetching is None or self._fetching.done()) and self._allowance.take() == 0:
            self._fetching = asyncio.create_task(self._refresh())
        return self._fetching if self._fetching is not None and not self._fetching.done() else None

    async def _refresh(self) -> None:
        try:
            self._keys = _usable(await self._fetch())
        except IssuerUnavailable as error:
            self._trouble = str(error)
            logger.warning("tokens with keys that are not known here cannot be checked: %s", error)
        else:
            self._trouble = None
            self._fresh_until = self._clock() + FRESH_SECONDS


def _usable(jwks: dict[str, Any]) -> list[IssuerKey]:
    """The keys that signatures can be checked with. Raises IssuerUnavailable if what came is no JWKS."""
    listed = jwks.get("keys")
    if not isinstance(listed, list):
        raise IssuerUnavailable("The issuer's JWKS has no list of `keys`.")
    found = (_usable_key(cast("dict[str, Any]", one)) for one in cast("list[Any]", listed)[:MOST_KEYS] if isinstance(one, dict))
    return [key for key in found if key is not None]


def _usable_key(jwk: dict[str, Any]) -> IssuerKey | None:
    fitting = next((name for name, kind in _KINDS.items() if kind == (jwk.get("kty"), jwk.get("crv"))), None)
    if fitting is None or jwk.get("use", "sig") != "sig" or "d" in jwk:
        return None
    try:
        public: Any = PyJWK(jwk, algorithm=fitting).key
    except PyJWTError as error:
        logger.warning("a key of the issuer cannot be used: %s", type(error).__name__)
        return None
    if _KINDS[fitting] == _RSA and public.key_size < SHORTEST_RSA:
        logger.warning("an RSA key of the issuer has %d bits, less than %d: it is not used", public.key_size, SHORTEST_RSA)
        return None
    return IssuerKey(jwk.get("kid"), _KINDS[fitting], jwk.get("alg"), public)
