"""A client of the Tasks extension on the real SDK, and the 2026-07-28 wire without any SDK."""

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

import anyio
import httpx2
from mcp import Client
from mcp.client.context import ClientRequestContext
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp_types import CallToolResult, EmptyResult, InputRequest, Request, RequestParams, Result
from pydantic import ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel

EXTENSION = "io.modelcontextprotocol/tasks"
MODERN = "2026-07-28"
_INPUT: TypeAdapter[Any] = TypeAdapter(InputRequest)


class Seed(Result):
    """`CreateTaskResult` as a client reads it."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    ttl_ms: int | None
    poll_interval_ms: int | None = None
    status_message: str | None = None


class Told(Result):
    """A task as `tasks/get` tells of it."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    task_id: str
    status: str
    ttl_ms: int | None
    status_message: str | None = None
    poll_interval_ms: int | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    input_requests: dict[str, Any] | None = None


class _Params(RequestParams):
    task_id: str


class _Update(_Params):
    input_responses: dict[str, Any]


class _Get(Request[_Params, Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"
    params: _Params
    name_param = "taskId"


class _Cancel(Request[_Params, Literal["tasks/cancel"]]):
    method: Literal["tasks/cancel"] = "tasks/cancel"
    params: _Params
    name_param = "taskId"


class _Answer(Request[_Update, Literal["tasks/update"]]):
    method: Literal["tasks/update"] = "tasks/update"
    params: _Update
    name_param = "taskId"


async def get(client: Client, task_id: str) -> Told:
    return await client.session.send_request(_Get(params=_Params(task_id=task_id)), Told)  # type: ignore[arg-type]


async def cancel(client: Client, task_id: str) -> None:
    await client.session.send_request(_Cancel(params=_Params(task_id=task_id)), EmptyResult)  # type: ignore[arg-type]


async def update(client: Client, task_id: str, **responses: Any) -> None:
    """Answers by key; `#` cannot stand in a keyword, so `verdict_1` is `verdict#1`, and `verdict_1_2` its second try."""
    keyed = {key.replace("_", "#", 1).replace("_", "/"): response for key, response in responses.items()}
    params = _Update(task_id=task_id, input_responses=keyed)
    await client.session.send_request(_Answer(params=params), EmptyResult)  # type: ignore[arg-type]


def accept(**content: Any) -> dict[str, Any]:
    return {"action": "accept", "content": content}


class Tasks(ClientExtension):
    """Drives a task to its end as task-aware clients do: asks again and again, and each question once."""

    identifier = EXTENSION

    def __init__(self) -> None:
        self.seen: list[str] = []

    def claims(self) -> list[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Seed, resolve=self._resolve)]

    async def _resolve(self, seed: Seed, context: ClaimContext) -> CallToolResult:
        session, asked = context.session, set[str]()
        while True:
            task = await session.send_request(_Get(params=_Params(task_id=seed.task_id)), Told)  # type: ignore[arg-type]
            self.seen.append(task.status)
            if task.status == "completed":
                return CallToolResult.model_validate(task.result)
            assert task.status in ("working", "input_required"), task
            for key in (task.input_requests or {}).keys() - asked:
                asked.add(key)
                question = _INPUT.validate_python((task.input_requests or {})[key])
                response = await session.dispatch_input_request(ClientRequestContext(session=session, request_id=key), question)
                responses = {key: response.model_dump(by_alias=True, mode="json", exclude_none=True)}
                params = _Update(task_id=seed.task_id, input_responses=responses)
                await session.send_request(_Answer(params=params), EmptyResult)  # type: ignore[arg-type]
            await anyio.sleep((task.poll_interval_ms or 10) / 1000)


async def begun(client: Client, tool: str, **arguments: Any) -> Seed:
    """Calls a tool, which must give a task."""
    result = await client.session.call_tool(tool, arguments, allow_claimed=True)
    assert isinstance(result, Seed), result
    return result


# Without an SDK


@dataclass
class Wire:
    """A client that writes and reads JSON-RPC over streamable HTTP itself."""

    http: httpx2.AsyncClient
    url: str
    capabilities: dict[str, Any] = field(default_factory=lambda: {"extensions": {EXTENSION: {}}, "elicitation": {"form": {}}})
    ids: count = field(default_factory=lambda: count(1))  # type: ignore[type-arg]

    def _request(self, method: str, params: Mapping[str, Any], name: str | None) -> dict[str, Any]:
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            "io.modelcontextprotocol/clientInfo": {"name": "wire", "version": "0"},
        }
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method, "Accept": "application/json, text/event-stream"}
        body = {"jsonrpc": "2.0", "id": next(self.ids), "method": method, "params": {**params, "_meta": meta}}
        return {"json": body, "headers": headers | ({} if name is None else {"Mcp-Name": name})}

    async def call(self, method: str, params: Mapping[str, Any], name: str | None = None) -> dict[str, Any]:
        """The whole answer: with `result` or `error`."""
        answer = await self.http.post(self.url, **self._request(method, params, name))
        text = answer.text
        if answer.headers["content-type"].startswith("text/event-stream"):
            text = [line for line in text.splitlines() if line.startswith("data:")][-1].removeprefix("data:")
        return json.loads(text)

    async def start(self, tool: str, **arguments: Any) -> str:
        """The id of the task that a call gives."""
        answer = await self.call("tools/call", {"name": tool, "arguments": arguments}, tool)
        assert answer["result"]["resultType"] == "task", answer
        return answer["result"]["taskId"]

    async def error(self, method: str, params: Mapping[str, Any], name: str | None = None) -> dict[str, Any]:
        return (await self.call(method, params, name))["error"]

    @asynccontextmanager
    async def listening(self, **notifications: Any) -> AsyncGenerator["Heard"]:
        """A stream of `subscriptions/listen`, acknowledged."""
        request = self._request("subscriptions/listen", {"notifications": notifications}, None)
        async with self.http.stream("POST", self.url, **request) as answer:
            frames = answer.aiter_lines()
            heard = Heard(frames, {})
            acknowledged = await heard.frame()
            assert acknowledged["method"] == "notifications/subscriptions/acknowledged", acknowledged
            heard.granted = acknowledged["params"]["notifications"]
            yield heard
            await frames.aclose()  # type: ignore[attr-defined]


@dataclass
class Heard:
    lines: Any
    granted: dict[str, Any]

    async def frame(self) -> dict[str, Any]:
        with anyio.fail_after(10):
            async for line in self.lines:
                if line.startswith("data:"):
                    return json.loads(line.removeprefix("data:"))
        raise AssertionError("the stream has ended")

    async def task(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first task that fits; those before are let pass."""
        while True:
            frame = await self.frame()
            if frame.get("method") == "notifications/tasks" and fits(frame["params"]):
                return frame["params"]
