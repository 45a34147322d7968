"""A workflow of steps, one after the other; `floor/counting.py` is the same with bare temporalio."""

from datetime import timedelta

import temporalio.workflow

from benchmarks.greeting import app
from mcp_agent.executor.workflow import Workflow, WorkflowResult


@app.workflow_task(name="counting.step")
async def step(number: int) -> int:
    return number


@app.workflow
class Count(Workflow[int]):
    """As many steps as asked, by this package's call or by Temporal's own."""

    @app.workflow_run
    async def run(self, steps: int, raw: bool) -> WorkflowResult[int]:
        total = 0
        for number in range(steps):
            if raw:
                total += await temporalio.workflow.execute_activity(
                    "counting.step", number, result_type=int, start_to_close_timeout=timedelta(minutes=10)
                )
            else:
                total += await step(number)
        return WorkflowResult(value=total)
