"""A little OAuth server with keys of its own, for the tests: it shows them, makes tokens, and answers about tokens."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeVar

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mcp_agent.sockets import bound_socket

CLIENT_SECRET = "planted client/secret"
INTROSPECTOR = ("resource server", "planted introspection/secret")


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


class Issuer:
    """Attributes:
    keys: By key id; the private ones.
    asked: The paths that were asked for.
    status: What it answers to everything instead, if it is set.
    opaque: What it says of tokens that it is asked about.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self.keys: dict[str, Any] = {
            "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ec": ec.generate_private_key(ec.SECP256R1()),
            "ed": ed25519.Ed25519PrivateKey.generate(),
        }
        self.asked: list[str] = []
        self.status: int | None = None
        self.opaque: dict[str, dict[str, Any]] = {}
        self.metadata_path = "/.well-known/oauth-authorization-server"
        self.named = base
        self.large = False
        self.app = Starlette(routes=[Route("/{path:path}", self.answer, methods=["GET", "POST"])])

    def jwks(self) -> dict[str, Any]:
        return {"keys": [{**_jwk(key), "kid": name, "use": "sig"} for name, key in self.keys.items()]}

    def claims(self, **changed: Any) -> dict[str, Any]:
        """What a good token says; a claim that is changed to `None` is left out."""
        now = int(time.time())
        claims = {
            "iss": self.base,
            "sub": "alice",
            "client_id": "desk-client",
            "exp": now + 600,
            "iat": now,
            "scope": "workflows:read workflows:run workflows:cancel",
            **changed,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def sign(self, claims: dict[str, Any], kid: str | None = "rsa", key: Any = None, **header: Any) -> str:
        """A token. Its key is the one of `kid`, unless another is given."""
        key = key or self.keys[kid or "rsa"]
        headers = {"typ": "at+jwt", **({"kid": kid} if kid is not None else {}), **header}
        algorithm = header.get("alg") or _algorithm(key)
        return jwt.encode(claims, key, algorithm=algorithm, headers=headers)

    async def answer(self, request: Request) -> Response:
        path = request.url.path
        self.asked.append(path)
        if self.status is not None:
            return Response(status_code=self.status)
        if path == self.metadata_path:
            return JSONResponse(self._metadata())
        if path == "/jwks":
            return JSONResponse({**self.jwks(), "padding": "x" * 600_000 if self.large else ""})
        if path == "/introspect" and await self._knows(request, INTROSPECTOR):
            form = await request.form()
            return JSONResponse(self.opaque.get(str(form["token"]), {"active": False}))
        if path == "/token":
            form = await request.form()
            granted = self.claims(sub=None, client_id="desk-client", aud=form["resource"], scope=form.get("scope"))
            return JSONResponse({"access_token": self.sign(granted), "token_type": "Bearer", "expires_in": 600})
        return Response(status_code=404)

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.named,
            "authorization_endpoint": f"{self.base}/authorize",
            "token_endpoint": f"{self.base}/token",
            "jwks_uri": f"{self.base}/jwks",
            "response_types_supported": ["code"],
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        }

    async def _knows(self, request: Request, client: tuple[str, str]) -> bool:
        quoted = client[0].replace(" ", "%20"), client[1].replace(" ", "%20").replace("/", "%2F")
        return request.headers.get("authorization") == basic(*quoted)


def _algorithm(key: Any) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return "RS256"
    return "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "EdDSA"


def _jwk(key: Any) -> dict[str, Any]:
    return json.loads(get_default_algorithms()[_algorithm(key)].to_jwk(key.public_key()))


def public_pem(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def unsigned(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, None, algorithm="none")


def signed_with_public_key(claims: dict[str, Any], pem: bytes, kid: str) -> str:
    """The classic confusion: a shared-secret signature whose secret is the public key. No library makes it on purpose."""

    def part(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    body = part(json.dumps({"alg": "HS256", "kid": kid}).encode()) + b"." + part(json.dumps(claims).encode())
    return (body + b"." + part(hmac.new(pem, body, hashlib.sha256).digest())).decode()


class Served(Protocol):
    app: Starlette


S = TypeVar("S", bound=Served)


@asynccontextmanager
async def listening(make: Callable[[str], AbstractAsyncContextManager[S]]) -> AsyncGenerator[S, None]:
    """What `make(base)` gives, whose `app` is served at `base`, a free port of this machine."""
    listener = bound_socket("127.0.0.1", 0, "use another")
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with make(base) as made:
        config = uvicorn.Config(made.app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server._serve([listener]))
        try:
            yield made
        finally:
            server.should_exit = True
            await task
            listener.close()


@asynccontextmanager
async def made(base: str) -> AsyncGenerator[Issuer, None]:
    yield Issuer(base)


def issuing() -> AbstractAsyncContextManager[Issuer]:
    """An issuer that listens."""
    return listening(made)
