"""The harness of `make interop` and `make conformance`, and the rows that need no environment of their own."""

import json
import sys
from collections.abc import AsyncGenerator
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pytest

from interop import conformance, environments, matrix, report, served
from interop.__main__ import arguments
from interop.catalogue import CLIENTS, HERE, LEGACY, MODERN, SCENARIOS, TRANSPORTS, Pins, Tried, chosen, pins
from interop.matrix import Cell, Place

pytestmark = pytest.mark.anyio

BARE = Tried(
    "bare", "mcp-2", "bare.py", MODERN, {}, {"sse": "has no SSE", "drop": "never lets go", "large/http": "reads nothing"}
)


class TestCatalogue:
    def test_every_client_has_a_script_and_pinned_packages(self):
        known = pins()
        for tried in CLIENTS:
            assert (HERE / "clients" / tried.script).exists()
            assert all("==" in package or "@" in package[1:] for package in known[tried.environment].packages)

    def test_what_a_client_cannot_do_is_told_of_a_transport_a_scenario_or_both(self):
        assert BARE.why_not("sse", "list") == "has no SSE"
        assert BARE.why_not("stdio", "drop") == "never lets go"
        assert BARE.why_not("http", "large") == "reads nothing"
        assert BARE.why_not("stdio", "large") is None

    def test_every_reason_is_of_a_transport_and_scenarios_that_there_are(self):
        places = {*TRANSPORTS, *SCENARIOS, *(f"{scenario}/{way}" for scenario in SCENARIOS for way in TRANSPORTS)}
        assert {place for tried in CLIENTS for place in tried.cannot} <= places

    def test_clients_are_chosen_by_name(self):
        assert [tried.name for tried in chosen(["mcp-1", "fastmcp"])] == ["mcp-1", "fastmcp"]
        assert chosen([]) == list(CLIENTS)
        with pytest.raises(ValueError, match="`mcp-9` is no client"):
            chosen(["mcp-9"])

    def test_the_version_is_that_of_the_first_package(self):
        assert Pins("x", "node", ("@scope/sdk@1.2.3", "node@22.1.0")).version == "1.2.3"
        assert Pins("x", "python", ("sdk[extra]==1.2.3",)).version == "1.2.3"


class TestEnvironment:
    def test_it_is_made_once_and_again_for_other_packages(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        made: list[tuple[str, ...]] = []
        monkeypatch.setattr(environments, "_install_python", lambda folder, packages: made.append(packages))
        one, other = (Pins("sdk", "python", ("sdk==1", f"helper=={number}")) for number in (1, 2))
        for wanted in (one, one, other):
            assert environments.environment(wanted, tmp_path) == tmp_path / "sdk-1"
        assert made == [one.packages, other.packages]

    def test_one_that_cannot_be_made_is_no_environment_later(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("PATH", "")
        with pytest.raises(environments.CannotInstall, match="npm is not installed"):
            environments.environment(Pins("sdk", "node", ("no-such-package@0.0.0",)), tmp_path)
        assert not (tmp_path / "sdk-0.0.0" / environments.READY).exists()


def script(folder: Path, text: str) -> Place:
    """A client whose program is `text`."""
    (folder / "clients").mkdir()
    (folder / "clients" / "bare.py").write_text(text)
    return Place("http://127.0.0.1:1", ["server"], folder)


class TestPlaying:
    @pytest.fixture(autouse=True)
    def scripts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(matrix, "HERE", tmp_path)

    async def test_what_a_program_tells_becomes_cells_and_silence_a_failure(self, tmp_path: Path):
        place = script(
            tmp_path,
            "import json; print('a banner')\n"
            "print(json.dumps({'scenario': 'list', 'ok': True, 'detail': 'yes'}))\n"
            "print(json.dumps({'scenario': 'run', 'ok': False, 'detail': 'no tool'}))\n",
        )
        cells = {cell.scenario: cell for cell in await matrix.play(BARE, "stdio", place)}
        assert list(cells) == list(SCENARIOS)
        assert (cells["list"].state, cells["list"].detail) == ("ok", "yes")
        assert (cells["run"].state, cells["run"].detail, cells["run"].output) == ("failed", "no tool", "a banner\n")
        assert (cells["error"].state, cells["error"].detail) == ("failed", "gave no outcome")
        assert (cells["drop"].state, cells["drop"].detail) == ("n/a", "never lets go")

    async def test_a_program_that_hangs_is_ended_with_its_children(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(matrix, "GRACE", 0.2)
        child = "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print('child', p.pid, flush=True); p.wait()"
        cells = await matrix.play(BARE, "stdio", script(tmp_path, child), seconds=2)
        failed = next(cell for cell in cells if cell.state == "failed")
        assert "silent for 2.2 s" in failed.output
        pid = failed.output.split()[1]
        stat = Path("/proc") / pid / "stat"
        assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"

    async def test_a_transport_that_a_client_has_not_starts_no_program(self, tmp_path: Path):
        cells = await matrix.play(BARE, "sse", Place("", [], tmp_path / "nowhere"))
        assert {cell.state for cell in cells} == {"n/a"}


class TestReport:
    CELLS = (
        Cell("mcp-1", "stdio", "list", "ok", "yes"),
        Cell("mcp-1", "stdio", "run", "failed", "no tool"),
        Cell("mcp-1", "stdio", "agent", "n/a", "has none"),
        Cell("mcp-1", "sse", "list", "n/a", "has no SSE"),
    )

    def test_the_table_has_a_line_for_what_was_played(self):
        (line,) = report.lines_of(self.CELLS, chosen(["mcp-1"]), pins())
        assert line[0] == "mcp-1"
        assert line[3:6] == ("stdio", "yes", "**FAILED**")
        assert "n/a" in line

    def test_the_page_gives_each_reason_once(self):
        page = report.page(self.CELLS, chosen(["mcp-1"]), pins(), date(2026, 11, 26))
        assert "last on 2026-11-26" in page
        assert page.count("- agent: mcp-1: has none.") == 1

    def test_the_page_takes_the_whole_matrix(self, capsys: pytest.CaptureFixture[str]):
        with pytest.raises(SystemExit):
            arguments(["mcp-1", "--page", "docs/interop.md"])
        assert "whole matrix" in capsys.readouterr().err


LISTED = """Required:

Server scenarios (test against a server):
  - ping [2025-11-25]
  - tasks-x [extension]

Client scenarios (test against a client):
  - auth/x
"""


def silent(_: conformance.Suite, *arguments: str) -> str:
    """A suite that lists what it has, and plays nothing."""
    return LISTED if arguments[0] == "list" else ""


class TestConformance:
    def test_only_server_scenarios_are_wanted(self):
        assert conformance.listed(LISTED) == ["ping", "tasks-x"]

    def test_results_are_read_by_scenario(self, tmp_path: Path):
        folder = tmp_path / "server-tools-call-error-2026-11-26T16-15-10-089Z"
        folder.mkdir()
        checks = [
            {"id": "a", "status": "SUCCESS"},
            {"id": "b", "status": "FAILURE", "errorMessage": "no"},
            {"id": "c", "status": "SKIPPED"},
        ]
        (folder / "checks.json").write_text(json.dumps(checks))
        found = conformance.read(tmp_path, LEGACY)["tools-call-error"]
        assert found == conformance.Outcome(LEGACY, "tools-call-error", 1, 1, ("b: no",))
        assert found.word == "FAILED"

    def test_nothing_is_allowed_to_fail(self):
        assert not conformance.ALLOWED

    def test_a_scenario_without_a_result_has_failed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(conformance.Suite, "_run", silent)
        suite = conformance.Suite(tmp_path, "http://127.0.0.1:1/mcp")
        assert {one.scenario: one.word for one in suite.play(MODERN, tmp_path)} == {"ping": "FAILED", "tasks-x": "FAILED"}

    async def test_a_server_that_ends_at_once_is_told_with_what_it_wrote(self, tmp_path: Path):
        command = [sys.executable, "-c", "print('no port')"]
        with pytest.raises(served.NotServed, match="ended with 0:\nno port"):
            async with served.over_http(command, served.environment(), tmp_path / "log"):
                pass


@pytest.fixture(scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[str, None]:
    folder = tmp_path_factory.mktemp("interop")
    async with served.over_http(served.command(folder, "--port", "0"), served.environment(), folder / "log") as address:
        yield address


ROWS = [("mcp-2", "stdio"), ("mcp-2", "http"), ("mcp-2-legacy", "http"), ("mcp-2-legacy", "sse")]


@pytest.mark.parametrize(("name", "transport"), ROWS)
@pytest.mark.promise(
    "issue: clients list, run to completion, ask a person, cancel, read a big result and see errors on every transport"
)
async def test_the_sdk_s_client_plays_every_scenario(name: str, transport: str, address: str, tmp_path: Path):
    """With the packages of this environment, which are those that are pinned."""
    (tried,) = chosen([name])
    assert f"mcp=={version('mcp')}" in pins()["mcp-2"].packages
    cells = await matrix.play(tried, transport, Place(address, served.command(tmp_path, "--stdio"), tmp_path))
    assert [(cell.scenario, cell.detail, cell.output) for cell in cells if cell.state == "failed"] == []
    assert {cell.scenario: cell.detail for cell in cells}["person"] == "asked"
