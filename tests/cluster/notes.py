"""What the steps of the app note of themselves, and what Temporal has of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.cluster.cluster import Cluster
from tests.support import until


class Notes:
    """What was done.

    Args:
        file: Where each step notes that it was done.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    @property
    def lines(self) -> list[str]:
        return self.file.read_text().splitlines() if self.file.exists() else []

    async def check(self, cluster: Cluster, expected: set[tuple[str, int]]) -> None:
        """Every step was done, some perhaps twice; and Temporal has started each run once."""
        done = {(run, int(number)) for run, number in (line.split() for line in self.lines)}
        assert done == expected
        once = Counter({run for run, _ in expected})
        temporal = await cluster.client()
        started: Counter[str] = Counter()

        async def listed() -> bool:
            nonlocal started
            started = Counter([run.id async for run in temporal.list_workflows("WorkflowType IN ('Counts', 'Asks')")])
            return all(run in started for run in once)

        await until(listed)  # Temporal lists runs a little later
        assert {run: started[run] for run in once} == once
