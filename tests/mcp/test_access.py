"""Downstream servers over HTTP that want a token, and what else HTTP can answer."""

import asyncio
import base64
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mcp_agent.config import MCPServerSettings
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.mcp.connections import ConnectionManager
from mcp_agent.mcp.definitions import CallDownstreamTool, DownstreamResult
from tests.mcp.able_server import Able, serving

pytestmark = pytest.mark.anyio
WAYS = ["streamable_http", "streamable_http legacy", "sse legacy"]
CLIENT_SECRET = "planted client/secret"
REFRESH = "planted-refresh-token"


class Guarded:
    """The able server behind a door: requests need one of `valid` as a bearer token, or meet `status`."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.valid: set[str] = set()
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.seen: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        token = Request(scope).headers.get("authorization", "").removeprefix("Bearer ")
        self.seen.append(token)
        if self.status is not None:
            await Response(status_code=self.status, headers=self.headers)(scope, receive, send)
        elif token not in self.valid:
            await Response(f"token {token} is not valid", status_code=401)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class Issuer:
    """An OAuth server: gives out `token-1`, `token-2`, ... and lets the guarded server know them."""

    def __init__(self, guarded: Guarded) -> None:
        self.guarded = guarded
        self.base = ""
        self.forms: list[dict[str, str]] = []
        self.expires_in: int | None = 3600
        self.refusal: str | None = None
        self.refresh_tokens = {REFRESH}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        if scope["path"] == "/.well-known/oauth-authorization-server":
            answer: Response = JSONResponse(
                {
                    "issuer": f"{self.base}/",
                    "authorization_endpoint": f"{self.base}/authorize",
                    "token_endpoint": f"{self.base}/token",
                    "response_types_supported": ["code"],
                }
            )
        elif scope["path"] == "/token":
            answer = self.token({name: value[0] for name, value in parse_qs((await request.body()).decode()).items()}, request)
        else:
            answer = Response(status_code=404)
        await answer(scope, receive, send)

    def token(self, form: dict[str, str], request: Request) -> Response:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        self.forms.append(form | ({"basic": base64.b64decode(credentials).decode()} if scheme == "Basic" else {}))
        if self.refusal is not None:
            return JSONResponse({"error": self.refusal}, status_code=401)
        more: dict[str, Any] = {}
        if form["grant_type"] == "refresh_token":
            if form["refresh_token"] not in self.refresh_tokens:
                return JSONResponse({"error": "invalid_grant"}, status_code=400)
            self.refresh_tokens = {f"{REFRESH}-{len(self.forms)}"}
            more = {"refresh_token": f"{REFRESH}-{len(self.forms)}"}
        token = f"token-{len(self.forms)}"
        self.guarded.valid = {token}
        return JSONResponse({"access_token": token, "token_type": "Bearer", "expires_in": self.expires_in} | more)


class Setting:
    def __init__(self, url: str, transport: str, era: str, guarded: Guarded, issuer: Issuer) -> None:
        self.guarded = guarded
        self.issuer = issuer
        self._settings = {"url": url, "transport": transport, "protocol": era or "auto", "connect_timeout_seconds": 20}
        self._opened: list[ConnectionManager] = []

    def connections(self, **settings: Any) -> ConnectionManager:
        manager = ConnectionManager({"able": MCPServerSettings(**{**self._settings, **settings})})
        self._opened.append(manager)
        return manager

    async def aclose(self) -> None:
        for manager in self._opened:
            await manager.aclose()


async def shows(connections: ConnectionManager) -> DownstreamResult:
    return await connections.call_tool(CallDownstreamTool(server="able", tool="shows"))


@asynccontextmanager
async def set_up(way: str) -> AsyncGenerator[Setting, None]:
    transport, _, era = way.partition(" ")
    server = Able()
    app = server.sse_app() if transport == "sse" else server.streamable_http_app(streamable_http_path="/mcp")
    guarded = Guarded(app)
    issuer = Issuer(guarded)
    async with serving(guarded) as base, serving(issuer) as issuer.base:
        setting = Setting(base + ("/sse" if transport == "sse" else "/mcp"), transport, era, guarded, issuer)
        try:
            yield setting
        finally:
            guarded.status = None
            await setting.aclose()


@pytest.fixture(params=WAYS)
async def setting(request: pytest.FixtureRequest) -> AsyncGenerator[Setting, None]:
    async with set_up(request.param) as opened:
        yield opened


@pytest.mark.promise("issue: a bearer token from secrets reaches the downstream server")
async def test_a_given_token_is_sent_and_one_that_is_not_taken_is_an_error_that_names_the_section(setting: Setting):
    setting.guarded.valid = {"planted-bearer-token"}
    assert (await shows(setting.connections(auth={"bearer_token": "planted-bearer-token"}))).content
    with pytest.raises(WorkflowApplicationError, match=r"status 401.*`mcp\.servers\.able`") as told:
        await shows(setting.connections(auth={"bearer_token": "planted-stale-token"}))
    assert told.value.type == "DownstreamUnauthorized"
    assert told.value.non_retryable
    assert "planted" not in str(told.value)


@pytest.mark.promise("issue: OAuth client credentials for downstream servers")
@pytest.mark.parametrize("where", ["token_url", "issuer"])
async def test_a_client_gets_a_token_for_itself_and_keeps_it(setting: Setting, where: str):
    auth = {"client_id": "me", "client_secret": CLIENT_SECRET, "scopes": ["read", "write"]}
    auth[where] = setting.issuer.base + ("/token" if where == "token_url" else "/")
    connections = setting.connections(auth=auth)
    await asyncio.gather(*(shows(connections) for _ in range(3)))
    (form,) = setting.issuer.forms
    assert form["grant_type"] == "client_credentials"
    assert form["basic"] == f"me:{CLIENT_SECRET}"
    assert form["scope"] == "read write"
    assert form["resource"].startswith("http://127.0.0.1:")
    assert set(setting.guarded.seen) == {"token-1"}


@pytest.mark.promise("fault: a downstream server that needs a new token")
async def test_a_token_that_the_server_refuses_all_at_once_is_renewed_and_the_call_is_made(setting: Setting):
    auth = {"client_id": "me", "client_secret": CLIENT_SECRET, "token_url": f"{setting.issuer.base}/token"}
    connections = setting.connections(auth=auth)
    await shows(connections)
    setting.guarded.valid = set()
    assert (await shows(connections)).content
    assert len(setting.issuer.forms) == 2


async def test_a_token_is_renewed_before_its_end(setting: Setting):
    setting.issuer.expires_in = 0
    auth = {"client_id": "me", "client_secret": CLIENT_SECRET, "token_url": f"{setting.issuer.base}/token"}
    connections = setting.connections(auth=auth)
    await shows(connections)
    before = len(setting.issuer.forms)
    await shows(connections)
    assert len(setting.issuer.forms) > before


@pytest.mark.promise("issue: OAuth refresh for downstream servers")
async def test_a_refresh_token_gets_tokens_and_is_itself_renewed(setting: Setting):
    auth = {"client_id": "me", "refresh_token": REFRESH, "token_url": f"{setting.issuer.base}/token"}
    connections = setting.connections(auth=auth)
    await shows(connections)
    setting.guarded.valid = set()
    await shows(connections)
    first, second = setting.issuer.forms
    assert (first["grant_type"], first["refresh_token"], first["client_id"]) == ("refresh_token", REFRESH, "me")
    assert second["refresh_token"] == f"{REFRESH}-1"


async def test_a_refresh_token_that_is_used_up_is_replaced_by_the_client_s_own_credentials(setting: Setting):
    setting.issuer.refresh_tokens = set()
    auth = {
        "client_id": "me",
        "client_secret": CLIENT_SECRET,
        "client_authentication": "post",
        "refresh_token": REFRESH,
        "token_url": f"{setting.issuer.base}/token",
    }
    await shows(setting.connections(auth=auth))
    first, second = setting.issuer.forms
    assert (first["grant_type"], second["grant_type"]) == ("refresh_token", "client_credentials")
    assert second["client_secret"] == CLIENT_SECRET


@pytest.mark.promise("issue: secrets planted in headers and errors are absent from what is told and logged")
async def test_an_oauth_server_that_refuses_is_named_and_no_secret_is(setting: Setting, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "mcp_agent")
    setting.issuer.refusal = "invalid_client"
    auth = {"client_id": "me", "client_secret": CLIENT_SECRET, "token_url": f"{setting.issuer.base}/token"}
    with pytest.raises(WorkflowApplicationError, match=r"`invalid_client`.*`mcp\.servers\.able\.auth`") as told:
        await shows(setting.connections(auth=auth))
    assert told.value.type == "DownstreamUnauthorized"
    assert told.value.non_retryable
    assert "planted" not in str(told.value)
    assert "planted" not in caplog.text


@pytest.mark.parametrize("way", ["streamable_http", "sse legacy"])
async def test_an_oauth_server_that_is_down_is_to_be_tried_again(way: str):
    async with set_up(way) as setting:
        auth = {"client_id": "me", "client_secret": CLIENT_SECRET, "token_url": "http://127.0.0.1:9/token"}
        with pytest.raises(WorkflowApplicationError, match="cannot be reached") as told:
            await shows(setting.connections(auth=auth))
        assert told.value.type == "DownstreamUnavailable"
        assert not told.value.non_retryable


async def test_a_server_that_is_overloaded_says_when_to_come_again(setting: Setting):
    setting.guarded.valid = {"t" * 8}
    connections = setting.connections(auth={"bearer_token": "t" * 8})
    await shows(connections)
    setting.guarded.status, setting.guarded.headers = 429, {"retry-after": "7"}
    with pytest.raises(WorkflowApplicationError, match="status 429") as told:
        await shows(connections)
    assert told.value.type == "DownstreamUnavailable"
    assert not told.value.non_retryable
    assert told.value.next_retry_delay is not None
    assert told.value.next_retry_delay.total_seconds() == 7
    setting.guarded.status = None
    assert (await shows(connections)).content


@pytest.mark.parametrize("status", [404, 503])
async def test_a_server_that_does_not_answer_as_one_is_told_with_its_status(setting: Setting, status: int):
    setting.guarded.status = status
    with pytest.raises(WorkflowApplicationError, match=f"status {status}") as told:
        await shows(setting.connections())
    assert told.value.non_retryable == (status == 404)


async def test_a_session_that_the_server_has_forgotten_is_opened_again():
    async with set_up("streamable_http legacy") as setting:
        setting.guarded.valid = {"t" * 8}
        connections = setting.connections(auth={"bearer_token": "t" * 8})
        await shows(connections)
        server = Able()
        app = server.streamable_http_app(streamable_http_path="/mcp")
        async with app.router.lifespan_context(app):
            setting.guarded.app = app
            with pytest.raises(WorkflowApplicationError, match="forgotten") as told:
                await shows(connections)
            assert not told.value.non_retryable
            assert (await shows(connections)).content
            await connections.aclose()
