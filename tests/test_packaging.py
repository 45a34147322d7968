"""What the repository must not hold, and what the package must not do."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import skips
from tests.providers_http import unused_port

ROOT = Path(__file__).parents[1]
TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".mod", ".sum", ""}
# Built from parts, so that this file does not hold what it looks for.
FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.])/(?:" + "|".join(["wo" + "rk", "ro" + "ot"]) + ")/"),
    "a registry's host": re.compile(
        "|".join(["py" + r"pi\.org", "python" + r"hosted", "registry" + r"\.npmjs", "proxy" + r"\.golang"])
    ),
}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip(skips.NO_CHECKOUT)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file() and Path(name).suffix in TEXT]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_tracked_file_holds(what: str):
    hits = [str(path.relative_to(ROOT)) for path in tracked() if FORBIDDEN[what].search(path.read_text())]
    assert hits == []


def test_importing_the_package_loads_no_provider_and_no_engine():
    program = (
        "import sys, mcp_agent.app, mcp_agent.workflows.llm.augmented_llm_openai, mcp_agent.agents.agent\n"
        "print([m for m in ('openai', 'anthropic', 'google.genai', 'temporalio', 'mcp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.promise("issue: `import mcp_agent` loads no provider SDK; the first call loads one")
@pytest.mark.parametrize("provider", ["openai", "anthropic", "google"])
def test_the_first_call_of_a_provider_loads_its_package_and_no_other(provider: str):
    program = f"""
import asyncio, pkgutil, sys
from importlib import import_module
import mcp_agent.activities, mcp_agent.agents, mcp_agent.workflows.llm

SDKS = ("openai", "anthropic", "google.genai")
for package in (mcp_agent.activities, mcp_agent.agents, mcp_agent.workflows.llm):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        import_module(module.name)
print([name for name in SDKS if name in sys.modules])

from mcp_agent.activities.llm import LLMActivities
from mcp_agent.config import Settings
from mcp_agent.workflows.llm.messages import LLMRequest, LLMSetup, Message

async def ask():
    models = LLMActivities(Settings.model_validate({{"{provider}": {{"api_key": "a-planted-key", "base_url": sys.argv[1]}}}}))
    setup = LLMSetup()
    asked = LLMRequest(agent="a", provider="{provider}", new=[Message.user("hi")], setup_hash=setup.hash(), setup=setup)
    try:
        await models.generate(asked)
    except Exception as error:
        print(error.type)
    await models.aclose()

asyncio.run(ask())
print([name for name in SDKS if name in sys.modules])
"""
    with unused_port() as port:
        command = [sys.executable, "-c", program, f"http://127.0.0.1:{port}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    package = "google.genai" if provider == "google" else provider
    assert done.stdout.splitlines() == ["[]", "APIConnectionError", str([package])]


def test_the_pinned_versions_cover_every_dependency():
    pins = {line.partition("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()}
    text = (ROOT / "pyproject.toml").read_text()
    block = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    named = {name.lower().replace("_", "-") for name in re.findall(r'^  "([A-Za-z0-9_.-]+)', block, re.MULTILINE)}
    assert named
    assert named <= pins
