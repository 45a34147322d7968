"""Messages that are nearly right, or not at all: made by hypothesis from the tools' own schemas, the same each time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from mcp_types import JSONRPCRequest, Tool
from pydantic import ValidationError

from tests.server.tasks_client import EXTENSION, MODERN

T = TypeVar("T")

ODD_TEXTS = ["", "\0", "a\0b", "\ud800", "x" * 2_000, "../../etc/passwd", "'; drop table runs; --", "\u202egnp", "Ask.\n", "%00"]
ODD: list[Any] = [
    None, True, -1, 0, 1e308, -(2**63) - 1, 10**40, 0.1, [], {}, [[[[]]]], {"a": {"b": [None]}}, *ODD_TEXTS,
]  # fmt: skip
odd = st.sampled_from(ODD)
METHODS = [
    "initialize", "ping", "tools/list", "tools/call", "resources/list", "resources/templates/list", "resources/read",
    "resources/subscribe", "resources/unsubscribe", "prompts/list", "prompts/get", "completion/complete", "logging/setLevel",
    "tasks/get", "tasks/update", "tasks/cancel", "tasks/result", "server/discover", "sampling/createMessage", "nope", "", "\0",
]  # fmt: skip
REFERENCES: list[Any] = [
    {"type": "ref/resource", "uri": "run://{run_id}"}, {"type": "ref/prompt", "name": "x"}, {"type": "ref/nope"}, "run://{run_id}",
]  # fmt: skip
URIS = [
    "run://x",
    "run://%00",
    "run://x/log?cursor=AAAA",
    "workflow://Order",
    "workflow://\ud800",
    "ui://desk",
    "file:///etc/passwd",
    "",
]


def drawn(strategy: SearchStrategy[T], count: int, number: int) -> list[T]:
    """The same values each time, and others for another number."""
    values: list[T] = []

    @seed(number)
    @settings(max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), deadline=None)
    @given(strategy)
    def draw(value: T) -> None:
        values.append(value)

    draw()
    return [values[n % len(values)] for n in range(count)]


def near(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> SearchStrategy[Any]:
    """What fits the schema, mostly."""
    schema = definitions.get(str(schema.get("$ref", "")).rpartition("/")[2], schema)
    if "anyOf" in schema:
        fitting = st.one_of([near(one, definitions) for one in schema["anyOf"]])
    elif "enum" in schema:
        fitting = st.sampled_from(schema["enum"])
    else:
        fitting = _of_type(schema, definitions)
    return st.integers(0, 9).flatmap(lambda n: odd if n == 0 else fitting)


def _of_type(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> SearchStrategy[Any]:
    match schema.get("type"):
        case "object":
            known = {name: near(one, definitions) for name, one in schema.get("properties", {}).items()}
            least = {name: one for name, one in known.items() if name in schema.get("required", ())}
            more = st.fixed_dictionaries({}, optional={"unknown": odd, "run_id": odd, "\0": odd})
            full = st.fixed_dictionaries(least, optional={name: one for name, one in known.items() if name not in least})
            return st.one_of(
                full, full, st.tuples(full, more).map(lambda both: both[0] | both[1]), st.fixed_dictionaries({}, optional=known)
            )
        case "array":
            return st.lists(near(schema.get("items", {}), definitions), max_size=3)
        case "integer":
            return st.integers(-(2**65), 2**65) | st.integers(0, 100)
        case "number":
            return st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 3)
        case "string":
            return st.text(max_size=20) | st.sampled_from(["Ask.known", "Forever.known", "2026-01-01", *ODD_TEXTS])
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case _:
            return odd


def calls(tools: list[Tool]) -> SearchStrategy[dict[str, Any]]:
    """Calls of these tools with arguments that nearly fit."""
    return st.one_of(
        [
            st.fixed_dictionaries(
                {"name": st.just(tool.name), "arguments": near(tool.input_schema, tool.input_schema.get("$defs", {}))},
                optional={"requestState": odd, "inputResponses": odd},
            )
            for tool in tools
        ]
    )


def others() -> SearchStrategy[tuple[Any, Any]]:
    """Methods, known and unknown, with parameters that hardly fit."""
    loose = st.fixed_dictionaries(
        {},
        optional={
            "name": odd, "arguments": odd, "uri": st.sampled_from(URIS) | odd, "taskId": odd, "cursor": odd, "level": odd,
            "ref": st.sampled_from(REFERENCES), "argument": odd.map(lambda value: {"name": "run_id", "value": value}) | odd,
            "inputResponses": st.sampled_from([{"word#1": {"action": "accept"}}, {}]) | odd, "notifications": odd, "_meta": odd,
        },
    )  # fmt: skip
    return st.tuples(st.sampled_from(METHODS) | odd, loose | odd)


ENVELOPE: dict[str, Any] = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "storm", "version": "0"},
}
KNOWING_TASKS = {**ENVELOPE, "io.modelcontextprotocol/clientCapabilities": {"extensions": {EXTENSION: {}}, "elicitation": {}}}


def messages(tools: list[Tool], count: int, number: int, meta: Any) -> list[Any]:
    """So many messages: calls, other methods, and some of both with broken frames. Those that are not broken have an id each."""
    asked = [("tools/call", params) for params in drawn(calls(tools), count // 2, number)]
    asked += drawn(others(), count // 4, number)
    whole = [_request(n, method, params, meta) for n, (method, params) in enumerate(asked)]
    broken = drawn(st.sampled_from(whole).flatmap(_bent), count - len(whole), number)
    return [*whole, *broken]


def _request(number: int, method: Any, params: Any, meta: Any) -> dict[str, Any]:
    if meta is not None and isinstance(params, dict) and "_meta" not in params:
        params = {**params, "_meta": meta}
    return {"jsonrpc": "2.0", "id": 1_000 + number, "method": method, "params": params}


def line(message: Any) -> bytes:
    return message if isinstance(message, bytes) else json.dumps(message).encode()


def must_be_answered(message: Any) -> int | None:
    """The id of a request that has the form of one."""
    if isinstance(message, bytes):
        return None
    try:
        return int(JSONRPCRequest.model_validate_json(line(message)).id)
    except ValidationError:
        return None


def _bent(message: dict[str, Any]) -> SearchStrategy[bytes]:
    """A message whose frame is broken."""
    good = json.dumps(message).encode()
    swapped = st.tuples(st.sampled_from(["jsonrpc", "id", "method", "params"]), odd).map(
        lambda pair: json.dumps({**message, pair[0]: pair[1]}).encode()
    )
    lacking = st.sampled_from(["jsonrpc", "id", "method", "params"]).map(
        lambda name: json.dumps({key: value for key, value in message.items() if key != name}).encode()
    )
    cut = st.integers(0, len(good) - 1).map(lambda at: good[:at])
    flipped = st.tuples(st.integers(0, len(good) - 1), st.binary(min_size=1, max_size=3)).map(
        lambda p: good[: p[0]] + p[1] + good[p[0] + 1 :]
    )
    fixed = st.sampled_from(
        [
            b"", b"null", b"[]", b"1" * 5_000, b'"x"', b"\xff\xfe", b"\x00", b"{}", b"NaN", b'{"a":1e999}', b"[" + good + b"]",
            b"[" + good + b"," + good + b"]", b"[" * 50_000, b'{"a":' * 20_000, good + good, b"\xef\xbb\xbf" + good,
            good[:-1] + b',"id":2,"id":"three"}', good[:-1] + b',"extra":"\\ud800"}', good.replace(b'"2.0"', b'"1.0"'),
            good.replace(b'"id": ', b'"id": 1e400, "x": '), b'{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}',
            b'{"jsonrpc":"2.0","id":' + b"9" * 400 + b',"method":"ping"}', b'{"jsonrpc":"2.0","id":9,"result":{}}',
            b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}',
            b'{"jsonrpc":"2.0","method":"notifications/cancelled"}',
        ]
    )  # fmt: skip
    return st.one_of(swapped, lacking, cut, flipped, fixed)
