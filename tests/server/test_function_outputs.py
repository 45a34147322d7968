"""The data that functions give as tools, and its schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import jsonschema
import pytest
from mcp import Client
from mcp_types import CallToolResult, ImageContent, TextContent
from pydantic import BaseModel, ConfigDict, PlainSerializer

from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import DefinitionError
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.server.app_server import AgentServer
from mcp_agent.server.function_outputs import FunctionOutput
from mcp_agent.server.output_schemas import run_output
from tests.support import call, refusal


class Progress(BaseModel):
    """Named as a type of ours is."""

    steps: int


class Row(BaseModel):
    name: str | None = None


class Tree(BaseModel):
    children: list[Tree] = []


@dataclass
class Point:
    x: int


class Opaque:
    pass


@pytest.mark.parametrize(
    ("returned", "value", "data", "not_of_it"),
    [
        (int, 3, {"result": 3}, {"result": "3"}),
        (str, "three", {"result": "three"}, {"result": 3}),
        (type(None), None, {"result": None}, {"result": 0}),
        (list[int], [3], {"result": [3]}, {"result": ["3"]}),
        (Point | None, Point(1), {"result": {"x": 1}}, {"result": {}}),
        (Point, Point(1), {"x": 1}, {"x": "1"}),
        (dict[str, Any], {"x": 1}, {"x": 1}, []),
        (dict[str, int], {"x": 1}, {"x": 1}, {"x": "1"}),
        (Progress, Progress(steps=1), {"steps": 1}, {"steps": "1"}),
        (Tree, Tree(children=[Tree()]), {"children": [{"children": []}]}, {"children": [1]}),
        (list[Tree], [Tree()], {"result": [{"children": []}]}, {"result": [1]}),
    ],
)
def test_a_value_is_data_that_fits_the_schema(returned: Any, value: Any, data: Any, not_of_it: Any):
    output = FunctionOutput.of("gives", returned)
    assert output.schema is not None
    assert output.schema["type"] == "object"
    assert output.result(value).structured_content == data
    for fits in (data, {"run_id": "r", "status": "running"}, {"code": "invalid", "message": "No.", "retryable": False}):
        jsonschema.validate(fits, output.schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(not_of_it, output.schema)


@pytest.mark.parametrize("returned", [Any, object, TextContent, list[TextContent | ImageContent], CallToolResult, Opaque])
def test_there_is_no_schema_of_what_is_no_data(returned: Any):
    output = FunctionOutput.of("gives", returned)
    assert (output.schema, output.wrapped) == (None, False)


@pytest.mark.parametrize(
    ("returned", "value", "why"),
    [
        (int, "three", "`$.result`: 'three' is not of type 'integer'"),
        (str, None, "`$.result`: None is not of type 'string'"),
        (Progress, None, "`$`: None is not of type 'object'"),
        (dict[str, int], [3], "`$`: [3] is not of type 'object'"),
        (dict[str, float], {"x": float("nan")}, "`$.x`: 'NaN' is not of type 'number'"),
        (Tree, {"children": [{"children": 1}]}, "`$.children[0].children`: 1 is not of type 'array'"),
    ],
)
def test_a_value_of_another_type_is_a_refusal_that_says_so(returned: Any, value: Any, why: str):
    result = FunctionOutput.of("gives", returned).result(value)
    assert result.is_error
    told = f"`gives` returned what does not fit its return type: {why}"
    assert result.structured_content == {"code": "unfit_result", "message": told, "retryable": False}


@dataclass
class Priced:
    price: Annotated[int, PlainSerializer(str)]


@pytest.mark.parametrize(
    ("returned", "value", "data"),
    [
        (list[int], (1, 2), {"result": [1, 2]}),
        (Progress, {"steps": 1}, {"steps": 1}),
        (float, 1, {"result": 1}),
        (Priced, Priced(1), {"price": "1"}),
        (list[Row], [Row()], {"result": [{"name": None}]}),
    ],
)
def test_a_value_that_is_not_quite_of_its_type_is_given_where_its_data_fits(returned: Any, value: Any, data: Any):
    output = FunctionOutput.of("gives", returned)
    given = output.result(value).structured_content
    assert given == data
    jsonschema.validate(given, output.schema or {})


@pytest.mark.anyio
async def test_mcp_content_of_a_durable_function_is_content():
    app = MCPApp("functions", settings=Settings(execution_engine="asyncio"))
    picture = ImageContent(data="aGk=", mime_type="image/png")

    @app.tool(durable=True)
    async def draws() -> list[TextContent | ImageContent]:  # pyright: ignore[reportUnusedFunction]
        return [TextContent(text="a picture"), picture]

    @app.tool(durable=True)
    async def answers() -> CallToolResult:  # pyright: ignore[reportUnusedFunction]
        return CallToolResult(content=[picture], is_error=True)

    async with AgentServer.open(app) as server, Client(server.mcp) as client:
        assert (await client.call_tool("draws", {})).content == [TextContent(text="a picture"), picture]
        answered = await client.call_tool("answers", {})
        assert (answered.content, answered.is_error) == ([picture], True)


@pytest.mark.anyio
async def test_a_function_may_give_a_workflow_result():
    app = MCPApp("functions", settings=Settings(execution_engine="asyncio"))

    @app.tool
    def counts(error: str | None) -> WorkflowResult[int]:  # pyright: ignore[reportUnusedFunction]
        return WorkflowResult(value=3, error=error)

    async with AgentServer.open(app) as server, Client(server.mcp) as client:
        assert await call(client, "counts", error=None) == {"result": 3}
        told = {"code": "workflow_error", "message": "`counts` failed: it broke", "retryable": False}
        assert await refusal(client, "counts", error="it broke") == told


@pytest.mark.anyio
async def test_a_number_that_json_readers_refuse_is_told():
    app = MCPApp("functions", settings=Settings(execution_engine="asyncio"))

    @app.tool
    def huge() -> int:  # pyright: ignore[reportUnusedFunction]
        return 10**5_000

    async with AgentServer.open(app) as server, Client(server.mcp) as client:
        told = await refusal(client, "huge")
        assert told["code"] == "unserializable_result"


class Holds(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    opaque: Opaque | None = None


@pytest.mark.anyio
async def test_what_a_model_has_that_has_no_schema_is_told_before_anything_is_served():
    app = MCPApp("functions")

    @app.workflow
    class Takes(Workflow[str]):  # pyright: ignore[reportUnusedClass]
        @app.workflow_run
        async def run(self, held: Holds) -> str: ...

    with pytest.raises(DefinitionError, match=r"Takes\.run` takes what has no JSON form.*Opaque"):
        async with AgentServer.open(app):
            pytest.fail("it was served")


def test_what_a_workflow_gives_may_be_named_as_a_type_of_ours():
    app = MCPApp("functions")

    @app.workflow
    class Gives(Workflow[Progress]):
        @app.workflow_run
        async def run(self) -> WorkflowResult[Progress]:
            return WorkflowResult(value=Progress(steps=1))

    schema = run_output(app.workflows["Gives"])
    run = {"progress": {"done": 1.0, "total": None, "message": None}, "result": {"steps": 1}}
    jsonschema.validate(run, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**run, "result": {"steps": "1"}}, schema)
