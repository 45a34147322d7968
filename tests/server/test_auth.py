"""Who may call over HTTP and SSE: tokens of a real issuer, shown by real clients in both protocol eras."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.utils import base64url_encode
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import ValidationError

from mcp_agent.config import Settings, StaticTokenSettings
from mcp_agent.errors import InsufficientScope, IssuerUnavailable
from mcp_agent.server.auth.jwt import JWTVerifier
from mcp_agent.server.auth.keys import FETCH_EVERY, FETCHES_AT_ONCE, FRESH_SECONDS, IssuerKeys
from mcp_agent.server.auth.scopes import missing, require
from mcp_agent.server.auth.static import StaticTokens
from mcp_agent.server.auth.verifier import Verifier, open_verifier
from tests.server.guarded import INITIALIZE, WAYS, Guarded, bearer, guarded
from tests.server.issuer import INTROSPECTOR, Issuer, issuing, public_pem, signed_with_public_key, unsigned
from tests.support import call, call_text, refusal

pytestmark = pytest.mark.anyio

STATIC = "a-static-token-of-bob"
BOB = {"subject": "bob", "token": STATIC, "scopes": ["workflows:read", "workflows:run"]}


@pytest.fixture
async def issuer() -> AsyncGenerator[Issuer, None]:
    async with issuing() as listening:
        yield listening


@pytest.fixture
async def server(issuer: Issuer) -> AsyncGenerator[Guarded, None]:
    async with guarded(auth={"issuer": issuer.base, "algorithms": ["RS256", "ES256", "EdDSA"], "tokens": [BOB]}) as listening:
        yield listening


def with_introspection(issuer: Issuer, **more: Any) -> AbstractAsyncContextManager[Guarded]:
    client_id, secret = INTROSPECTOR
    asked = {"url": f"{issuer.base}/introspect", "client_id": client_id, "client_secret": secret, **more}
    return guarded(auth={"issuer": issuer.base, "introspection": asked})


@pytest.mark.promise("issue: OAuth resource server for HTTP and SSE, JWT by JWKS")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kid", ["rsa", "ec", "ed"])
async def test_a_caller_with_a_token_of_the_issuer_runs_workflows(issuer: Issuer, server: Guarded, way: str, kid: str):
    token = issuer.sign(issuer.claims(aud=f"{server.base}/mcp"), kid)
    async with server.client(way, token) as client:
        run = await call(client, "workflows-Greet-run", run_parameters={"name": "you"})
    assert run["result"] == "hello you"


BAD: dict[str, Callable[[Issuer, dict[str, Any]], str | None]] = {
    "none at all": lambda issuer, good: None,
    "no token": lambda issuer, good: "planted-opaque-token",
    "another's key": lambda issuer, good: issuer.sign(good, key=rsa.generate_private_key(65537, 2048)),
    "another issuer": lambda issuer, good: issuer.sign({**good, "iss": "https://other.example"}),
    "another audience": lambda issuer, good: issuer.sign({**good, "aud": "https://other.example/mcp"}),
    "no audience": lambda issuer, good: issuer.sign({k: v for k, v in good.items() if k != "aud"}),
    "expired": lambda issuer, good: issuer.sign({**good, "exp": int(time.time()) - 60}),
    "without an end": lambda issuer, good: issuer.sign({k: v for k, v in good.items() if k != "exp"}),
    "not yet valid": lambda issuer, good: issuer.sign({**good, "nbf": int(time.time()) + 60}),
    "made in the future": lambda issuer, good: issuer.sign({**good, "iat": int(time.time()) + 60}),
    "alg none": lambda issuer, good: unsigned(good),
    "alg HS256 with the public key": lambda issuer, good: signed_with_public_key(good, public_pem(issuer.keys["rsa"]), "rsa"),
    "an algorithm that is not accepted": lambda issuer, good: issuer.sign(good, alg="PS256"),
    "an EC signature under an RSA key's id": lambda issuer, good: issuer.sign(good, "rsa", key=issuer.keys["ec"]),
    "an unknown key": lambda issuer, good: issuer.sign(good, "unknown", key=issuer.keys["rsa"]),
    "made for a logout": lambda issuer, good: issuer.sign(good, typ="logout+jwt"),
    "with rules that are not known": lambda issuer, good: issuer.sign(good, crit=["exp"]),
    "naming nobody": lambda issuer, good: issuer.sign({k: v for k, v in good.items() if k not in ("sub", "client_id")}),
    "too long": lambda issuer, good: issuer.sign({**good, "padding": "x" * 20_000}),
}


@pytest.mark.promise("issue: foreign and forged tokens are refused on every transport")
@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_token_is_refused_everywhere_and_never_logged(
    issuer: Issuer, server: Guarded, kind: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, "mcp_agent")
    token = BAD[kind](issuer, issuer.claims(aud=f"{server.base}/mcp"))
    headers = {} if token is None else bearer(token)
    async with httpx2.AsyncClient() as http:
        refused = {
            "mcp": [await http.request(method, f"{server.base}/mcp", headers=headers) for method in ("POST", "GET", "DELETE")],
            "sse": [
                await http.get(f"{server.base}/sse", headers=headers),
                await http.post(f"{server.base}/messages/?session_id={'0' * 32}", headers=headers, json=INITIALIZE),
            ],
        }
    for name, responses in refused.items():
        for response in responses:
            assert response.status_code == 401
            where = f'resource_metadata="{server.base}/.well-known/oauth-protected-resource/{name}"'
            assert where in response.headers["www-authenticate"]
            assert 'scope="workflows:read workflows:run workflows:cancel"' in response.headers["www-authenticate"]
            assert token is None or token not in response.text
    assert token is None or not any(part in caplog.text for part in token.split(".") if len(part) > 8)


async def test_a_key_that_the_issuer_is_new_to_is_fetched_and_one_it_took_back_is_forgotten(issuer: Issuer):
    now = [0.0]

    async def fetch() -> dict[str, Any]:
        issuer.asked.append("jwks")
        return issuer.jwks()

    keys = IssuerKeys(fetch, lambda: now[0])
    verifier = JWTVerifier(issuer.base, ["desk"], keys, ["ES256"], 0)
    old = issuer.sign(issuer.claims(aud="desk"), "ec")
    assert await verifier.verify_token(old)

    issuer.keys = {"next": ec.generate_private_key(ec.SECP256R1())}
    assert await verifier.verify_token(issuer.sign(issuer.claims(aud="desk"), "next"))
    assert await verifier.verify_token(old) is None

    now[0] = FRESH_SECONDS + 1
    newest, issuer.keys = issuer.keys["next"], {"newest": ec.generate_private_key(ec.SECP256R1())}
    taken_back = issuer.sign(issuer.claims(aud="desk"), "next", key=newest)
    assert await verifier.verify_token(taken_back)  # the keys are asked for beside this call
    assert keys._fetching is not None
    await keys._fetching
    assert await verifier.verify_token(taken_back) is None
    await keys.aclose()


async def test_tokens_with_made_up_keys_do_not_flood_the_issuer(issuer: Issuer):
    now = [0.0]
    fetched: list[float] = []
    let_go = asyncio.Event()

    async def fetch() -> dict[str, Any]:
        fetched.append(now[0])
        await let_go.wait()
        return issuer.jwks()

    keys = IssuerKeys(fetch, lambda: now[0])
    at_once = [asyncio.create_task(keys.find(f"made up {n}", "RS256")) for n in range(50)]
    good = asyncio.create_task(keys.find("rsa", "RS256"))
    await asyncio.sleep(0)
    at_once[0].cancel()  # one that gives up takes the question from nobody else
    let_go.set()
    assert await good is not None
    assert await asyncio.gather(*at_once[1:]) == [None] * 49
    assert len(fetched) == 1
    for n in range(50):
        assert await keys.find(f"made up {n}", "RS256") is None
    assert len(fetched) == FETCHES_AT_ONCE
    now[0] += FETCH_EVERY
    assert await keys.find("made up", "RS256") is None
    assert len(fetched) == FETCHES_AT_ONCE + 1


async def test_while_the_issuer_is_down_known_keys_count_and_others_are_told_to_come_again(
    issuer: Issuer, server: Guarded, caplog: pytest.LogCaptureFixture
):
    good = issuer.claims(aud=f"{server.base}/mcp")
    assert (await server.begin(issuer.sign(good))).status_code == 200
    issuer.status = 500
    assert (await server.begin(issuer.sign(good, "ec"))).status_code == 200
    unknown = issuer.sign(good, "next", key=issuer.keys["ec"])
    response = await server.begin(unknown)
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert "answers with status 500" in caplog.text
    assert unknown not in caplog.text

    issuer.status = None
    issuer.keys["next"] = issuer.keys["ec"]
    assert (await server.begin(unknown)).status_code == 200


@pytest.mark.parametrize("fault", ["gone", "another's metadata", "no keys", "too large"])
async def test_an_issuer_that_makes_no_sense_is_named(issuer: Issuer, fault: str, caplog: pytest.LogCaptureFixture):
    issuer.metadata_path = "/.well-known/openid-configuration"
    issuer.named = "https://other.example" if fault == "another's metadata" else issuer.base
    issuer.large = fault == "too large"
    issuer.status = 404 if fault == "gone" else None
    jwks_url = {"jwks_url": f"{issuer.base}/.well-known/openid-configuration"} if fault == "no keys" else {}
    configured = Settings.model_validate(
        {"server": {"public_url": "https://desk.example", "auth": {"issuer": issuer.base, **jwks_url}}}
    ).server
    assert configured.auth is not None
    async with open_verifier(configured.auth, configured.resources) as verifier:
        with pytest.raises(IssuerUnavailable):
            await verifier.verify_token(issuer.sign(issuer.claims(aud="https://desk.example/mcp")))
    said = {"gone": "404", "another's metadata": "is not about", "no keys": "no list of `keys`", "too large": "more than"}
    assert said[fault] in caplog.text


@given(st.text(max_size=200) | st.lists(st.binary(max_size=40).map(base64url_encode).map(bytes.decode)).map(".".join))
@settings(max_examples=200, deadline=None)
def test_what_is_no_token_is_refused_and_nothing_breaks(text: str):
    async def fetch() -> dict[str, Any]:
        return {"keys": []}

    signed = JWTVerifier("https://issuer.example", ["desk"], IssuerKeys(fetch), ["RS256"], 0)
    static = StaticTokens([StaticTokenSettings.model_validate(BOB)], None)
    assert asyncio.run(Verifier(static, signed).verify_token(text)) is None


OPAQUE: dict[str, tuple[dict[str, Any], int]] = {
    "active": ({}, 200),
    "for several": ({"aud": ["https://other.example", "{mcp}"]}, 200),
    "inactive": ({"active": False}, 401),
    "active, it says in words": ({"active": "true"}, 401),
    "another's": ({"aud": "https://other.example"}, 401),
    "for nobody": ({"aud": None}, 401),
    "expired": ({"exp": 1}, 401),
    "not yet valid": ({"nbf": 1 << 40}, 401),
    "of another issuer": ({"iss": "https://other.example"}, 401),
}


@pytest.mark.promise("issue: introspection")
@pytest.mark.parametrize("kind", OPAQUE)
async def test_the_issuer_is_asked_about_a_token_that_says_nothing(issuer: Issuer, kind: str):
    said, status = OPAQUE[kind]
    async with with_introspection(issuer) as server:
        mcp = f"{server.base}/mcp"
        said = {"active": True, "sub": "alice", "scope": "workflows:run", "aud": mcp, **said}
        if isinstance(said["aud"], list):
            said["aud"] = [mcp if one == "{mcp}" else one for one in said["aud"]]
        issuer.opaque["opaque-token"] = {name: value for name, value in said.items() if value is not None}
        assert (await server.begin("opaque-token")).status_code == status


async def test_an_answer_of_the_issuer_counts_for_a_while_and_its_silence_does_not(issuer: Issuer):
    async with with_introspection(issuer) as server:
        known = {"active": True, "sub": "alice", "aud": f"{server.base}/mcp"}
        issuer.opaque |= {"first-token": known, "second-token": known}
        assert (await server.begin("first-token")).status_code == 200
        issuer.status = 500
        assert (await server.begin("first-token")).status_code == 200
        assert (await server.begin("second-token")).status_code == 503
        issuer.status = None
        assert (await server.begin("second-token")).status_code == 200
        assert issuer.asked.count("/introspect") == 3


async def test_with_all_tokens_a_jwt_can_be_revoked(issuer: Issuer):
    async with with_introspection(issuer, all_tokens=True, cache_seconds=0) as server:
        claims = issuer.claims(aud=f"{server.base}/mcp")
        token = issuer.sign(claims)
        issuer.opaque[token] = {"active": True, **claims}
        assert (await server.begin(token)).status_code == 200
        issuer.opaque[token] = {"active": False}
        assert (await server.begin(token)).status_code == 401


@pytest.mark.promise("issue: static tokens for small set-ups")
@pytest.mark.parametrize("way", WAYS)
async def test_a_static_token_needs_no_issuer(way: str):
    async with guarded(public_url=None, auth={"tokens": [BOB]}) as server:
        async with server.client(way, STATIC) as client:
            assert (await client.list_tools()).tools
        for wrong in (None, STATIC + "x", STATIC[:-1], "x"):
            refused = await server.begin(wrong)
            assert refused.status_code == 401
            assert "resource_metadata" not in refused.headers["www-authenticate"]
            assert "scope=" not in refused.headers["www-authenticate"]


async def test_a_token_without_the_required_scopes_is_told_which(issuer: Issuer):
    async with guarded(auth={"issuer": issuer.base, "required_scopes": ["desk"]}) as server:
        claims = issuer.claims(aud=f"{server.base}/mcp")
        refused = await server.begin(issuer.sign(claims))
        assert refused.status_code == 403
        assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
        assert 'scope="desk"' in refused.headers["www-authenticate"]
        assert (await server.begin(issuer.sign({**claims, "scope": None, "scp": ["desk"]}))).status_code == 200


@pytest.mark.promise("issue: RFC 9728 metadata")
async def test_clients_read_where_tokens_come_from(issuer: Issuer):
    async with guarded(public_url="https://agents.example.com/desk/", auth={"issuer": issuer.base}) as server:
        refused = await server.begin()
        (url,) = [part.split('"')[1] for part in refused.headers["www-authenticate"].split(", ") if "resource_metadata" in part]
        assert url == "https://agents.example.com/.well-known/oauth-protected-resource/desk/mcp"
        async with httpx2.AsyncClient() as http:
            read = await http.get(url.replace("https://agents.example.com", server.base))
    assert read.json() == {
        "resource": "https://agents.example.com/desk/mcp",
        "authorization_servers": [issuer.base],
        "scopes_supported": ["workflows:read", "workflows:run", "workflows:cancel"],
        "bearer_methods_supported": ["header"],
    }


class Forgetful:
    """Keeps nothing between two connections."""

    async def get_tokens(self) -> OAuthToken | None:
        return None

    async def set_tokens(self, tokens: OAuthToken) -> None: ...

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None: ...


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_finds_the_issuer_and_gets_its_token_by_itself(issuer: Issuer, server: Guarded, way: str):
    url = f"{server.base}/{'sse' if way == 'sse-legacy' else 'mcp'}"
    auth = ClientCredentialsOAuthProvider(url, Forgetful(), "desk-client", "planted client/secret", issuer=issuer.base)
    async with server.client(way, auth=auth) as client:
        run = await call(client, "workflows-Greet-run", run_parameters={"name": "you"})
    assert run["status"] == "completed"


async def test_a_session_belongs_to_who_opened_it(issuer: Issuer, server: Guarded):
    def token(subject: str) -> str:
        return issuer.sign(issuer.claims(sub=subject, aud=f"{server.base}/mcp"))

    opened = await server.begin(token("alice"))
    session = {"Mcp-Session-Id": opened.headers["mcp-session-id"], "Accept": "application/json, text/event-stream"}
    ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    async with httpx2.AsyncClient(timeout=30) as http:
        for subject, status in (("mallory", 404), ("alice", 200)):
            response = await http.post(f"{server.base}/mcp", json=ping, headers={**session, **bearer(token(subject))})
            assert response.status_code == status
        async with http.stream("GET", f"{server.base}/sse", headers=bearer(token("alice"))) as stream:
            lines = stream.aiter_lines()
            path = [line async for line in _until_data(lines)][-1].removeprefix("data: ")
            for subject, status in (("mallory", 404), ("alice", 202)):
                response = await http.post(server.base + path, json=INITIALIZE, headers=bearer(token(subject)))
                assert response.status_code == status


async def _until_data(lines: Any) -> AsyncGenerator[str, None]:
    async for line in lines:
        yield line
        if line.startswith("data:"):
            return


def test_a_scope_allows_one_thing_with_one_workflow_or_with_all():
    assert missing({"workflows:run"}, "run", "Greet") is None
    assert missing({"workflows:run:Greet"}, "run", "Greet") is None
    assert missing({"workflows:run:Greet"}, "run", "Greet2") == "workflows:run:Greet2"
    assert missing({"workflows:run:Greet"}, "run", None) == "workflows:run"
    assert missing({"workflows:run"}, "read", "Greet") == "workflows:read:Greet"
    assert missing(set(), "cancel", None) == "workflows:cancel"
    assert missing(None, "cancel", "Greet") is None
    with pytest.raises(InsufficientScope, match="`workflows:read:Greet`"):
        require(["workflows:run"], "read", "Greet")


@pytest.mark.promise("issue: scopes workflows:read / run / cancel and per workflow")
@pytest.mark.parametrize("way", WAYS)
async def test_a_caller_does_what_its_scopes_allow(way: str):
    def caller(subject: str, *scopes: str) -> dict[str, Any]:
        return {"subject": subject, "token": f"the-token-of-{subject}", "scopes": scopes}

    callers = [
        caller("reader", "workflows:read"),
        caller("runner", "workflows:run:Forever", "workflows:read:Forever"),
        caller("nobody", "other"),
    ]
    async with guarded(auth={"tokens": callers}) as server:

        async def lacking(subject: str, tool: str, **arguments: Any) -> str | None:
            """The scope that a call wants, and does not get."""
            async with server.client(way, f"the-token-of-{subject}") as client:
                result = await client.call_tool(tool, arguments)
                data = result.structured_content or {}
                if not result.is_error or data["code"] != "insufficient_scope":
                    return None
                return data["message"].split("`")[1]

        started = {"tool": "workflows-Forever-run", "wait_seconds": 0}
        assert await lacking("runner", **started) is None
        assert await lacking("reader", **started) == "workflows:run:Forever"
        assert await lacking("runner", "workflows-Greet-run", run_parameters={"name": "x"}) == "workflows:run:Greet"
        async with server.client(way, "the-token-of-runner") as client:
            (run,) = (await call(client, "workflows-runs-list"))["runs"]
        assert await lacking("runner", "workflows-Forever-cancel", run_id=run["run_id"]) == "workflows:cancel:Forever"
        assert await lacking("runner", "workflows-runs-list", workflow="Greet") == "workflows:read:Greet"
        assert await lacking("reader", "workflows-runs-list") is None
        assert await lacking("nobody", "workflows-runs-list") == "workflows:read"
        assert await lacking("nobody", "add", a=1) == "workflows:run:add"
        async with server.client(way, "the-token-of-nobody") as client:
            assert (await client.list_tools()).tools


async def test_with_scopes_off_an_issuer_that_knows_none_is_enough(issuer: Issuer):
    async with guarded(auth={"issuer": issuer.base, "scopes": "off"}) as server:
        token = issuer.sign(issuer.claims(aud=f"{server.base}/mcp", scope="openid"))
        async with server.client("http-auto", token) as client:
            assert (await call(client, "workflows-Greet-run", run_parameters={"name": "you"}))["result"] == "hello you"


@pytest.mark.promise("issue: rate limits per caller, rate_limited with retry time")
async def test_a_caller_who_calls_too_often_is_told_when_to_come_again():
    eve = {"subject": "eve", "token": "the-token-of-eve-herself", "scopes": ["workflows:run"]}
    async with guarded(auth={"tokens": [BOB, eve]}, limits={"calls_per_minute": 2}) as server:
        async with server.client("http-auto", STATIC) as client:
            for _ in range(2):
                await call_text(client, "add", a=1)
            refused = await refusal(client, "add", a=1)
        assert refused["code"] == "rate_limited"
        assert 0 < refused["retry_after_seconds"] <= 30
        async with server.client("http-auto", eve["token"]) as client:
            await call_text(client, "add", a=1)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nobody": ({}, "give an `issuer`, or `tokens`"),
    "an issuer without an address": ({"issuer": "https://i.example"}, "needs `public_url`"),
    "a shared secret": ({"issuer": "https://i.example", "algorithms": ["HS256"]}, "algorithms"),
    "none": ({"issuer": "https://i.example", "algorithms": ["none"]}, "algorithms"),
    "an audience without an issuer": ({"tokens": [BOB], "audience": "desk"}, "`audience` is about the tokens of an `issuer`"),
    "a short token": ({"tokens": [{**BOB, "token": "short"}]}, "less than 16 characters"),
    "one token twice": ({"tokens": [BOB, {**BOB, "subject": "carol"}]}, "is there twice"),
    "a scope that is none": ({"tokens": [{**BOB, "scopes": ["workflows:raed"]}]}, "allows nothing"),
    "scopes that do not count": ({"tokens": [BOB], "scopes": "off"}, "ignores the scopes of `bob`"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_settings_that_contradict_themselves_say_what_to_do(kind: str):
    auth, said = WRONG[kind]
    with pytest.raises(ValidationError, match=said) as raised:
        Settings.model_validate({"server": {"auth": auth}})
    assert STATIC not in str(raised.value.errors(include_input=False))
