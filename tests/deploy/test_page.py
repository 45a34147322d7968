"""docs/deployment.md: its configuration loads, its values make a chart, its files are there."""

import re
import textwrap
from pathlib import Path

import pytest

from tests.deploy.configurations import check_serving, loaded, parsed
from tests.deploy.manifests import DEPLOY, ROOT

PAGE = (ROOT / "docs" / "deployment.md").read_text()
SERVER_UNIT, WORKER_UNIT = (DEPLOY / "systemd" / f"mcp-agent-{part}.service" for part in ("server", "worker"))


def blocks(language: str) -> list[str]:
    return [textwrap.dedent(text) for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)]


@pytest.mark.parametrize("unit", [SERVER_UNIT, WORKER_UNIT], ids=lambda unit: unit.stem)
def test_the_configuration_for_systemd_loads_with_what_a_unit_sets(unit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = blocks("yaml")[0]
    for name, value in re.findall(r"(MCP_AGENT__\w+)=(\S+)", unit.read_text()):
        monkeypatch.setenv(name, value)
    settings = loaded(text, tmp_path, monkeypatch)
    check_serving(settings)
    assert settings.observability.metrics is not None
    assert (settings.observability.health is not None) == (unit == WORKER_UNIT)
    (stops_within,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit.read_text(), re.MULTILINE)
    assert int(stops_within) >= settings.server.grace_seconds + 10
    assert settings.temporal.data_converter is not None
    (key,) = settings.temporal.data_converter.keys
    assert key.file is not None
    assert key.file.name == "codec-keys"
    assert "LoadCredential=codec-keys:" in unit.read_text()


def test_processes_on_one_machine_have_ports_of_their_own():
    ports = [port for unit in (SERVER_UNIT, WORKER_UNIT) for port in re.findall(r"__PORT=(\d+)", unit.read_text())]
    assert len(ports) == len(set(ports)) == 3


def test_the_files_that_the_page_names_are_there():
    told = set(re.findall(r"deploy/[\w./-]*\w", PAGE)) - {"deploy/.env"}
    assert len(told) > 8
    assert not [path for path in told if not (ROOT / path).exists()]


def test_the_commands_that_the_page_names_are_known():
    assert {parsed([name]) for name in re.findall(r"`mcp-agent ([\w-]+)`", PAGE) if name != "replay"} == {
        "serve",
        "worker",
        "codec-server",
    }


def test_every_variable_of_temporal_s_configuration_is_told():
    asked = set(re.findall(r'env "(\w+)"', (DEPLOY / "temporal" / "server.yaml").read_text()))
    assert not [name for name in asked if f"`{name}`" not in PAGE]
