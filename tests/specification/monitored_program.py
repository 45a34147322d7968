"""Runs the block of section "Monitoring and Observability", with one line more: `Runtime.set_default(runtime)`.

`python monitored_program.py DATA_DIR` prints what the run returns on each engine, and then what Prometheus would read.
"""

import asyncio
import sys
import urllib.request
from typing import Any

from temporalio.runtime import Runtime

from mcp_agent.config import Settings
from tests.specification.monitoring_as_written import app, runtime

Runtime.set_default(runtime)


async def main(data_dir: str) -> None:
    engines: list[Any] = ["asyncio", "temporal"]
    for engine in engines:
        app.use(Settings(execution_engine=engine, temporal={"data_dir": data_dir}))
        async with app.open_executor(worker=True) as executor:
            handle = await executor.start_workflow("MetricWorkflow", "x")
            print(engine, (await handle.result()).value)
    with urllib.request.urlopen("http://127.0.0.1:9090/metrics") as page:
        print(page.read().decode())


asyncio.run(main(sys.argv[1]))
