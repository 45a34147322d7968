"""By which names the server is called, and what it refuses before anybody is asked who calls."""

from collections.abc import AsyncGenerator
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from mcp_agent.cli.commands import run
from mcp_agent.config import Settings
from mcp_agent.errors import ConfigError
from mcp_agent.server.hosts import check_binding
from tests.server.guarded import INITIALIZE, Guarded, bearer, guarded

pytestmark = pytest.mark.anyio

TOKEN = "a-static-token-of-bob"
AUTH = {"tokens": [{"subject": "bob", "token": TOKEN}]}
PUBLIC = "https://agents.example.com"


async def answered(server: Guarded, headers: dict[str, str]) -> dict[str, int]:
    """The status of each endpoint for a request with these headers."""
    headers = {"Accept": "application/json, text/event-stream", **headers}
    async with httpx2.AsyncClient(timeout=30) as http:
        found: dict[str, int] = {}
        found["mcp"] = (await http.post(f"{server.base}/mcp", json=INITIALIZE, headers=headers)).status_code
        modern = {**headers, "MCP-Protocol-Version": "2026-07-28"}
        found["modern"] = (await http.post(f"{server.base}/mcp", json=INITIALIZE, headers=modern)).status_code
        async with http.stream("GET", f"{server.base}/sse", headers=headers) as stream:
            found["sse"] = stream.status_code
        messages = f"{server.base}/messages/?session_id={'0' * 32}"
        found["messages"] = (await http.post(messages, json=INITIALIZE, headers=headers)).status_code
        return found


@pytest.fixture
async def server() -> AsyncGenerator[Guarded, None]:
    """As behind a load balancer: bound to all addresses, as far as the names are concerned."""
    async with guarded(
        "0.0.0.0", PUBLIC, auth=AUTH, allowed_hosts=["Inside:9000"], allowed_origins=["https://App.example"]
    ) as made:
        yield made


KNOWN: list[dict[str, str]] = [
    {},
    {"Host": "agents.example.com"},
    {"Host": "inside:9000"},
    {"Host": "localhost"},
    {"Host": "Agents.EXAMPLE.com"},
    {"Origin": PUBLIC},
    {"Origin": "https://app.example"},
    {"Origin": "http://localhost:6274"},
]
FOREIGN: list[tuple[dict[str, str], int]] = [
    ({"Host": "evil.example"}, 421),
    ({"Host": "0.0.0.0"}, 421),
    ({"Host": "inside:9001"}, 421),
    ({"Host": "agents.example.com.evil.example"}, 421),
    ({"Host": "localhost.evil.example"}, 421),
    ({"Origin": "https://evil.example"}, 403),
    ({"Origin": "http://agents.example.com"}, 403),
    ({"Origin": "https://app.example:444"}, 403),
    ({"Origin": "null"}, 403),
]


@pytest.mark.promise("issue: Host and Origin checks on, whatever the bind address")
async def test_only_known_names_and_pages_reach_any_transport(server: Guarded):
    for headers in KNOWN:
        assert await answered(server, {**bearer(TOKEN), **headers}) == {"mcp": 200, "modern": 400, "sse": 200, "messages": 404}
    for headers, status in FOREIGN:
        assert set((await answered(server, {**bearer(TOKEN), **headers})).values()) == {status}, headers


@pytest.mark.parametrize(
    ("header", "value", "key"), [("Host", "lb.example", "allowed_hosts"), ("Origin", "null", "allowed_origins")]
)
async def test_a_refusal_names_what_is_not_known_and_where_it_belongs(server: Guarded, header: str, value: str, key: str):
    async with httpx2.AsyncClient() as client:
        refused = await client.post(f"{server.base}/mcp", headers={**bearer(TOKEN), header: value})
    assert refused.text.startswith(f"{header} `{value}` is not known here")
    assert f"`server.{key}`" in refused.text


@pytest.mark.promise("fault: a 10 MB body")
@pytest.mark.parametrize("path", ["/mcp", "/messages/?session_id=" + "0" * 32])
@pytest.mark.parametrize("told", [True, False], ids=["told", "chunked"])
async def test_a_body_that_is_too_large_is_refused_however_it_comes(path: str, told: bool):
    body = b'{"padding": "' + b"x" * 2000 + b'"}'

    async def pieces() -> AsyncGenerator[bytes, None]:
        for at in range(0, len(body), 500):
            yield body[at : at + 500]

    async with guarded(auth=AUTH, limits={"max_request_bytes": 1000}) as server, httpx2.AsyncClient() as http:
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        for known, status in ((bearer(TOKEN), 413), ({}, 401)):
            content: Any = body if told else pieces()
            response = await http.post(server.base + path, content=content, headers={**headers, **known})
            assert response.status_code == status


async def test_no_more_sessions_are_open_than_allowed():
    async with guarded(limits={"max_sessions": 1}) as server, httpx2.AsyncClient(timeout=30) as http:
        assert [(await server.begin()).status_code for _ in range(2)] == [200, 503]
        async with http.stream("GET", f"{server.base}/sse") as first:
            assert first.status_code == 200
            assert (await http.get(f"{server.base}/sse")).status_code == 503


def binding(**server: Any) -> Any:
    return Settings.model_validate({"server": server}).server


@pytest.mark.promise("issue: a public bind without auth is refused unless said twice")
def test_a_public_address_needs_somebody_who_may_call_and_a_name():
    for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"):
        check_binding(binding(), host)
    for host in ("0.0.0.0", "::", "192.0.2.7", "agents.example.com"):
        with pytest.raises(ConfigError, match=r"`server.auth`, or `server.public_without_auth: true`"):
            check_binding(binding(public_url=PUBLIC), host)
    for host in ("0.0.0.0", "::"):
        for said in ({"auth": AUTH}, {"public_without_auth": True}):
            with pytest.raises(ConfigError, match=r"`server.public_url`, .* `server.allowed_hosts`"):
                check_binding(binding(**said), host)
            check_binding(binding(**said, allowed_hosts=["agents"]), host)
            check_binding(binding(**said, public_url=PUBLIC), host)
    check_binding(binding(auth=AUTH), "192.0.2.7")


def test_the_command_refuses_a_public_address(tmp_path: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    config = tmp_path / "mcp_agent.config.yaml"
    config.write_text("server: {app: 'tests.server.desk:marks'}")
    monkeypatch.setattr("mcp_agent.cli.commands.configure", lambda *_: None)  # the tests' own logging stays
    with pytest.raises(SystemExit):
        run(["serve", "--host", "0.0.0.0", "--port", "0", "--config", str(config)], None)
    assert "`server.public_without_auth: true`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({"allowed_hosts": ["*"]}, "`*` is no host"),
        ({"allowed_hosts": ["https://agents.example.com"]}, "is no host"),
        ({"allowed_origins": ["app.example"]}, "give scheme and host"),
        ({"public_url": "https://agents.example.com/?a=b"}, "scheme, host, port and path only"),
        ({"public_without_auth": True, "auth": AUTH}, "leave one of them out"),
        ({"state_keys": ["planted-short-key"]}, "openssl rand"),
    ],
)
def test_settings_that_would_switch_a_check_off_are_errors(server: dict[str, Any], said: str):
    with pytest.raises(ValidationError) as raised:
        binding(**server)
    assert said in str(raised.value)
