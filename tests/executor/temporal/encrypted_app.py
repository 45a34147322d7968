"""An app whose runs put a canary wherever Temporal stores something."""

from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from temporalio import workflow as temporal_workflow

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.step_context import current_step
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal

CANARY = "canary-of-the-patient"
RETRIED = workflow.RetryPolicy(initial_interval=timedelta(milliseconds=20))
app = MCPApp("encrypted")


@app.workflow_task(name="encrypted.note", retry_policy=RETRIED)
async def note(text: str) -> str:
    """Fails first, with the text in its message and heartbeat."""
    step = current_step()
    assert step is not None
    if step.attempt == 1:
        workflow.heartbeat(text)
        raise ConnectionError(f"{text} not yet")
    return f"{text} noted, {workflow.heartbeat_details()}"


@app.workflow_task(name="encrypted.hold", retry_policy=workflow.RetryPolicy(initial_interval=timedelta(hours=1)))
async def hold(text: str) -> None:
    raise ConnectionError(f"{text} is held")


@app.workflow_task(name="encrypted.refuse")
async def refuse(text: str) -> None:
    raise WorkflowApplicationError(f"{text} is refused", {"of": text}, type="Refused", non_retryable=True)


@app.workflow_task(name="encrypted.recall")
async def recall() -> list[str]:
    """What the run's history holds of `note`, as a conversation is rebuilt from it."""
    step = current_step()
    assert step is not None
    assert step.history is not None
    found = [text async for _, *texts in step.history.completed("encrypted.note") for text in texts]
    return [text.decode() for text in [*found, *[text async for text in step.history.arguments("encrypted.note")]]]


@app.workflow
class Child(Workflow[str]):
    @app.workflow_run
    async def run(self, text: str) -> str:
        if "bad" in text:
            raise WorkflowApplicationError(f"{text} failed", type="BadChild", non_retryable=True)
        return f"{text} of child"


@app.workflow
class Patient(Workflow[Any]):
    """Two runs of one chain: the first takes updates, signals, answers and queries, the second ends."""

    def __init__(self) -> None:
        self.letters: list[str] = []

    @workflow.signal
    def letter(self, text: str) -> None:
        self.letters.append(text)

    @workflow.update
    async def write(self, text: str) -> str:
        if "bad" in text:
            raise WorkflowApplicationError(f"{text} is no letter", type="NoLetter")
        self.letters.append(text)
        return f"{text} written"

    @workflow.query
    def look(self, text: str) -> list[str]:
        if "bad" in text:
            raise LookupError(f"{text} is not there")
        return [*self.letters, text]

    @app.workflow_run
    async def run(self, text: str, known: list[str] | None = None) -> Any:
        bus = app.context.executor.signal_bus
        if known is None:
            noted = await note(text)
            child = await workflow.execute_child_workflow(Child, text, memo={"note": text})
            answer = await bus.wait_for_signal(Signal("go", message=f"May {text} go?"))
            await workflow.wait_condition(lambda: len(self.letters) == 2)
            workflow.continue_as_new(args=[text, [noted, child.value, answer, *self.letters]])
        early = await bus.wait_for_signal(Signal("early"))  # came to the first run, and has been handed over
        return WorkflowResult(value=[*known, early], metadata={"of": text})


@app.workflow
class Recalls(Workflow[list[str]]):
    @app.workflow_run
    async def run(self, text: str) -> list[str]:
        await note(text)
        return await recall()


@app.workflow
class Fails(Workflow[Any]):
    """Fails in the way it is told."""

    @app.workflow_run
    async def run(self, how: str, text: str) -> Any:
        match how:
            case "step":
                await refuse(text)
            case "chain":
                try:
                    await refuse(text)
                except WorkflowApplicationError as error:
                    raise LookupError(f"{text} is gone") from error
            case "child":
                await workflow.execute_child_workflow(Child, f"{text} bad")
            case "raw":  # the errors of Temporal's own calls hold the stored failure
                await temporal_workflow.execute_activity("encrypted.refuse", text, start_to_close_timeout=timedelta(seconds=5))
            case "raw child":
                await temporal_workflow.execute_child_workflow("Child", f"{text} bad")
            case "held":
                await hold(text)
        return WorkflowResult(error=f"{text} is an error")


class Dose(BaseModel):
    dose: str


@app.workflow
class Asks(Workflow[str]):
    """Asks a person in a form, logs, and tells how far it is."""

    @app.workflow_run
    async def run(self, text: str) -> str:
        app.context.logger.info(f"{text} is logged")
        app.context.report_progress(1, 2, f"{text} is half done")
        answer = await app.context.elicit(f"How much {text}?", Dose)
        return f"{text} of {answer.data.dose}"
