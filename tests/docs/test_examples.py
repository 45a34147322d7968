"""The code of README and docs is run: what a reader copies works."""

import importlib.util
import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from mcp import Client

from mcp_agent.config import (
    CodecServerSettings,
    DataConverterSettings,
    ExternalStorageSettings,
    GCSSettings,
    IntrospectionSettings,
    KeySettings,
    LimitSettings,
    MCPServerSettings,
    S3Settings,
    ServerAuthSettings,
    Settings,
    load_settings,
)
from mcp_agent.config_versioning import VersioningSettings
from mcp_agent.executor.runs import Answer
from mcp_agent.observability.metrics import METRICS
from mcp_agent.server.app_server import AgentServer
from mcp_agent.server.hosts import check_binding
from mcp_agent.testing.scripted import Script
from tests.support import call_text, until

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.anyio


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)


@pytest.fixture
def page(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[types.ModuleType]:
    """The Python blocks of a page, imported as one module."""
    path = tmp_path / "docs_page.py"
    path.write_text("\n\n".join(blocks(request.param, "python")))
    spec = importlib.util.spec_from_file_location("docs_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_page"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["docs_page"]


@pytest.mark.parametrize("page", ["README.md"], indirect=True)
async def test_the_readme_s_workflow_runs(page: types.ModuleType, tmp_path: Path):
    script = tmp_path / "script.yaml"
    script.write_text('agents: {writer: [{text: "News: {last_user}"}]}')
    async with page.app.run(Settings(scripted={"file": script})) as running:
        handle = await running.executor.start_workflow("PressRelease", "it works")
        await handle.signal("approve")
        assert (await handle.result()).value == "News: it works"


@pytest.mark.parametrize("page", ["docs/workflows.md"], indirect=True)
async def test_the_workflow_page_s_program_runs(page: types.ModuleType, monkeypatch: pytest.MonkeyPatch):
    page.app.use(Settings())
    assert await page.sell() == "reservation-7"


@pytest.mark.parametrize("page", ["docs/people.md"], indirect=True)
async def test_the_people_page_s_program_runs(page: types.ModuleType):
    page.app.use(Settings())
    assert await page.book() == "DY812, row 7, accept"


@pytest.mark.parametrize("page", ["docs/serving.md"], indirect=True)
async def test_the_serving_page_s_tools_prompts_and_resources_are_served(page: types.ModuleType):
    page.app.use(Settings())
    async with AgentServer.open(page.app) as server, Client(server.mcp) as client:
        assert (await client.call_tool("index", {"folder": "physics"})).structured_content == {"notes": 1}
        assert await call_text(client, "publish", name="physics/light") == "physics/light is published"
        assert await call_text(client, "write", name="poems/a", text="Roses") == "written"
        (contents,) = (await client.read_resource("notes://poems/a")).contents
        assert contents.model_dump()["text"] == "Roses"
        got = await client.get_prompt("review", {"name": "poems/a", "tone": "harsh"})
        assert got.messages[0].content.model_dump()["text"] == "Review this note in 3 sentences, in a harsh tone: Roses"


TRIP = """
agents:
  planner:
    - tool_calls: [{name: fare, arguments: {origin: Oslo, destination: Rome}}]
    - tool_calls: [{name: book, arguments: {destination: Rome}}]
    - text: "Booked: {last_tool_result}"
    - text: '{"destination": "Rome", "price": 120, "reason": "it is warm"}'
"""


@pytest.mark.parametrize("page", ["docs/agents.md"], indirect=True)
async def test_the_agents_page_s_workflow_runs(page: types.ModuleType, tmp_path: Path):
    script = tmp_path / "script.yaml"
    script.write_text(TRIP)
    async with page.app.run(Settings(scripted={"file": script})) as running:
        handle = await running.executor.start_workflow("PlanTrip", "somewhere warm")

        async def asked() -> bool:
            return (await handle.describe()).status == "waiting_for_input"

        await until(asked)
        await running.executor.answer_run(handle.id, Answer(payload={"approved": True}))
        result = await handle.result()
        assert result.value == page.Offer("Rome", 120.0, "it is warm")
        assert result.metadata["usage"]["tool_calls"] == 2


def test_the_observability_page_s_configuration_is_valid(tmp_path: Path):
    (text,) = blocks("docs/observability.md", "yaml")
    file = tmp_path / "mcp_agent.config.yaml"
    file.write_text(text)
    settings = load_settings(file)
    assert settings.observability.tracing is not None
    assert settings.observability.tracing.endpoint == "http://collector:4318/v1/traces"


def test_the_observability_page_names_every_metric_with_its_labels():
    page = (ROOT / "docs/observability.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `mcp_agent_")]
    for metric in METRICS:
        (row,) = [row for row in rows if f"`{metric.name}`" in row]
        assert row.split("|")[2].strip() == ", ".join(metric.labels)


def test_the_documented_configuration_is_valid(tmp_path: Path):
    (text,) = blocks("docs/configuration.md", "yaml")
    file = tmp_path / "mcp_agent.config.yaml"
    file.write_text(text)
    settings = load_settings(file)
    assert settings.temporal.retry_policy is not None
    assert set(yaml.safe_load(text)) <= set(Settings.model_fields)


def test_the_documented_downstream_servers_are_valid(tmp_path: Path):
    text, passing_on = blocks("docs/downstream.md", "yaml")
    file = tmp_path / "mcp_agent.config.yaml"
    file.write_text(text)
    servers = load_settings(file).mcp.servers
    told = {key for server in servers.values() for key in server.model_fields_set}
    assert told == set(MCPServerSettings.model_fields)
    file.write_text(passing_on + "server: {auth: {tokens: [{subject: ann, token: to-be-sixteen-long}]}}")
    assert load_settings(file).mcp.with_caller_token == ["mail"]


def test_the_documented_versions_are_valid_and_whole(tmp_path: Path):
    (text,) = blocks("docs/upgrades.md", "yaml")
    file = tmp_path / "mcp_agent.config.yaml"
    file.write_text(text)
    versioning = load_settings(file).temporal.versioning
    assert versioning is not None
    assert versioning.model_fields_set == set(VersioningSettings.model_fields)
    assert not versioning.promote


def test_the_documented_auth_is_valid_and_whole(tmp_path: Path):
    file = tmp_path / "mcp_agent.config.yaml"
    told: set[str] = set()
    for text in blocks("docs/auth.md", "yaml"):
        file.write_text(text)
        server = load_settings(file).server
        check_binding(server, server.host)
        sections = [one for one in (server.auth, server.auth and server.auth.introspection, server.limits) if one is not None]
        told |= {key for section in sections for key in section.model_fields_set}
    every = (ServerAuthSettings, IntrospectionSettings, LimitSettings)
    assert told == {key for section in every for key in section.model_fields}


def test_the_documented_servers_behind_one_address_may_start(tmp_path: Path):
    (text,) = blocks("docs/serving.md", "yaml")
    file = tmp_path / "mcp_agent.config.yaml"
    file.write_text(text)
    server = load_settings(file).server
    check_binding(server, server.host)
    assert server.state_keys


def test_the_documented_script_is_one(tmp_path: Path):
    (text,) = blocks("docs/agents.md", "yaml")
    file = tmp_path / "script.yaml"
    file.write_text(text)
    assert set(Script.load(file).agents) == {"planner", "researcher", "*"}


def test_the_documented_ways_of_storing_are_valid_and_whole(tmp_path: Path):
    file = tmp_path / "mcp_agent.config.yaml"
    for text in blocks("docs/stored.md", "yaml"):
        file.write_text(text)
        assert load_settings(file).temporal.model_fields_set
    page = (ROOT / "docs/stored.md").read_text()
    every = (DataConverterSettings, KeySettings, ExternalStorageSettings, S3Settings, GCSSettings, CodecServerSettings)
    assert not [key for section in every for key in section.model_fields if key not in page]


def test_every_section_of_the_settings_is_documented():
    (text,) = blocks("docs/configuration.md", "yaml")
    undocumented = set(Settings.model_fields) - set(yaml.safe_load(text))
    assert not undocumented


def test_the_desktop_configuration_is_json():
    (text,) = blocks("README.md", "json")
    (server,) = json.loads(text)["mcpServers"].values()
    assert server["args"][:2] == ["serve", "--stdio"]


@pytest.mark.parametrize("name", ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))])
def test_links_between_pages_lead_somewhere(name: str):
    page = ROOT / name
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
