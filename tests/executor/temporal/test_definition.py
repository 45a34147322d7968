"""Temporal's definitions of our classes."""

from pathlib import Path

import pytest
from temporalio.workflow import _Definition

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import DefinitionError
from mcp_agent.executor.temporal import create_temporal_worker_for_app
from mcp_agent.executor.temporal.definition import install
from mcp_agent.executor.workflow import Workflow

pytestmark = pytest.mark.anyio
app = MCPApp(name="defined")


@app.workflow
class Plain(Workflow[str]):
    @app.workflow_run
    async def run(self) -> str:
        return "plain"


@app.workflow
class Extended(Plain):
    @app.workflow_run
    async def run(self) -> str:
        return "extended"


def test_a_workflow_that_extends_another_one_has_a_definition_of_its_own():
    install()
    definitions = [_Definition.must_from_class(cls) for cls in (Plain, Extended, Plain)]
    assert [(made.name, made.cls) for made in definitions] == [("Plain", Plain), ("Extended", Extended), ("Plain", Plain)]


class Bare:
    """Nothing that could be sent."""


async def test_a_worker_is_refused_whose_handler_takes_what_cannot_be_sent(temporal: Path):
    odd = MCPApp("odd")
    odd.use(Settings(execution_engine="temporal", temporal={"data_dir": temporal}))

    @odd.workflow
    class Listens(Workflow[str]):
        @workflow.signal
        def hear(self, what: Bare) -> None: ...

        @odd.workflow_run
        async def run(self) -> str: ...

    with pytest.raises(DefinitionError, match=r"Listens\.hear` takes what has no JSON form.*Bare"):
        async with create_temporal_worker_for_app(odd):
            pytest.fail("it was served")
