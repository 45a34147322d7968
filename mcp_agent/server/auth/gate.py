"""What stands before the endpoints over HTTP: it tells who calls, and tells those whom nobody knows where to get a token."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from mcp.server.auth.handlers.metadata import ProtectedResourceMetadataHandler
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import TokenVerifier
from mcp.server.auth.routes import build_resource_metadata_url, cors_middleware
from mcp.shared.auth import ProtectedResourceMetadata
from pydantic import AnyHttpUrl
from starlette.authentication import AuthCredentials, AuthenticationError
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_agent.config import ServerAuthSettings, ServerSettings
from mcp_agent.errors import IssuerUnavailable
from mcp_agent.server.auth.scopes import ALL
from mcp_agent.server.auth.verifier import open_verifier

RETRY_AFTER = 10
"""Seconds after which a caller may come again whose token could not be checked."""


class Gate:
    """Args:
    auth: Who may pass; everybody if `None`.
    resources: The addresses that tokens are for, as `ServerSettings.resources`.
    verifier: Who knows the callers.
    """

    def __init__(self, auth: ServerAuthSettings | None, resources: Sequence[str], verifier: TokenVerifier | None) -> None:
        self._auth = auth
        self._resources = {urlsplit(resource).path.rpartition("/")[2]: resource for resource in resources}
        self._verifier = verifier

    def middleware(self) -> Sequence[Middleware]:
        """What looks at the token of each request."""
        if self._verifier is None:
            return ()
        return (
            Middleware(AuthenticationMiddleware, backend=_Backend(self._verifier), on_error=_try_again),
            Middleware(AuthContextMiddleware),
        )

    def guarded(self, endpoint: ASGIApp, name: str) -> ASGIApp:
        """The endpoint, for known callers only. Others read where the resource `name` (`mcp`, `sse`) is described."""
        if self._auth is None:
            return endpoint
        described = self._auth.issuer is not None and name in self._resources
        url = build_resource_metadata_url(AnyHttpUrl(self._resources[name])) if described else None
        required = self._auth.required_scopes
        return _Challenges(RequireAuthMiddleware(endpoint, required, url), _scopes_to_ask_for(self._auth))

    def routes(self) -> Sequence[Route]:
        """Where clients read which issuer gives out tokens (RFC 9728). None without an issuer."""
        if self._auth is None or self._auth.issuer is None:
            return ()
        return [_description(resource, self._auth.issuer, self._auth) for resource in self._resources.values()]


class _Challenges:
    """Tells whom it does not let pass what scopes to ask the issuer for (MCP 2026-07-28, Authorization, "Scope selection").

    Args:
        guarded: What refuses.
        scopes: The scopes.
    """

    def __init__(self, guarded: ASGIApp, scopes: Sequence[str]) -> None:
        self._guarded = guarded
        self._asked = f', scope="{" ".join(scopes)}"' if scopes else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (401, 403):
                headers = MutableHeaders(scope=message)
                if "www-authenticate" in headers:
                    headers["www-authenticate"] += self._asked
            await send(message)

        await self._guarded(scope, receive, told)


@asynccontextmanager
async def open_gate(settings: ServerSettings) -> AsyncGenerator[Gate, None]:
    """The gate that `server.auth` asks for; an open one without."""
    if settings.auth is None:
        yield Gate(None, (), None)
        return
    async with open_verifier(settings.auth, settings.resources) as verifier:
        yield Gate(settings.auth, settings.resources, verifier)


def _description(resource: str, issuer: str, auth: ServerAuthSettings) -> Route:
    metadata = ProtectedResourceMetadata.model_validate(
        {"resource": resource, "authorization_servers": [issuer], "scopes_supported": _scopes_supported(auth)}
    )
    path = urlsplit(str(build_resource_metadata_url(AnyHttpUrl(resource)))).path
    handler = ProtectedResourceMetadataHandler(metadata)
    return Route(path, endpoint=cors_middleware(handler.handle, ["GET", "OPTIONS"]), methods=["GET", "OPTIONS"])


def _scopes_supported(auth: ServerAuthSettings) -> list[str]:
    if auth.scopes_supported is not None:
        return auth.scopes_supported
    own = ALL if auth.scopes == "enforced" else ()
    return [*own, *(scope for scope in auth.required_scopes if scope not in own)]


def _scopes_to_ask_for(auth: ServerAuthSettings) -> list[str]:
    """What a caller needs at least, else all there are; nobody gives out any where there is no issuer."""
    return auth.required_scopes or (_scopes_supported(auth) if auth.issuer is not None else [])


class _Backend(BearerAuthBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, AuthenticatedUser] | None:
        try:
            return await super().authenticate(conn)
        except IssuerUnavailable as error:
            raise AuthenticationError(str(error)) from error


def _try_again(_: HTTPConnection, __: Exception) -> Response:
    """Not a 401: the token may be good, and a client must not throw it away because the issuer is down."""
    text = "The server cannot check your token now: its issuer does not answer. Try again."
    return JSONResponse(
        {"error": "temporarily_unavailable", "error_description": text}, 503, headers={"Retry-After": str(RETRY_AFTER)}
    )
