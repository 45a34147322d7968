import asyncio
from mcp_agent.app import MCPApp

app = MCPApp(name="my_agent")

async def main():
    async with app.run() as agent_app:
        executor = agent_app.executor

        # Start workflow
        handle = await executor.start_workflow(
            "MyWorkflow",
            "Hello Temporal!"
        )

        # Wait for result
        result = await handle.result()
        print(f"Result: {result}")

if __name__ == "__main__":
    asyncio.run(main())
