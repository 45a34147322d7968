"""Tokens for downstream servers over HTTP: one that is given, or those of an OAuth server, fetched and renewed in time.

The SDK's own providers ask the MCP server which OAuth server gets the client's secret, and let no two requests of a connection
wait at once. Here credentials go where the configuration says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from typing import Any

import httpx2
from mcp.client.auth.exceptions import OAuthFlowError
from mcp.client.auth.utils import (
    build_oauth_authorization_server_metadata_discovery_urls,
    handle_auth_metadata_response,
    validate_metadata_issuer,
)
from mcp.shared.auth import OAuthToken
from pydantic import ValidationError

from mcp_agent.config import MCPAuthSettings
from mcp_agent.errors import WorkflowApplicationError

EARLY = 30.0
"""Seconds before its end at which a token is renewed; of one that lives shorter, a quarter of its life."""

_TRY_AGAIN = timedelta(seconds=5)


class GivenToken(httpx2.Auth):
    """Sends one token with each request."""

    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        request.headers["Authorization"] = self._header
        yield request


class CallersToken(httpx2.Auth):
    """Sends the newest token of whoever the requests are made for.

    Args:
        newest: Gives it, or raises.
        learned: Told each token.
    """

    def __init__(self, newest: Callable[[], str], learned: Callable[[str], None]) -> None:
        self._newest = newest
        self._learned = learned

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        token = self._newest()
        self._learned(token)
        request.headers["Authorization"] = f"Bearer {token}"
        yield request


class FetchedTokens(httpx2.Auth):
    """Sends the newest token with each request; one that the server refuses is renewed once.

    Args:
        server: The server's name, for errors.
        settings: Whose tokens, and from where.
        resource: What they are for, if the settings do not say.
        learned: Told each secret that comes with a token.
    """

    def __init__(self, server: str, settings: MCPAuthSettings, resource: str, learned: Callable[[str], None]) -> None:
        self._section = f"mcp.servers.{server}.auth"
        self._settings = settings
        self._resource = settings.resource or resource
        self._learned = learned
        self._refresh_token = settings.refresh_token.get_secret_value() if settings.refresh_token else None
        self._token_url = settings.token_url
        self._token: str | None = None
        self._renew_at: float | None = None
        self._renewing = asyncio.Lock()

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        token = await self._current(refused=None)
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == 401:
            token = await self._current(refused=token)
            request.headers["Authorization"] = f"Bearer {token}"
            yield request

    async def _current(self, refused: str | None) -> str:
        """A token that is not `refused`; requests that come at once share one fetch. Raises as `_fetch`."""
        async with self._renewing:
            late = self._renew_at is not None and time.monotonic() >= self._renew_at
            if self._token is None or late or self._token == refused:
                self._keep(await self._fetch())
            assert self._token is not None
            return self._token

    def _keep(self, token: OAuthToken) -> None:
        self._token = token.access_token
        self._learned(token.access_token)
        if token.refresh_token is not None:
            self._refresh_token = token.refresh_token
            self._learned(token.refresh_token)
        lives = token.expires_in
        self._renew_at = None if lives is None else time.monotonic() + lives - min(EARLY, lives / 4)

    async def _fetch(self) -> OAuthToken:
        """A new token.

        Raises:
            WorkflowApplicationError: Type `DownstreamUnauthorized` (the OAuth server refuses) or `DownstreamUnavailable`.
        """
        try:
            async with httpx2.AsyncClient(timeout=httpx2.Timeout(30.0)) as client:
                if self._token_url is None:
                    self._token_url = await self._discovered(client)
                answer = await client.post(self._token_url, data=self._form(), **self._client_authentication())
        except httpx2.TransportError as error:
            raise self._unavailable(f"cannot be reached: {type(error).__name__}") from None
        if answer.status_code == 400 and self._refresh_token is not None and self._settings.client_secret is not None:
            self._refresh_token = None  # it is used up; the client's own credentials get another
            return await self._fetch()
        return self._read(answer)

    def _read(self, answer: httpx2.Response) -> OAuthToken:
        if answer.status_code >= 500 or answer.status_code == 429:
            raise self._unavailable(f"answers with status {answer.status_code}")
        if answer.status_code >= 400:
            raise WorkflowApplicationError(
                f"`{self._token_url}` gives out no token (status {answer.status_code}, {_oauth_error(answer)}): check "
                f"`{self._section}`.",
                type="DownstreamUnauthorized",
                non_retryable=True,
            )
        try:
            return OAuthToken.model_validate_json(answer.content)
        except ValidationError:
            raise self._unavailable("answers with what is no token") from None

    def _form(self) -> dict[str, str]:
        settings = self._settings
        form = {"grant_type": "client_credentials", "resource": self._resource}
        if self._refresh_token is not None:
            form |= {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
        if settings.scopes:
            form["scope"] = " ".join(settings.scopes)
        if settings.client_authentication == "post" or settings.client_secret is None:
            form["client_id"] = settings.client_id or ""
        if settings.client_authentication == "post" and settings.client_secret is not None:
            form["client_secret"] = settings.client_secret.get_secret_value()
        return form

    def _client_authentication(self) -> dict[str, Any]:
        settings = self._settings
        if settings.client_secret is None or settings.client_authentication == "post":
            return {}
        return {"auth": (settings.client_id or "", settings.client_secret.get_secret_value())}

    async def _discovered(self, client: httpx2.AsyncClient) -> str:
        """Where the issuer gives out tokens, by its own metadata, which must name it."""
        issuer = self._settings.issuer
        assert issuer is not None
        for url in build_oauth_authorization_server_metadata_discovery_urls(issuer, issuer):
            go_on, metadata = await handle_auth_metadata_response(await client.get(url))
            if metadata is not None:
                try:
                    validate_metadata_issuer(metadata, issuer)
                except OAuthFlowError as error:
                    raise self._unavailable(f"names another issuer: {error}") from None
                return str(metadata.token_endpoint)
            if not go_on:
                break
        raise self._unavailable("says nowhere where it gives out tokens (RFC 8414)")

    def _unavailable(self, what: str) -> WorkflowApplicationError:
        where = self._token_url or self._settings.issuer
        return WorkflowApplicationError(
            f"`{where}` of `{self._section}` {what}.", type="DownstreamUnavailable", next_retry_delay=_TRY_AGAIN
        )


def _oauth_error(answer: httpx2.Response) -> str:
    """The code that an OAuth server gives for a refusal (RFC 6749)."""
    try:
        body: Any = answer.json()
    except ValueError:
        return "without a reason"
    code = body.get("error") if isinstance(body, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return f"`{code}`" if isinstance(code, str) else "without a reason"


def auth_for(
    server: str, settings: MCPAuthSettings | None, url: str, learned: Callable[[str], None], callers: Callable[[], str] | None
) -> httpx2.Auth | None:
    """What signs the requests to a server; `None` where nothing does.

    Args:
        server: Its name.
        settings: Its section.
        url: Where it is.
        learned: Told each secret that is not in the settings.
        callers: Gives the token of whoever the requests are made for, where that is passed on.
    """
    if settings is None:
        return None
    if callers is not None:
        return CallersToken(callers, learned)
    if settings.bearer_token is not None:
        return GivenToken(settings.bearer_token.get_secret_value())
    return FetchedTokens(server, settings, url, learned)
