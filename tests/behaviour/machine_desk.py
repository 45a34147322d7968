"""The workflow that random conversations are held with."""

from datetime import timedelta
from typing import Any

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.step_context import current_step
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal

app = MCPApp("machine")
FAST = workflow.RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=3)


@app.workflow_task(name="machine.step", retry_policy=FAST)
async def step(how: str) -> str:
    running = current_step()
    assert running is not None
    if how == "fails":
        raise WorkflowApplicationError("no", type="Refused", non_retryable=True)
    if how == "flaky" and running.attempt < 3:
        raise ConnectionError("not yet")
    return f"{how} {running.attempt}"


@app.workflow
class Machine(Workflow[Any]):
    """Notes what is said to it."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.total = 0
        self.ending: str | None = None
        self.asking = self.asked = 0

    @workflow.signal
    async def note(self, name: str, number: int) -> None:
        self.said.append([name, number])

    @workflow.signal
    def stop(self, how: str) -> None:
        self.ending = how

    @workflow.query
    def notes(self) -> list[Any]:
        return [self.said, self.total]

    @workflow.update
    async def add(self, number: int) -> int:
        self.total += number
        return self.total

    @add.validator
    def check(self, number: int) -> None:
        if number < 0:
            raise ValueError("only upwards")

    @workflow.update
    async def step(self, how: str) -> str:
        self.said.append(await step(how))
        return self.said[-1]

    @workflow.update
    async def nap(self) -> str:
        await workflow.sleep(0.02)
        return "rested"

    @workflow.update
    async def ask(self) -> int:
        """Has the run ask for a word."""
        self.asking += 1
        return self.asking

    def _has_news(self) -> bool:
        return self.ending is not None or self.asking > self.asked

    @app.workflow_run
    async def run(self) -> WorkflowResult[Any]:
        while True:
            await workflow.wait_condition(self._has_news)
            if self.ending is not None:
                break
            self.asked += 1
            signal = Signal("word", payload_type=str)
            self.said.append(await app.context.executor.signal_bus.wait_for_signal(signal))
        if self.ending == "fails":
            raise LookupError("lost")
        if self.ending == "error":
            return WorkflowResult(error="gave up")
        return WorkflowResult(value=self.total)


def make() -> MCPApp:
    """Another app with the same workflow, so that two engines can be open at once."""
    other = MCPApp("machine")
    other._workflows.update(app.workflows)
    other._tasks.update(app.tasks)
    return other
