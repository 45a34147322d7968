"""What agents cost: the bytes of a long run's history, the CPU of a model call, the throughput of many agents at once."""

from __future__ import annotations

import sys
from collections import Counter

from benchmarks.desk import app
from benchmarks.floor import fifty_tools
from benchmarks.harness import Bench, Row
from mcp_agent.config import Settings

TURNS = 100


def _script(turns: int) -> str:
    call = '{name: fifty_search_7, arguments: {query: "question {turn}"}}'
    return (
        f"agents:\n  researcher:\n    - {{turn: {turns}, text: That is all.}}\n"
        f"    - {{any_turn: true, text: Let me look further., tool_calls: [{call}]}}\n"
    )


async def history_of_tools(bench: Bench) -> list[Row]:
    """A conversation of many turns, each with a tool's result."""
    script = bench.folder / "research.yaml"
    script.write_text(_script(TURNS))
    settings = Settings(
        execution_engine="temporal",
        temporal={"binary": bench.binary, "data_dir": bench.folder / "data"},
        scripted={"file": script},
        mcp={"servers": {"fifty": {"command": sys.executable, "args": ["-m", fifty_tools.__name__]}}},
    )
    app.use(settings)
    async with app.open_executor(worker=True) as executor:
        handle = await executor.start_workflow("Research", TURNS)
        said = (await handle.result()).value or 0
        events = (await handle.temporal.fetch_history()).events  # pyright: ignore[reportAttributeAccessIssue]
    sizes: Counter[str] = Counter()
    setup = 0
    for event in events:
        name = event.WhichOneof("attributes").removesuffix("_event_attributes")
        sizes[name] += event.ByteSize()
        if name == "activity_task_completed" and not setup:
            setup = event.ByteSize()  # the list of tools, which the first call carries again as its setup
    size = sum(sizes.values())
    for name, one in sizes.most_common(12):
        print(f"  {one:>9,} {name}", file=sys.stderr)
    floor = said + setup
    what = f"history of {TURNS} turns with 5 KB tool results and {fifty_tools.TOOLS} tools"
    return [Row(what, f"{size:,} B", f"{floor:,} B of messages and setup", size / floor, 1.3)]
