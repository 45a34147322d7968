"""In-process, a package that is not used need not be there: neither Temporal's nor a provider's."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = """
import asyncio, importlib.abc, sys


class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"temporalio", "openai", "anthropic"} or name.startswith("google.genai"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


sys.meta_path.insert(0, Absent())

from mcp_agent import workflow
from mcp_agent.agents.agent import Agent
from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import RunFailedError, WorkflowApplicationError
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM

app = MCPApp(name="bare")
ATTEMPTS = []


@app.workflow_task(name="bare.step", retry_policy=workflow.RetryPolicy(maximum_attempts=5))
async def step(how):
    ATTEMPTS.append(how)
    if how == "fails":
        raise WorkflowApplicationError("for good", {"seen": 1}, type="Refused", non_retryable=True)
    return how.upper()


@app.workflow
class Bare(Workflow[str]):
    @app.workflow_run
    async def run(self, how: str) -> WorkflowResult[str]:
        if how == "model":
            async with Agent("any") as agent:
                llm = await agent.attach_llm(OpenAIAugmentedLLM)
                return WorkflowResult(value=await llm.generate_str("hello"))
        return WorkflowResult(value=await step(how))


async def run(how):
    async with app.run() as running:
        handle = await running.executor.start_workflow("Bare", how)
        try:
            print(how, (await handle.result()).value)
        except RunFailedError as error:
            print(how, error.type, error)


app.use(Settings(openai={"api_key": "none"}))
asyncio.run(run("works"))
asyncio.run(run("fails"))
print(ATTEMPTS)
asyncio.run(run("model"))
app.use(Settings(execution_engine="temporal"))
try:
    asyncio.run(run("works"))
except Exception as error:
    print(type(error).__name__, error)
print([name for name in ("temporalio", "openai", "anthropic", "google.genai") if name in sys.modules])
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path_factory.mktemp("empty"),
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.promise("specification: WorkflowApplicationError ends retries even where Temporal's SDK is not installed")
def test_an_application_error_ends_retries_without_temporal_s_package(printed: list[str]):
    works, fails, attempts = printed[:3]
    assert works == "works WORKS"
    assert fails.startswith("fails Refused")
    assert fails.endswith("for good")
    assert attempts == "['works', 'fails']"


@pytest.mark.promise("design: nothing hangs silently, an absent package included")
def test_what_needs_an_absent_package_names_it(printed: list[str]):
    model, temporal, loaded = printed[3:]
    assert model.startswith("model MissingPackage")
    assert model.endswith("Provider `openai` needs the package `openai`, which is not installed: install it.")
    assert temporal == "ConfigError `execution_engine: temporal` needs the package `temporalio`, which is not installed."
    assert loaded == "[]"
