import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from mcp_agent.executor.temporal.binary import find_or_make_binary
from tests.support import Desk, desk_in

HERE = Path(__file__).parent

CONFIG = """
execution_engine: temporal
temporal: {{binary: {binary}}}
server: {{app: "desk_app:app", wait_budget_seconds: 20}}
scripted: {{file: script.yaml}}
logger: {{level: warning}}
mcp:
  servers:
    archive:
      command: ${{PYTHON}}
      args: [archive_server.py]
      cwd: ${{CONFIG_DIR}}
      env: {{DESK_FOLDER: "${{CONFIG_DIR}}"}}
"""
SCRIPT = """
agents:
  clerk:
    - tool_calls: [{name: archive_file, arguments: {}}]
      delay_seconds: 1
    - text: "the archive says: {last_tool_result}"
"""


@pytest.fixture(scope="session")
def binary() -> Path:
    return asyncio.run(find_or_make_binary(None, print))


@pytest.fixture
async def desk(tmp_path: Path, binary: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Desk, None]:
    files = {name: (HERE / name).read_text() for name in ("desk_app.py", "archive_server.py")}
    async with desk_in(tmp_path, binary, CONFIG.format(binary=binary), {**files, "script.yaml": SCRIPT}) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made
