"""An app before and after a change that its runs do not survive, and what it does survive."""

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow

before, after = MCPApp("before"), MCPApp("after")


@before.workflow_task(name="gate.pack")
async def pack(what: str) -> str:
    return what


@before.workflow_task(name="gate.send")
async def send(what: str) -> str:
    return what


@before.workflow(name="Parcel")
class Parcel(Workflow[str]):
    @before.workflow_run
    async def run(self, ask: bool) -> str:
        done = await send(await pack("tea"))
        if ask:
            await before.context.elicit("Which way?")
        return done


@after.workflow(name="Parcel")
class ChangedParcel(Workflow[str]):
    @after.workflow_run
    async def run(self, ask: bool) -> str:
        done = await pack(await pack("tea"))
        return done if ask else await send(done)


@before.workflow
class Withdrawn(Workflow[None]):
    """Is in the app of before only."""

    @before.workflow_run
    async def run(self) -> None:
        await workflow.sleep(3600)


@before.workflow
class Same(Workflow[str]):
    @before.workflow_run
    async def run(self) -> str:
        return await pack("same")


@after.workflow(name="Same")
class StillSame(Workflow[str]):
    @after.workflow_run
    async def run(self) -> str:
        return await pack("same")
