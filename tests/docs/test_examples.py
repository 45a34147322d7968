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

from mcp_agent.config import MCPServerSettings, Settings, load_settings
from mcp_agent.executor.runs import Answer
from tests.support import until

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


def test_the_documented_configuration_is_valid(tmp_path: Path):
    (text,) = blocks("docs/configuration.md", "yaml")
    file = tmp_path / "mcp_agent.config.yaml"
    file.write_text(text)
    settings = load_settings(file)
    assert settings.temporal.retry_policy is not None
    assert set(yaml.safe_load(text)) <= set(Settings.model_fields)


def test_the_documented_downstream_servers_are_valid(tmp_path: Path):
    (text,) = blocks("docs/downstream.md", "yaml")
    file = tmp_path / "mcp_agent.config.yaml"
    file.write_text(text)
    servers = load_settings(file).mcp.servers
    told = {key for server in servers.values() for key in server.model_fields_set}
    assert told == set(MCPServerSettings.model_fields)


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
