"""A process that uses the embedded Temporal: prints where it is, and stays until its standard input ends."""

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

from mcp_agent.executor.temporal.dev_server import data_dir, ensure


async def main(binary: Path) -> None:
    async with ensure(data_dir(), binary, lambda line: print(line, file=sys.stderr)) as server:
        print(json.dumps(asdict(server)), flush=True)
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main(Path(sys.argv[1])))
