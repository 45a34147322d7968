"""A caller's token goes to the downstream servers that are configured to get it, and nowhere else, on both engines."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from mcp_agent.config import Settings
from mcp_agent.executor.caller_tokens import MOST_OWNERS, SWEEP_EVERY, WITHOUT_END, CallerTokens, owner_of
from mcp_agent.mcp import connections
from tests.behaviour import downstream_desk as desk
from tests.mcp.able_server import Able, serving
from tests.server.guarded import Guarded, guarded
from tests.support import call, until

pytestmark = pytest.mark.anyio

CALLERS = ["ann", "ben"]
CALLER = {"tokens": [{"subject": "ann", "token": "planted-token-of-ann"}]}
EVERYTHING = ["workflows:read", "workflows:run", "workflows:cancel"]


def token(subject: str) -> str:
    return f"planted-token-of-{subject}"


class Post:
    """A downstream server that notes with which token each request comes; `refuses` answers with what it was sent."""

    def __init__(self) -> None:
        self.able = Able()
        self.app = self.able.streamable_http_app(streamable_http_path="/mcp")
        self.came: list[str] = []
        self.refuses = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            sent = Request(scope).headers.get("authorization", "")
            self.came.append(sent.removeprefix("Bearer "))
            if self.refuses:
                await Response(f"`{sent}` is not welcome", status_code=401)(scope, receive, send)
                return
        await self.app(scope, receive, send)


@pytest.fixture
async def post() -> AsyncGenerator[tuple[Post, str], None]:
    made = Post()
    async with serving(made) as base:
        yield made, f"{base}/mcp"


@pytest.fixture(params=["asyncio", "temporal"])
async def server(request: pytest.FixtureRequest, post: tuple[Post, str], temporal: Path) -> AsyncGenerator[Guarded, None]:
    servers = {"mail": {"url": post[1], "auth": {"caller_token": True}}, "open": {"url": post[1]}}
    settings: dict[str, Any] = {"execution_engine": request.param, "mcp": {"servers": servers}}
    if request.param == "temporal":
        settings["temporal"] = {"data_dir": temporal}
    tokens = [{"subject": each, "token": token(each), "scopes": EVERYTHING} for each in CALLERS]
    async with guarded(app=desk.app, settings=settings, auth={"tokens": tokens}) as listening:
        yield listening


async def run_of(server: Guarded, subject: str, parameters: dict[str, Any], workflow: str = "Calls") -> dict[str, Any]:
    async with server.client("http-auto", token(subject)) as client:
        run = await call(client, f"workflows-{workflow}-run", run_parameters=parameters, wait_seconds=0)
        while run["status"] in ("queued", "running"):
            run = await call(client, f"workflows-{workflow}-get_status", run_id=run["run_id"], wait_seconds=5)
        return run


@pytest.mark.promise("issue: a caller's token can be passed downstream only where configured, never stored")
async def test_each_caller_s_token_goes_with_its_own_runs_and_is_kept_nowhere(
    server: Guarded, post: tuple[Post, str], temporal: Path, caplog: pytest.LogCaptureFixture
):
    asked = {"server": "mail", "name": "shows", "arguments": {}}
    runs = await asyncio.gather(*(run_of(server, subject, asked) for subject in CALLERS))
    assert all(run["status"] == "completed" and not run["result"].startswith("error") for run in runs)
    assert set(post[0].came) == {token(subject) for subject in CALLERS}
    both = len(post[0].came)

    await run_of(server, "ann", asked)
    assert set(post[0].came[both:]) == {token("ann")}
    before = len(post[0].came)
    await run_of(server, "ben", {**asked, "server": "open"})
    assert set(post[0].came[before:]) == {""}

    post[0].refuses = True
    refused = await run_of(server, "ben", {"server": "mail", "name": "shows"}, "Inside")
    assert refused["status"] == "failed"
    assert "planted" not in str([*runs, refused]) + caplog.text
    stored = [path for path in temporal.rglob("*") if path.is_file()]
    assert stored
    assert not [path for path in stored if b"planted-token" in path.read_bytes()]


async def test_a_step_without_its_owner_s_token_says_so_and_goes_on_when_the_owner_calls(
    server: Guarded, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connections, "NEXT_LOOK", timedelta(seconds=0.5))
    started = await run_of(server, "ann", {"server": "open", "name": "shows", "arguments": {}})
    tag = owner_of(started["run_id"], "Calls")
    monkeypatch.setattr(desk.app.caller_tokens, "_kept", type(desk.app.caller_tokens._kept)())  # as after a restart
    async with desk.app.open_executor(worker=True) as executor:
        run_id = f"{tag}.Calls.later-{id(server)}"
        await executor.start_run(desk.app.workflows["Calls"], ["mail", "shows", {}, True], run_id=run_id, input_digest="x")

        async def missing() -> bool:
            steps = (await executor.describe_run(run_id)).steps
            return any("token of the run's owner" in (step.last_error or "") for step in steps)

        assert await until(missing)
        async with server.client("http-auto", token("ann")) as client:
            run = await call(client, "workflows-Calls-get_status", run_id=run_id, wait_seconds=5)
            while run["status"] == "running":
                run = await call(client, "workflows-Calls-get_status", run_id=run_id, wait_seconds=5)
    assert run["status"] == "completed"


def test_tokens_end_and_do_not_pile_up():
    now = [0.0]
    tokens = CallerTokens(lambda: now[0])
    tokens.keep("ann", "first", 100)
    tokens.keep("ann", "second", 50)
    tokens.keep("ben", "planted", None)
    assert (tokens.of("ann"), tokens.of("ben"), tokens.of("")) == ("second", "planted", None)
    assert "planted" not in repr(vars(tokens))
    now[0] = max(50, SWEEP_EVERY)
    assert tokens.of("ann") is None
    for n in range(MOST_OWNERS):
        tokens.keep(f"owner {n}", "x", now[0] + WITHOUT_END)
    assert "ann" not in tokens._kept
    assert len(tokens._kept) == MOST_OWNERS


@pytest.mark.parametrize(
    ("auth", "server", "said"),
    [
        ({"caller_token": True}, {}, "needs `server.auth`"),
        ({"caller_token": True, "bearer_token": "x"}, {}, "leave one of them out"),
        ({"caller_token": True}, {"auth": CALLER, "worker": False}, "`server.worker: true`"),
    ],
)
def test_passing_tokens_on_needs_what_it_needs(auth: dict[str, Any], server: dict[str, Any], said: str):
    with pytest.raises(ValidationError, match=said):
        Settings.model_validate({"mcp": {"servers": {"mail": {"url": "https://m.example", "auth": auth}}}, "server": server})
