"""The second fake of the providers is got once, and says what is missing where it cannot be got."""

from pathlib import Path

import pytest
from httpx2 import AsyncClient, ConnectError

from mcp_agent.executor.temporal.making import CACHE_VARIABLE, CannotMake
from tests import skips
from tests.fakes import Refuses, Says, aimock, aimock_program

pytestmark = pytest.mark.anyio


@pytest.fixture
async def program() -> Path:
    try:
        return await aimock_program(print)
    except CannotMake as error:
        pytest.skip(f"{skips.NO_SECOND_FAKE}: {error}")


async def test_what_is_in_the_cache_needs_no_npm(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "node").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await aimock_program(print) == program


@pytest.mark.parametrize("there", ["", "node"])
async def test_where_it_cannot_be_got_the_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str):
    if there:
        (tmp_path / there).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    with pytest.raises(CannotMake, match="`npm`" if there else "`node`"):
        await aimock_program(print)


async def test_it_answers_in_the_order_of_its_script_and_nothing_is_left_of_it(program: Path, tmp_path: Path):
    async with aimock(program, tmp_path) as fake, AsyncClient() as http:
        await fake.script("hi", Refuses(429, "slowly", retry_after=2), Says("ho"))
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        answers = [await http.post(f"{fake.address}/v1/chat/completions", json=body) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [429, 200, 503]
        assert answers[0].headers["retry-after"] == "2"
    with pytest.raises(ConnectError):
        async with AsyncClient() as http:
            await http.get(fake.address)
