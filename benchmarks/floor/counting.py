"""The workflow of `benchmarks/counting.py` with bare temporalio."""

from datetime import timedelta

from temporalio import activity, workflow


@activity.defn(name="counting.step")
async def step(number: int) -> int:
    return number


@workflow.defn
class Count:
    @workflow.run
    async def run(self, steps: int, raw: bool) -> int:
        total = 0
        for number in range(steps):
            total += await workflow.execute_activity(step, number, start_to_close_timeout=timedelta(minutes=10))
        return total
