"""`python -m benchmarks [NAME ...]`: measures, and prints the table of ratios."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import warnings
from datetime import date

from benchmarks import agents, clients, memory, model, model_calls, observing, production, running, serving
from benchmarks.harness import Row, bench, table

FAMILIES = {
    "start": serving.start_up,
    "stdio": serving.calls_over_stdio,
    "http": serving.calls_over_http,
    "http_status": clients.http_status,
    "tool_list": clients.tool_list,
    "waits": clients.waits,
    "told": clients.told,
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
    "observed": observing.observed_steps,
    "encryption": production.encryption,
    "two_workers": production.two_workers,
    "open_runs": production.open_runs,
    "cached_runs": production.cached_runs,
}


async def main(names: list[str]) -> None:
    unknown = [name for name in names if name not in FAMILIES]
    if unknown:
        sys.exit(f"there is no benchmark `{unknown[0]}`: give some of {', '.join(FAMILIES)}, or none for all")
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
