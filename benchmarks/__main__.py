"""`python -m benchmarks [NAME ...]`: measures, and prints the table of ratios."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import warnings
from datetime import date

from benchmarks import agents, memory, model, model_calls, running, serving
from benchmarks.harness import Row, bench, table

FAMILIES = {
    "start": serving.start_up,
    "stdio": serving.calls_over_stdio,
    "http": serving.calls_over_http,
    "run": running.run_tool,
    "at_once": running.at_once,
    "status": running.status,
    "steps": running.ten_steps,
    "history": running.history,
    "memory": memory.memory,
    "facade": model.facade,
    "sandbox": model.sandbox,
    "in_process": model.in_process,
    "replay": model.replay,
    "tool_history": agents.history_of_tools,
    "model_step": model_calls.in_the_step,
    "model_run": model_calls.in_a_worker,
    "many_agents": model_calls.many_agents,
}


async def main(names: list[str]) -> None:
    rows: list[Row] = []
    async with bench() as made:
        for name in names or FAMILIES:
            print(f"measuring {name}", file=sys.stderr)
            rows += await FAMILIES[name](made)
    print(f"{date.today():%Y-%m-%d}, {os.cpu_count()} cores\n")
    print(table(rows))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    asyncio.run(main(sys.argv[1:]))
