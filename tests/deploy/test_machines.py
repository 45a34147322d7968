"""What runs without Kubernetes: the image, the compose file and the systemd units."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from mcp_agent.executor.temporal.making import CannotMake
from tests import skips
from tests.deploy.configurations import asked_for, check_serving, loaded, parsed
from tests.deploy.manifests import DEPLOY, ROOT, leaves
from tests.deploy.tools import schema_of_compose

DOCKERFILE = DEPLOY / "Dockerfile"
COMPOSE = DEPLOY / "compose.yaml"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
EXPOSURE = "15"  # of 100, as systemd-analyze counts it


def instructions(name: str) -> list[str]:
    joined = DOCKERFILE.read_text().replace("\\\n", " ")
    return [line.split(maxsplit=1)[1] for line in joined.splitlines() if line.startswith(f"{name} ")]


def compose() -> dict[str, Any]:
    return yaml.safe_load(COMPOSE.read_text())


def ours() -> dict[str, Any]:
    return {name: service for name, service in compose()["services"].items() if "build" in service}


def test_the_linter_has_nothing_to_say_against_the_dockerfile():
    program = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([program, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.promise("issue 7: the image runs as nobody in particular, and has no build tools")
def test_the_image_ends_without_rights_and_without_what_built_it():
    last = DOCKERFILE.read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last, re.MULTILINE)
    assert "pip uninstall --yes pip" in last
    assert not re.search(r"apt-get|pip install|curl", last)
    assert parsed(json.loads(instructions("CMD")[-1])) == "serve"


def test_the_image_is_made_of_files_that_are_there_and_let_through():
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    copied = {source for line in instructions("COPY") if "--from" not in line for source in line.split()[:-1]}
    assert copied
    assert {f"!{source}" for source in copied} == {line for line in ignored if line.startswith("!")}
    assert all((ROOT / source).exists() for source in copied)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (asked,) = (line.removeprefix("EXTRAS=") for line in instructions("ARG") if line.startswith("EXTRAS="))
    assert set(asked.split(",")) <= set(extras)


@pytest.mark.promise("issue 7: the compose file is valid against the real schema")
def test_the_compose_file_is_valid():
    try:
        schema = json.loads(schema_of_compose().read_text())
    except CannotMake as error:
        pytest.skip(f"{skips.NO_DEPLOY_TOOLS}: {error}")
    Draft202012Validator(schema).validate(compose())
    wrong = compose()
    wrong["services"]["server"]["readonly"] = True
    assert not Draft202012Validator(schema).is_valid(wrong)


def test_every_service_is_hardened_and_open_to_this_machine_only():
    for name, service in compose()["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert "build" in service or re.search(r":\d[\w.-]*$", service["image"]), name


def test_what_compose_starts_is_known_to_the_command_line():
    assert {name: parsed(service["command"]) for name, service in ours().items()} == {
        "server": "serve",
        "worker": "worker",
        "codec-server": "codec-server",
    }


def test_the_configuration_of_compose_loads_and_its_ports_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = (DEPLOY / "compose" / "mcp_agent.config.yaml").read_text()
    settings = loaded(text, tmp_path, monkeypatch)
    check_serving(settings)
    services = compose()["services"]
    assert settings.temporal.host in services
    assert settings.observability.health is not None
    probes = {name: str(service.get("healthcheck", {}).get("test")) for name, service in services.items()}
    assert f":{settings.server.port}/readyz" in probes["server"]
    assert f":{settings.observability.health.port}/readyz" in probes["worker"]
    for service in ours().values():
        assert int(service["stop_grace_period"].removesuffix("s")) >= settings.server.grace_seconds + 10
        assert asked_for(text) <= set(service["environment"])


def test_every_variable_of_compose_is_in_the_example():
    example = (DEPLOY / "compose" / "example.env").read_text()
    given = {line.partition("=")[0] for line in example.splitlines() if "=" in line and not line.startswith("#")}
    asked = {name for text in leaves(compose()) for name in re.findall(r"\$\{(\w+)", str(text))}
    assert asked == given
    assert not [line for line in example.splitlines() if re.match(r"\w+=[^\s#]", line)]  # values are the reader's


def test_files_that_compose_mounts_are_there():
    for service in compose()["services"].values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in compose()["volumes"]


def test_compose_and_kubernetes_start_the_same_versions():
    images = {service["image"] for service in compose()["services"].values() if service["image"].startswith("temporalio/")}
    manifests = "".join(file.read_text() for file in (DEPLOY / "temporal" / "kubernetes").glob("*.yaml"))
    assert images == set(re.findall(r"image: (temporalio/\S+)", manifests))


@pytest.fixture
def systemd_analyze() -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip(skips.NO_SYSTEMD)
    return program


@pytest.mark.promise("issue 7: the systemd units are valid and hardened")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_valid_and_hardened(unit: Path, systemd_analyze: str, tmp_path: Path):
    file = tmp_path / unit.name
    file.write_text(unit.read_text().replace("/opt/agents/bin/mcp-agent", sys.executable))  # it looks whether that is there
    for command in (["verify", "--man=no"], ["security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager"]):
        done = subprocess.run([systemd_analyze, *command, file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert command[0] == "security" or done.stderr == ""


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_starts_what_the_command_line_knows_and_gives_it_time_to_end(unit: Path):
    (start,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
    program, *arguments = shlex.split(start)
    assert program.endswith("/mcp-agent")
    assert parsed(arguments) == unit.stem.removeprefix("mcp-agent-").replace("server", "serve")
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit.read_text(), re.MULTILINE)
    assert int(seconds) >= 30 + 10
