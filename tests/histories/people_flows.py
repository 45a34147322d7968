"""The code of recorded runs that ask people: as `flows`, never change what is here, add to it."""

import asyncio
from typing import Any

from pydantic import BaseModel

from mcp_agent import workflow
from mcp_agent.executor.workflow import Workflow
from tests.histories.flows import app


class Choice(BaseModel):
    colour: str
    count: int = 1


@app.workflow
class People(Workflow[list[Any]]):
    """Questions that are answered, declined, expired, withdrawn, and open when the run continues as new."""

    @app.workflow_run
    async def run(self, rounds: int) -> list[Any]:
        open_question = asyncio.create_task(app.context.elicit("Still there?", name="left open"))
        both = (
            app.context.elicit("Which colour?", Choice, name="choice"),
            app.context.elicit_url("Please sign in.", "https://login.example", name="address"),
        )
        done: list[Any] = [[answer.action, answer.data] for answer in await asyncio.gather(*both)]
        late = await app.context.elicit("Quick?", Choice, name="quick", timeout=0.02, default=Choice(colour="red"))
        done.append([late.action, late.data, late.expired])
        try:
            async with workflow.timeout(0.02):
                await app.context.elicit("Quicker?", bool, name="quicker")
        except TimeoutError:
            done.append("gave up")
        if rounds:
            workflow.continue_as_new(rounds - 1)
        return [*done, (await open_question).action]
