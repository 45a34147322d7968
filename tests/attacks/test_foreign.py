"""What is another caller's looks like what is not there, whichever way it is asked for."""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from mcp_agent.config import Settings
from mcp_agent.observability.endpoints import PROBES
from mcp_agent.server.app_server import AgentServer
from tests.attacks import desk
from tests.mcp.able_server import serving
from tests.server.guarded import INITIALIZE, Guarded, bearer, guarded
from tests.server.tasks_client import Wire
from tests.support import call

pytestmark = pytest.mark.anyio

ALL = ["workflows:read", "workflows:run", "workflows:cancel"]
CALLERS = {"ann": ALL, "mallory": ALL, "reader": ["workflows:read"], "nobody": []}
TOKENS = {name: f"the-token-of-{name}-alone" for name in CALLERS}
AUTH = {"tokens": [{"subject": name, "token": TOKENS[name], "scopes": scopes} for name, scopes in CALLERS.items()]}
MANY = [{}, {"max_workflow_tools": 0}]  # a set of tools for each workflow, and one for all


@pytest.fixture(params=MANY, ids=["own tools", "one set"])
async def server(request: pytest.FixtureRequest) -> AsyncGenerator[Guarded, None]:
    async with guarded(app=desk.make(), auth=AUTH, wait_budget_seconds=1, **request.param) as listening:
        yield listening


@dataclass
class Asked:
    """A caller that asks for a run by every way there is."""

    wire: Wire
    tools: dict[str, Any]

    async def about(self, run_id: str) -> dict[str, str]:
        """What each way says, with the id left out."""
        said: dict[str, Any] = {}
        for name, schema in self.tools.items():
            if "run_id" in schema["properties"]:
                more = {"payload": "word"} if name.endswith("resume") else {}
                said[name] = await self.wire.call("tools/call", {"name": name, "arguments": {"run_id": run_id, **more}}, name)
        for page in ("", "/transcript", "/log"):
            uri = f"run://{run_id}{page}"
            said[f"read {page}"] = await self.wire.call("resources/read", {"uri": uri}, uri)
        for method, more in {"tasks/get": {}, "tasks/cancel": {}, "tasks/update": {"inputResponses": {"word#1": {}}}}.items():
            said[method] = await self.wire.call(method, {"taskId": run_id, **more}, run_id)
        for argument in (run_id, run_id.partition(".")[2], run_id[:-3]):
            about = {"ref": {"type": "ref/resource", "uri": "run://{run_id}"}, "argument": {"name": "run_id", "value": argument}}
            said[f"complete {argument == run_id} {len(argument)}"] = await self.wire.call("completion/complete", about)
        async with self.wire.listening(taskIds=[run_id], resourceSubscriptions=[f"run://{run_id}"]) as heard:
            said["listen"] = heard.granted
        return {way: json.dumps(without_id(one)).replace(run_id, "ID") for way, one in said.items()}


def without_id(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "id"}


def http_of(name: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(timeout=20, headers=bearer(TOKENS[name]))


async def asked_by(server: Guarded, http: httpx2.AsyncClient) -> Asked:
    wire = Wire(http, f"{server.base}/mcp")
    tools = (await wire.call("tools/list", {}))["result"]["tools"]
    return Asked(wire, {tool["name"]: tool["inputSchema"] for tool in tools})


@pytest.mark.promise("fault: a foreign token on every tool, resource, completion, task and subscription looks like a missing run")
async def test_a_foreign_run_and_a_missing_one_are_told_in_the_same_bytes(server: Guarded):
    name = next(tool for tool in server.agent.tools.names if tool.endswith("run"))
    arguments: dict[str, Any] = {"workflow": "Ask"} if name == "workflows-run" else {}
    name = name if arguments else "workflows-Ask-run"
    async with server.client("http-legacy", TOKENS["ann"]) as ann:
        run_id = (await call(ann, name, **arguments))["run_id"]
        missing = run_id[:-6] + "a" * 6
        async with http_of("mallory") as http:
            mallory = await asked_by(server, http)
            foreign, none = await mallory.about(run_id), await mallory.about(missing)
            listed = await mallory.wire.call(
                "tools/call", {"name": "workflows-runs-list", "arguments": {}}, "workflows-runs-list"
            )
        assert foreign == none
        assert len(foreign) >= 13
        for way, said in foreign.items():
            assert way == "listen" or way.startswith("complete") or "not_found" in said or "not found" in said, (way, said)
            assert "word" not in said
        assert listed["result"]["structuredContent"]["runs"] == []
        async with http_of("ann") as http:
            own = await (await asked_by(server, http)).about(run_id)
        others = ("complete False", "Forever", "Order")
        assert not [way for way, said in foreign.items() if own[way] == said and not any(other in way for other in others)]


@pytest.mark.filterwarnings("ignore:resources/subscribe is removed")
@pytest.mark.promise("fault: a foreign token, in the era before 2026-07-28 and over SSE")
@pytest.mark.parametrize("way", ["http-legacy", "sse-legacy"])
async def test_a_session_tells_a_stranger_nothing(server: Guarded, way: str):
    name = "workflows-Ask-run" if "workflows-Ask-run" in server.agent.tools.names else "workflows-run"
    async with server.client(way, TOKENS["ann"]) as ann, server.client(way, TOKENS["mallory"]) as mallory:
        run_id = (await call(ann, name, **({} if "Ask" in name else {"workflow": "Ask"})))["run_id"]
        missing = run_id[:-6] + "a" * 6
        status = name.removesuffix("run") + "get_status"
        told = [(await mallory.call_tool(status, {"run_id": one})).model_dump_json() for one in (run_id, missing)]
        assert told[0].replace(run_id, missing) == told[1]
        for ask in (mallory.read_resource, mallory.session.subscribe_resource):
            errors: list[str] = []
            for one in (run_id, missing):
                with pytest.raises(MCPError) as raised:
                    await ask(f"run://{one}")
                errors.append(str(raised.value.error).replace(one, "ID"))
            assert errors[0] == errors[1]
            assert "not_found" in errors[0]


@pytest.mark.promise("fault: a token without the scope")
async def test_without_the_scope_each_way_says_which_is_lacking(server: Guarded):
    name = "workflows-Ask-run" if "workflows-Ask-run" in server.agent.tools.names else "workflows-run"
    arguments: dict[str, Any] = {} if "Ask" in name else {"workflow": "Ask"}
    async with http_of("reader") as http:
        reader = await asked_by(server, http)
        answer = await reader.wire.call("tools/call", {"name": name, "arguments": arguments}, name)
        assert "`workflows:run:Ask`" in json.dumps(answer)
    async with http_of("nobody") as http:
        nobody = await asked_by(server, http)
        about = {"ref": {"type": "ref/resource", "uri": "run://{run_id}"}, "argument": {"name": "run_id", "value": ""}}
        for asked in (
            nobody.wire.call("tools/call", {"name": "workflows-runs-list", "arguments": {}}, "workflows-runs-list"),
            nobody.wire.call("tools/call", {"name": "add", "arguments": {"a": 1}}, "add"),
            nobody.wire.call("tools/call", {"name": "later", "arguments": {"text": "x"}}, "later"),
            nobody.wire.call("prompts/get", {"name": "use-workflows"}, "use-workflows"),
            nobody.wire.call("completion/complete", about),
        ):
            assert "insufficient_scope" in json.dumps(await asked)


PATHS = [("POST", "/mcp"), ("GET", "/mcp"), ("DELETE", "/mcp"), ("GET", "/sse"), ("POST", "/messages/?session_id=" + "0" * 32)]


@pytest.mark.promise("fault: no token where there is auth, on every path")
async def test_without_a_token_every_path_is_closed():
    async with guarded(app=desk.make(), auth=AUTH) as server, httpx2.AsyncClient() as http:
        for method, path in PATHS:
            assert (await http.request(method, server.base + path, json=INITIALIZE)).status_code == 401
        for route in server.app.routes:
            path = getattr(route, "path", "")
            told = await http.get(server.base + path, follow_redirects=True)
            if path in PROBES:  # for whoever starts and restarts the process
                assert told.status_code in (200, 503)
            else:
                assert told.status_code in (401, 405), path


@pytest.mark.promise("fault: a server with auth that somebody mounts behind no gate")
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_with_auth_nobody_is_served_who_came_past_the_gate(mode: Any):
    app = desk.make()
    app.use(Settings.model_validate({"server": {"auth": AUTH}}))
    async with AgentServer.open(app) as server, serving(server.mcp.streamable_http_app()) as base:
        async with httpx2.AsyncClient(timeout=20) as http:
            wire = Wire(http, f"{base}/mcp")
            for method, params in (
                ("tools/list", {}), ("tools/call", {"name": "add", "arguments": {"a": 1}}), ("resources/read", {"uri": "run://x"}),
                ("tasks/get", {"taskId": "x"}), ("subscriptions/listen", {"notifications": {}}), ("server/discover", {}),
            ):  # fmt: skip
                error = await wire.error(method, params, params.get("name") or params.get("uri") or params.get("taskId"))
                assert error["data"]["code"] == "unauthorized"
            legacy = await http.post(f"{base}/mcp", json=INITIALIZE, headers={"Accept": "application/json, text/event-stream"})
            assert "unauthorized" in legacy.text
        async with Client(server.mcp, mode=mode) as own:  # no HTTP: whoever started the process
            assert (await own.list_tools()).tools
