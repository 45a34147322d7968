"""Code blocks of the specification, word for word, in functions: `after` is written for two processes."""
# pyright: basic

from mcp_agent.executor.temporal import create_temporal_worker_for_app
from tests.specification.quick_start_worker_as_written import MyWorkflow, app


# Section "Running Workflows"


async def before():
    async with app.run():
        workflow = MyWorkflow()
        result = await workflow.run("input")
        print(result.value)


# Section "Running Workflows"


async def after_in_worker():
    # Start worker (separate process)
    async with create_temporal_worker_for_app(app) as worker:
        await worker.run()


async def after_in_main():
    # Run workflow
    async with app.run():
        executor = app.context.executor
        handle = await executor.start_workflow("MyWorkflow", "input")
        result = await handle.result()
        print(result)
