"""What metrics and traces cost: the same ten steps, told of and not told of."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from benchmarks.desk import app
from benchmarks.harness import Bench, Row, ms, pairs, timed
from mcp_agent.config import Settings
from mcp_agent.executor.executor import Executor

COLLECTOR = """
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass

server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


async def observed_steps(bench: Bench) -> list[Row]:
    with _collector() as endpoint:
        told = {"metrics": {"port": 0}, "tracing": {"endpoint": endpoint}}
        async with _opened(bench, "told", told) as ours, _opened(bench, "untold", {}) as floor:
            one, two = await pairs(lambda: _ten(ours), lambda: _ten(floor), 40, warm=5)
    return [Row("ten sequential steps with metrics and traces against without, p50", ms(one), ms(two), one / two, 1.1)]


async def _ten(executor: Executor) -> float:
    async def run() -> None:
        await (await executor.start_workflow("Ten")).result()

    return await timed(run)


@asynccontextmanager
async def _opened(bench: Bench, queue: str, told: dict[str, Any]) -> AsyncGenerator[Executor, None]:
    temporal = {"binary": bench.binary, "data_dir": bench.folder / "data", "task_queue": queue}
    app.use(Settings(execution_engine="temporal", temporal=temporal, observability=told))
    async with app.open_executor(worker=True) as executor:
        yield executor


@contextmanager
def _collector() -> Generator[str, None, None]:
    """A process that takes traces, and drops them."""
    process = subprocess.Popen([sys.executable, "-c", COLLECTOR], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()
