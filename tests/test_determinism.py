"""The framework's workflow-side modules hold no clock, randomness, I/O or thread: their code is executed again on replay."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mcp_agent"
WORKFLOW_SIDE = [
    "agents/agent.py",
    "agents/approval.py",
    "agents/downstream.py",
    "agents/elicited.py",
    "context.py",
    "executor/agent_host.py",
    "executor/children.py",
    "executor/continuing.py",
    "executor/durations.py",
    "executor/elicitation.py",
    "executor/forms.py",
    "executor/runtime.py",
    "executor/steps.py",
    "executor/task_group.py",
    "executor/temporal/children.py",
    "executor/temporal/details.py",
    "executor/temporal/endings.py",
    "executor/temporal/operations.py",
    "executor/temporal/runtime.py",
    "executor/workflow.py",
    "executor/workflow_result.py",
    "executor/workflow_signal.py",
    "mcp/catalogue.py",
    "mcp/definitions.py",
    "workflow.py",
    "workflows/llm/augmented_llm.py",
    "workflows/llm/augmented_llm_openai.py",
    "workflows/llm/messages.py",
]
BANNED_MODULES = {"os", "pathlib", "random", "secrets", "socket", "subprocess", "tempfile", "threading", "time", "concurrent"}
BANNED_CALLS = {
    ("datetime", "now"),
    ("datetime", "today"),
    ("datetime", "utcnow"),
    ("uuid", "uuid1"),
    ("uuid", "uuid4"),
    ("asyncio", "to_thread"),
    ("asyncio", "create_subprocess_exec"),
    ("asyncio", "open_connection"),
}
BANNED_NAMES = {"open", "input", "print", "hash", "id"}
TYPES_ONLY = {("workflow.py", "random"), ("executor/runtime.py", "random"), ("executor/temporal/runtime.py", "random")}


def problems(path: Path, name: str) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module.partition(".")[0]]
        found += [f"imports {m}" for m in modules if m in BANNED_MODULES and (name, m) not in TYPES_ONLY]
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                if (called.value.id, called.attr) in BANNED_CALLS:
                    found.append(f"calls {called.value.id}.{called.attr}, line {node.lineno}")
            elif isinstance(called, ast.Name) and called.id in BANNED_NAMES:
                found.append(f"calls {called.id}, line {node.lineno}")
        if isinstance(node, ast.For | ast.comprehension) and isinstance(node.iter, ast.Set | ast.SetComp):
            found.append("iterates over a set")
    return found


@pytest.mark.promise("design: workflow-side modules are deterministic")
@pytest.mark.parametrize("name", WORKFLOW_SIDE)
def test_workflow_side_modules_are_deterministic(name: str):
    assert problems(PACKAGE / name, name) == []


def test_what_is_banned_is_found(tmp_path: Path):
    bad = tmp_path / "bad.py"
    bad.write_text("import os, random\nimport uuid\nx = uuid.uuid4()\nopen('x')\nfor y in {1, 2}: pass\n")
    assert len(problems(bad, "bad.py")) == 5
