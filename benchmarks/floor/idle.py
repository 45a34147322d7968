"""An idle process with a bare MCP server over stdio and a bare Temporal worker: `ADDRESS`."""

import asyncio
import os

from mcp.server.stdio import stdio_server
from temporalio.client import Client
from temporalio.worker import Worker

from benchmarks.floor.flows import FloorTrivial, step
from benchmarks.floor.server import build


async def main() -> None:
    client = await Client.connect(os.environ["FLOOR_ADDRESS"])
    server = build()
    async with Worker(client, task_queue="floor-idle", workflows=[FloorTrivial], activities=[step]), stdio_server() as (r, w):
        await server.run(r, w, server.create_initialization_options())


asyncio.run(main())
