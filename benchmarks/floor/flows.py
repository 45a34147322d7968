"""The same workflows with bare temporalio."""

from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity, workflow


@dataclass
class Result:
    value: str


@activity.defn(name="floor.step")
async def step(number: int) -> int:
    return number


@workflow.defn
class FloorTrivial:
    @workflow.run
    async def run(self, name: str) -> Result:
        return Result(f"hello {name}")


@workflow.defn
class FloorTen:
    @workflow.run
    async def run(self) -> int:
        total = 0
        for number in range(10):
            total += await workflow.execute_activity(step, number, start_to_close_timeout=timedelta(minutes=10))
        return total
