"""A worker that is lost while it holds a downstream call open for a person."""

import sys
from pathlib import Path
from typing import Any

import pytest

from mcp_agent.config import Settings
from mcp_agent.executor.runs import Answer
from tests.behaviour import downstream_desk as desk
from tests.support import until

pytestmark = pytest.mark.anyio
ABLE = Path(__file__).parents[1] / "mcp" / "able_server.py"


@pytest.mark.promise("issue: a worker that is lost while a downstream server waits for a person: a named error, no hanging run")
@pytest.mark.parametrize(("era", "told"), [("legacy", "DownstreamAskLost: "), ("auto", "accept {'size': 'small'}")])
async def test_the_call_of_an_old_server_is_lost_with_its_worker_and_that_of_a_new_one_is_not(
    temporal: Path, era: str, told: str
):
    able = {"command": sys.executable, "args": [str(ABLE)], "protocol": era}
    desk.app.use(Settings(execution_engine="temporal", temporal={"data_dir": temporal}, mcp={"servers": {"able": able}}))
    async with desk.app.open_executor(worker=True) as first:
        handle = await first.start_workflow("Calls", "able", "ask", {})

        async def asked() -> Any:
            return (await handle.describe()).pending_inputs

        (request,) = await until(asked)
    async with desk.app.open_executor(worker=True) as second:
        await second.answer_run(handle.id, Answer(request_id=request.request_id, payload={"size": "small"}))
        result: Any = await second.get_handle(handle.id).result()
    assert result.value.startswith(told)
