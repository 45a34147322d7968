"""Several servers behind one address, without sticky sessions: each client's requests go to one after the other."""

import asyncio
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from mcp_agent.executor.temporal.binary import find_or_make_binary
from tests.attacks.balancer import CLIENT, balancing
from tests.server.tasks_client import Wire
from tests.support import desk_in

pytestmark = pytest.mark.anyio

CLIENTS = 200
CONFIG = """
execution_engine: temporal
temporal: {{binary: {binary}, data_dir: {temporal}}}
server: {{app: "tests.attacks.desk:app", state_keys: ["{key}"], wait_budget_seconds: 20}}
logger: {{level: warning}}
"""


class OneOfMany(Wire):
    """One client, which tells the balancer who it is."""

    number: int = 0

    def _request(self, method: str, params: Any, name: str | None) -> dict[str, Any]:
        request = super()._request(method, params, name)
        return {**request, "headers": {**request["headers"], CLIENT.decode(): str(self.number)}}

    async def run(self, name: str, more: dict[str, Any]) -> dict[str, Any]:
        answer = await self.call("tools/call", {"name": name, **more}, name)
        assert "error" not in answer, answer
        assert not answer["result"].get("isError"), answer
        return answer["result"]


async def waits(client: OneOfMany) -> None:
    """Runs, and asks for the status until there is a result."""
    arguments = {"run_parameters": {"lines": [{"article": "pen", "count": client.number % 99 + 1}]}, "wait_seconds": 0}
    run = (await client.run("workflows-Order-run", {"arguments": arguments}))["structuredContent"]
    while run["status"] != "completed":
        asked = {"arguments": {"run_id": run["run_id"], "wait_seconds": 20}}
        run = (await client.run("workflows-Order-get_status", asked))["structuredContent"]
    assert run["result"] == client.number % 99 + 1


async def asks(client: OneOfMany) -> None:
    """Is asked by one server, and answers the other."""
    arguments = {"arguments": {"workflow_id": f"asked-{client.number}"}}
    result, answers = await client.run("workflows-Ask-run", arguments), dict[str, Any]()
    while result["resultType"] != "input_required":  # it did not get that far within the wait: the same key is the same run
        assert result["structuredContent"]["status"] in ("queued", "running")
        result = await client.run("workflows-Ask-run", arguments)
    while result["resultType"] == "input_required":
        answers = {key: {"action": "accept", "content": {"answer": f"word {client.number}"}} for key in result["inputRequests"]}
        again = {**arguments, "inputResponses": answers, "requestState": result["requestState"]}
        result = await client.run("workflows-Ask-run", again)
    assert answers
    assert result["structuredContent"]["run_id"] == f"Ask.asked-{client.number}"
    assert result["structuredContent"]["result"] == f"word {client.number}"


async def follows(client: OneOfMany) -> None:
    """Has a task, which it asks about and answers at alternating servers."""
    task_id = (await client.run("workflows-Ask-run", {"arguments": {}}))["taskId"]
    answered: set[str] = set()
    while True:
        task = (await client.call("tasks/get", {"taskId": task_id}, task_id))["result"]
        if task["status"] == "completed":
            break
        for key in (task.get("inputRequests") or {}).keys() - answered:
            answered.add(key)
            responses = {key: {"action": "accept", "content": {"answer": f"word {client.number}"}}}
            update = await client.call("tasks/update", {"taskId": task_id, "inputResponses": responses}, task_id)
            assert "error" not in update, update
        await anyio.sleep(task["pollIntervalMs"] / 1000)
    assert task["result"]["structuredContent"]["result"] == f"word {client.number}"


@pytest.mark.promise("fault: two servers behind a load balancer without sticky sessions, under 200 clients")
async def test_clients_of_a_balancer_need_no_server_of_their_own(tmp_path: Path, temporal: Path):
    binary = await find_or_make_binary(None, print)
    config = CONFIG.format(binary=binary, temporal=temporal, key="0123456789abcdef0123456789abcdef")
    async with desk_in(tmp_path, binary, config, {}) as desk:
        desk.environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        servers = [await desk.serve() for _ in range(2)]
        limits = httpx2.Limits(max_connections=CLIENTS)
        async with (
            balancing([server.base for server in servers]) as (base, balancer),
            httpx2.AsyncClient(timeout=180, limits=limits) as http,
        ):
            kinds = ((waits, {}), (asks, {"elicitation": {"form": {}}}), (follows, None))

            async def client(number: int) -> None:
                act, capabilities = kinds[number % 3]
                one = OneOfMany(http, f"{base}/mcp", **({} if capabilities is None else {"capabilities": capabilities}))
                one.number = number
                await act(one)

            await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    assert min(balancer.served.values()) > CLIENTS / 2
