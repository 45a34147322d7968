"""The workflow of `benchmarks/greeting.py` with bare temporalio."""

from temporalio import workflow


@workflow.defn
class Greet:
    @workflow.run
    async def run(self, name: str) -> str:
        return f"hello {name}"
