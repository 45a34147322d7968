"""Commands that make programs: bounded, with nothing left behind."""

import sys
from pathlib import Path

import anyio
import pytest

from mcp_agent.executor.temporal import making
from mcp_agent.executor.temporal.making import CannotMake, Command, cache_dir
from tests.support import until_file, until_gone

pytestmark = pytest.mark.anyio

LINGERS = 'sleep 60 & echo $! > child.pid; echo "$$" > own.pid; wait'


def shell(folder: Path, text: str, *, within: float = 60, stalled: float | None = None) -> Command:
    return Command(["sh", "-c", text], folder, within, stalled)


async def until_both_gone(folder: Path) -> None:
    await until_gone(*(int((folder / name).read_text()) for name in ("own.pid", "child.pid")))


async def test_what_a_command_prints_is_given_and_goes_to_no_stream_of_ours(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    assert await shell(tmp_path, "echo out; echo err >&2").run(print) == "out\nerr"
    assert capfd.readouterr() == ("", "")


async def test_a_command_that_fails_is_told_with_its_first_and_last_words(tmp_path: Path):
    with pytest.raises(CannotMake, match=r"(?s)^first.*last$") as told:
        await shell(tmp_path, "echo first; seq 1000; echo last; exit 3").run(print)
    assert len(str(told.value)) < 500


async def test_a_command_that_does_not_exist_is_told(tmp_path: Path):
    with pytest.raises(CannotMake, match="nowhere"):
        await Command([tmp_path / "nowhere"], tmp_path, 1).run(print)


@pytest.mark.parametrize(("limits", "told"), [({"within": 1}, "longer than 1 s"), ({"stalled": 1}, "nothing came for 1 s")])
async def test_a_command_that_takes_too_long_is_ended_with_its_children(tmp_path: Path, limits: dict[str, float], told: str):
    with pytest.raises(CannotMake, match=told):
        await shell(tmp_path, LINGERS, **limits).run(print)
    await until_both_gone(tmp_path)


async def test_a_command_whose_folder_grows_is_not_stalled(tmp_path: Path):
    grows = "for i in 1 2 3 4 5; do sleep 0.5; echo more >> part; done; echo done"
    assert await shell(tmp_path, grows, stalled=2).run(print) == "done"


async def test_a_cancelled_command_is_ended_with_its_children(tmp_path: Path):
    async with anyio.create_task_group() as group:
        group.start_soon(shell(tmp_path, LINGERS).run, print)
        await until_file(tmp_path / "own.pid", "\n")
        group.cancel_scope.cancel()
    await until_both_gone(tmp_path)


async def test_a_long_command_says_that_it_still_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(making, "PROGRESS_EVERY", 1.0)
    told: list[str] = []
    await shell(tmp_path, "sleep 1.5").run(told.append)
    assert told == ["still at work: `sh`, 1 s"]


async def test_the_cache_is_in_the_user_s_folder_unless_a_variable_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv(making.CACHE_VARIABLE, raising=False)
    parent = tmp_path / "Library" / "Caches" if sys.platform == "darwin" else tmp_path / ".cache"
    assert cache_dir() == parent / "durable-mcp-agent"
    monkeypatch.setenv(making.CACHE_VARIABLE, str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"
    assert cache_dir().is_dir()
