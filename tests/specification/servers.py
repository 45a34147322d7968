"""The downstream servers that the specification's blocks name: each is a small file server."""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NAMES = ("api", "database", "fetch", "filesystem", "http", "ml", "payment_api", "shipping_api", "validation")
SCRIPT = """
agents:
  validator: [{any_turn: true, text: this is valid}]
  api_caller: [{any_turn: true, text: "called: {last_user}"}]
  checker: [{tool_calls: [{name: api_read_file, arguments: {path: job.txt}}]}, {text: "{last_tool_result}"}]
  shipping: [{any_turn: true, errors: [{status: 400, times: 1}], text: shipped}]
  "*": [{any_turn: true, text: "done: {last_user}"}]
"""


def settings(folder: Path) -> dict[str, Any]:
    """A scripted model and the servers, as settings. How far the job is that one of the agents asks for is in `job.txt`."""
    script = folder / "script.yaml"
    script.write_text(SCRIPT)
    (folder / "job.txt").write_text("still under way")
    server = {"command": sys.executable, "args": ["-m", "server.files", str(folder)], "cwd": str(ROOT)}
    return {"scripted": {"file": script}, "mcp": {"servers": dict.fromkeys(NAMES, server)}}
