"""What is asked of an OAuth server: within a time, and no more than a size, for it may be slow, wrong or somebody else."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import httpx2
from mcp.client.auth.utils import build_oauth_authorization_server_metadata_discovery_urls

from mcp_agent.errors import IssuerUnavailable

TIME_LIMIT = 5.0
"""Seconds for one question."""

SIZE_LIMIT = 512 * 1024
"""Bytes of an answer."""


async def ask(client: httpx2.AsyncClient, request: httpx2.Request) -> dict[str, Any]:
    """The JSON object that answers a request. Raises IssuerUnavailable for whatever else comes."""
    where = f"`{request.url}`"
    try:
        async with asyncio.timeout(TIME_LIMIT):
            response = await client.send(request, stream=True)
            try:
                body = await _read(response)
            finally:
                await response.aclose()
    except (httpx2.HTTPError, TimeoutError) as error:
        raise IssuerUnavailable(f"{where} cannot be reached: {type(error).__name__}.") from None
    if response.status_code != 200:
        raise IssuerUnavailable(f"{where} answers with status {response.status_code}.")
    if body is None:
        raise IssuerUnavailable(f"{where} answers with more than {SIZE_LIMIT:,} bytes.")
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise IssuerUnavailable(f"{where} answers with no JSON object.")
    return cast("dict[str, Any]", answer)


async def _read(response: httpx2.Response) -> bytes | None:
    """The body; `None` if it is too large."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > SIZE_LIMIT:
            return None
    return bytes(body)


async def discover_jwks(client: httpx2.AsyncClient, issuer: str) -> str:
    """Where an issuer says that its keys are (RFC 8414, OpenID Connect Discovery). Raises IssuerUnavailable."""
    problem = IssuerUnavailable(f"`{issuer}` says nowhere what it is (RFC 8414).")
    for url in build_oauth_authorization_server_metadata_discovery_urls(issuer, issuer):
        try:
            metadata = await ask(client, client.build_request("GET", url))
        except IssuerUnavailable as error:
            problem = error
            continue
        if metadata.get("issuer") != issuer:
            raise IssuerUnavailable(f"`{url}` is not about `{issuer}`: write `server.auth.issuer` as it writes itself.")
        return _key_address(metadata.get("jwks_uri"), issuer, url)
    raise problem


def _key_address(found: Any, issuer: str, where: str) -> str:
    schemes = ("https://",) if issuer.startswith("https://") else ("https://", "http://")
    if not isinstance(found, str) or not found.startswith(schemes):
        raise IssuerUnavailable(f"`{where}` names no `jwks_uri` that can be trusted: give `server.auth.jwks_url`.")
    return found
