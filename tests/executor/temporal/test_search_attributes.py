"""Runs can be searched by this package's attributes and by the caller's."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import InvalidArguments
from mcp_agent.executor.temporal.executor import TemporalExecutor
from mcp_agent.executor.temporal.search_attributes import key_of, own_attributes
from mcp_agent.executor.workflow import Workflow
from tests.support import until

pytestmark = pytest.mark.anyio
app = MCPApp("searched")


@app.workflow
class SearchedChild(Workflow[str]):
    @app.workflow_run
    async def run(self) -> str:
        return self.id


@app.workflow
class Searched(Workflow[str | None]):
    @app.workflow_run
    async def run(self) -> str | None:
        return (await workflow.execute_child_workflow(SearchedChild)).value


@pytest.fixture
async def executor(temporal: Path) -> AsyncGenerator[TemporalExecutor, None]:
    app.use(Settings(execution_engine="temporal", temporal={"data_dir": temporal}))
    async with app.open_executor(worker=True) as opened:
        assert isinstance(opened, TemporalExecutor)
        yield opened


async def found(executor: TemporalExecutor, query: str, *ids: str | None) -> bool:
    """As soon as the listing, which is a moment late, has exactly these."""

    async def there() -> bool:
        return {run.id async for run in executor.client.list_workflows(query)} == set(ids)

    return await until(there)


@pytest.mark.promise("issue: search attributes mcp_agent_workflow, mcp_agent_owner")
async def test_runs_children_and_scheduled_runs_are_found_by_their_workflow_and_owner(executor: TemporalExecutor):
    handle = await executor.start_workflow(Searched, search_attributes={"mcp_agent_owner": "me"})
    child = (await handle.result()).value
    assert await found(executor, "mcp_agent_workflow = 'Searched' AND mcp_agent_owner = 'me'", handle.id)
    assert await found(executor, "mcp_agent_workflow = 'SearchedChild'", child)
    schedule = await executor.create_schedule("searched", SearchedChild, every=timedelta(hours=1))
    await schedule.trigger()

    async def scheduled() -> str | None:
        return next(iter((await schedule.describe()).recent_runs), None)

    assert await found(executor, "mcp_agent_workflow = 'SearchedChild'", child, await until(scheduled))
    await schedule.delete()


async def test_an_attribute_that_the_namespace_does_not_have_is_refused(executor: TemporalExecutor):
    with pytest.raises(InvalidArguments, match="nothing_like_it"):
        await executor.start_workflow(Searched, search_attributes={"nothing_like_it": 5})


@pytest.mark.promise("issue: search attributes, where the namespace has them")
async def test_where_nobody_may_ask_runs_are_started_without(executor: TemporalExecutor, monkeypatch: pytest.MonkeyPatch):
    async def refuse(*_: Any, **__: Any) -> None:
        raise RPCError("not for you", RPCStatusCode.PERMISSION_DENIED, b"")

    monkeypatch.setattr(executor.client.operator_service, "list_search_attributes", refuse)
    assert len((await own_attributes(executor.client, add=True)).of("Searched")) == 0


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (True, SearchAttributeKey.for_bool("x")),
        (1, SearchAttributeKey.for_int("x")),
        (1.5, SearchAttributeKey.for_float("x")),
        ("a", SearchAttributeKey.for_keyword("x")),
        (["a"], SearchAttributeKey.for_keyword_list("x")),
        (datetime(2026, 1, 1, tzinfo=UTC), SearchAttributeKey.for_datetime("x")),
    ],
)
def test_a_value_has_the_type_of_its_python_class(value: Any, key: SearchAttributeKey[Any]):
    assert key_of("x", value) == key
