"""Temporal's remote codec protocol, as its web page and its command line speak it."""

import asyncio
import base64
import json
import re
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.fernet import Fernet

from mcp_agent.cli.storing import serve_codec
from mcp_agent.config import Settings, TemporalSettings
from mcp_agent.errors import ConfigError, RunFailedError
from mcp_agent.executor.temporal.binary import find_or_make_binary
from mcp_agent.executor.temporal.dev_server import status
from mcp_agent.executor.temporal.executor import TemporalExecutor
from mcp_agent.executor.temporal.storing import configured_converter
from mcp_agent.server.codec_server import codec_app
from tests.executor.temporal.encrypted_app import CANARY, Fails, app
from tests.server.issuer import issuing, listening
from tests.support import until

pytestmark = pytest.mark.anyio
KEY, OTHER = Fernet.generate_key().decode(), Fernet.generate_key().decode()
UI = "https://temporal.example"
TOKEN = "the-token-of-the-page"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


PLAIN = {"payloads": [{"metadata": {"encoding": b64("json/plain")}, "data": b64(f'"{CANARY}"')}]}


@dataclass
class Served:
    base: str


def served(key: str = KEY, **section: Any) -> AbstractAsyncContextManager[Served]:
    settings = TemporalSettings(data_converter={"encryption_key": key}, codec_server={"allowed_origins": [UI], **section})

    @asynccontextmanager
    async def made(base: str) -> AsyncGenerator[Any, None]:
        converter = configured_converter(settings)
        async with codec_app(converter, "default", settings.codec_server, "127.0.0.1") as asgi:
            asgi.base = base  # type: ignore[attr-defined]
            asgi.app = asgi  # type: ignore[attr-defined]
            yield asgi

    return listening(made)


def page(**headers: str) -> dict[str, str]:
    """What Temporal's web page sends."""
    return {"Origin": UI, "X-Namespace": "default", "Content-Type": "application/json", **headers}


async def post(server: Served, path: str, content: Any = PLAIN, **headers: str) -> httpx2.Response:
    body = content if isinstance(content, bytes) else json.dumps(content)
    async with httpx2.AsyncClient(timeout=30) as http:
        return await http.post(f"{server.base}{path}", content=body, headers=page(**headers))


@pytest.mark.promise("issue: a codec server, so that Temporal's UI and CLI show decrypted payloads")
async def test_what_is_encoded_is_decoded_to_the_same():
    async with served() as server:
        encoded = await post(server, "/encode")
        assert CANARY not in encoded.text
        assert b64(CANARY)[:-4] not in encoded.text
        decoded = await post(server, "/decode", encoded.json())
        assert decoded.json() == PLAIN
        assert decoded.headers["access-control-allow-origin"] == UI
        assert (await post(server, "/decode")).json() == PLAIN  # from before encryption was turned on
        assert (await post(server, "/decode", {"payloads": []})).json() == {}


async def test_a_browser_is_told_what_the_page_may_send():
    async with served() as server, httpx2.AsyncClient() as http:
        wanted = "authorization,authorization-extras,content-type,x-namespace"
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": wanted}
        allowed = await http.options(f"{server.base}/decode", headers={"Origin": UI, **asked})
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == UI
        refused = await http.options(f"{server.base}/decode", headers={"Origin": "https://evil.example", **asked})
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"X-Namespace": "another"}, 403),
    ],
)
async def test_who_asks_under_a_foreign_name_gets_nothing(headers: dict[str, str], code: int):
    async with served() as server:
        answer = await post(server, "/decode", (await post(server, "/encode")).json(), **headers)
        assert answer.status_code == code
        assert b64(CANARY)[:-4] not in answer.text


async def test_what_cannot_be_decoded_is_told():
    async with served() as server, served(OTHER) as other, served(max_request_bytes=100) as narrow:
        encoded = (await post(server, "/encode")).json()
        unknown = await post(other, "/decode", encoded)
        assert unknown.status_code == 422
        assert "which is not given" in unknown.json()["message"]
        assert (await post(server, "/decode", b"{")).status_code == 400
        assert (await post(server, "/decode", b"\xff")).status_code == 400
        assert (await post(server, "/decode", {"payloads": [{"data": 1.5}]})).status_code == 400
        assert (await post(narrow, "/decode", encoded)).status_code == 413
        async with httpx2.AsyncClient() as http:
            assert (await http.get(f"{server.base}/decode")).status_code == 405
            assert (await http.get(f"{server.base}/health", headers={"Host": "10.0.0.1"})).json() == {"status": "ok"}


async def test_only_who_has_a_token_may_ask():
    async with issuing() as issuer:
        auth = {
            "tokens": [{"subject": "page", "token": TOKEN}],
            "issuer": issuer.base,
            "audience": "temporal-ui",
            "algorithms": ["RS256"],
        }
        async with served(auth=auth) as server:
            encoded = (await post(server, "/encode", Authorization=f"Bearer {TOKEN}")).json()
            good, foreign = (issuer.sign(issuer.claims(aud=who)) for who in ("temporal-ui", "another"))
            codes: dict[int, int] = {}
            for number, token in enumerate((TOKEN, good, foreign, "no-such-token", None)):
                headers = {} if token is None else {"Authorization": f"Bearer {token}"}
                answer = await post(server, "/decode", encoded, **headers)
                codes[number] = answer.status_code
                assert (b64(f'"{CANARY}"') in answer.text) is (answer.status_code == 200)
            assert codes == {0: 200, 1: 200, 2: 401, 3: 401, 4: 401}


async def test_a_server_that_nobody_may_reach_does_not_start():
    encrypting = {"data_converter": {"encryption_key": KEY}}
    with pytest.raises(ConfigError, match=r"`0\.0\.0\.0`.*`temporal\.codec_server\.auth`"):
        await serve_codec(Settings(temporal=encrypting), "0.0.0.0", 0)
    with pytest.raises(ConfigError, match="nothing to decode"):
        await serve_codec(Settings(), "127.0.0.1", 0)


@asynccontextmanager
async def started(config: Path) -> AsyncGenerator[tuple[str, str], None]:
    """`mcp-agent codec-server`, as soon as it listens: its address, and what it says."""
    errors = config.with_name("codec.log")
    command = [sys.executable, "-m", "mcp_agent.cli", "codec-server", "--port", "0", "--config", str(config)]
    with errors.open("w") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=config.parent)
    try:

        async def address() -> str | None:
            assert process.poll() is None, errors.read_text()
            found = re.search(r"codec server at (\S+),.*\n", errors.read_text())
            return found[1] if found else None

        yield await until(address), errors.read_text()
    finally:
        process.terminate()
        assert process.wait() == 0


@pytest.mark.promise("issue: a codec server, so that Temporal's UI and CLI show decrypted payloads")
async def test_temporal_s_command_line_shows_what_is_encrypted(temporal: Path, tmp_path: Path):
    app.use(Settings(execution_engine="temporal", temporal={"data_dir": temporal, "data_converter": {"encryption_key": KEY}}))
    async with app.open_executor(worker=True) as executor:
        assert isinstance(executor, TemporalExecutor)
        handle = await executor.start_workflow(Fails, "step", CANARY)
        with pytest.raises(RunFailedError):
            await handle.result()
    config = tmp_path / "mcp_agent.config.yaml"
    tokens = f"tokens: [{{subject: cli, token: {TOKEN}}}]"
    config.write_text(
        f"temporal: {{data_dir: {temporal}, data_converter: {{encryption_key: '{KEY}'}}, codec_server: {{auth: {{{tokens}}}}}}}"
    )
    server = status(temporal)
    assert server is not None

    async def shown(*options: str) -> str:
        binary = await find_or_make_binary(None, print)
        command = [str(binary), "workflow", "show", "-w", handle.id, "--address", server.address, "--output", "json", *options]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
        return done.stdout

    async with started(config) as (base, said):
        assert server.ui_url.rstrip("/") in said
        decoded = await shown("--codec-endpoint", base, "--codec-auth", f"Bearer {TOKEN}")
    stored = await shown()
    for text in (f'"{CANARY}"', f'{{"message":"{CANARY} is refused"'):  # an argument, and a failure's hidden message
        assert b64(text)[:-4] in decoded
        assert b64(text)[:-4] not in stored
    assert b64("binary/encrypted") in stored
    assert b64("binary/encrypted") not in decoded
