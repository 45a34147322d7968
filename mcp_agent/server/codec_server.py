"""`mcp-agent codec-server`: Temporal's remote codec protocol, so that its web page and command line show what is encrypted.

`POST /encode` and `POST /decode` take and give `{"payloads": [...]}` in Temporal's JSON; the header `X-Namespace` says whose.
Keys never leave this process; what it decrypts goes to whoever may ask. From outside to inside: the names that a request uses,
which web page asks (CORS), who asks, its size.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from google.protobuf.json_format import MessageToDict, Parse, ParseError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from temporalio.api.common.v1 import Payloads
from temporalio.common import RawValue
from temporalio.converter import DataConverter

from mcp_agent.config import CodecServerSettings
from mcp_agent.errors import ConfigError, StorageUnavailable, UnreadablePayload
from mcp_agent.server.auth.gate import Gate
from mcp_agent.server.auth.verifier import open_verifier
from mcp_agent.server.hosts import KnownNames, is_loopback, named_hosts

# What Temporal's web page and command line send.
HEADERS = ("Authorization", "Authorization-Extras", "Content-Type", "X-Namespace")
PREFLIGHT_SECONDS = 600

_Change = Callable[[Payloads], Awaitable[Payloads]]


def check_codec_binding(settings: CodecServerSettings, host: str) -> None:
    """Raises ConfigError if others could reach `host` and nobody said who may ask."""
    if settings.auth is None and not is_loopback(host):
        raise ConfigError(
            f"On `{host}` everybody who reaches this machine could have values decrypted: say who may ask with "
            "`temporal.codec_server.auth`."
        )


@asynccontextmanager
async def codec_app(
    converter: DataConverter, namespace: str, settings: CodecServerSettings, host: str
) -> AsyncGenerator[Starlette, None]:
    """The app that encrypts and decrypts for whom its settings let.

    Args:
        converter: Of the runs.
        namespace: The one whose keys these are.
        settings: Who may ask.
        host: What is listened on.
    """
    codec = Codec(converter, namespace, settings.max_request_bytes)
    names = named_hosts(host, settings.allowed_hosts, settings.allowed_origins)
    async with _open_gate(settings) as gate:

        def route(path: str, change: _Change) -> Route:
            guarded = gate.guarded(_Endpoint(partial(codec.answer, change)), "codec")
            return Route(path, KnownNames(_Posted(guarded), names, "temporal.codec_server"))

        yield Starlette(
            routes=[Route("/health", _healthy), route("/encode", codec.encoded), route("/decode", codec.decoded)],
            middleware=[_cors(settings.allowed_origins), *gate.middleware()],
        )


def _cors(origins: Sequence[str]) -> Middleware:
    """Answers browsers that ask whether a page may; before the gate, which they send no token to then."""
    return Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["POST"],
        allow_headers=HEADERS,
        allow_private_network=True,  # a page of the company may ask a server on this machine
        max_age=PREFLIGHT_SECONDS,
    )


class Codec:
    """Args:
    converter: Of the runs.
    namespace: The one whose keys these are.
    most: Bytes of a request.
    """

    def __init__(self, converter: DataConverter, namespace: str, most: int) -> None:
        self._converter = converter
        self._namespace = namespace
        self._most = most

    async def answer(self, change: _Change, request: Request) -> Response:
        """What the protocol answers: the payloads changed, as many as came."""
        wanted = request.headers.get("x-namespace", self._namespace)
        if wanted != self._namespace:
            return _refusal(403, f"This is the codec server of namespace `{self._namespace}`, not of `{wanted[:100]}`.")
        body = await _body(request, self._most)
        if body is None:
            return _refusal(413, f"A request may have {self._most:,} bytes: see `temporal.codec_server.max_request_bytes`.")
        try:
            changed = await change(Parse(body, Payloads()))
        except (ParseError, UnicodeDecodeError):
            return _refusal(400, 'The body must be Temporal\'s JSON of payloads: `{"payloads": [{"metadata": {}, "data": ""}]}`.')
        except UnreadablePayload as error:
            return _refusal(422, str(error))
        except StorageUnavailable as error:
            return _refusal(503, str(error))
        return JSONResponse(MessageToDict(changed))

    async def encoded(self, payloads: Payloads) -> Payloads:
        codec = self._converter.payload_codec
        return payloads if codec is None else Payloads(payloads=await codec.encode(payloads.payloads))

    async def decoded(self, payloads: Payloads) -> Payloads:
        """Large values are read where they are kept, too."""
        read = await self._converter.decode(payloads.payloads, [RawValue] * len(payloads.payloads))
        return Payloads(payloads=[value.payload for value in read])


class _Endpoint:
    """A function of a request as an ASGI app."""

    def __init__(self, answer: Callable[[Request], Awaitable[Response]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (await self._answer(Request(scope, receive)))(scope, receive, send)


class _Posted:
    """Only POST is let through."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        posted = scope["method"] == "POST"
        await (self._app if posted else _refusal(405, "Use POST.", {"Allow": "POST"}))(scope, receive, send)


@asynccontextmanager
async def _open_gate(settings: CodecServerSettings) -> AsyncGenerator[Gate, None]:
    if settings.auth is None:
        yield Gate(None, (), None)
        return
    async with open_verifier(settings.auth, ()) as verifier:
        yield Gate(settings.auth, (), verifier)


async def _body(request: Request, most: int) -> bytes | None:
    """The body; `None` as soon as it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)


async def _healthy(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"message": message}, status, headers=headers)
