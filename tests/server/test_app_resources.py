"""Functions under `@app.resource`, in both protocol eras."""

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any, Literal

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    BlobResourceContents,
    Icon,
    ResourceTemplateReference,
    ResourceUpdatedNotification,
    TextResourceContents,
)
from pydantic import BaseModel

from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import DefinitionError, NotFound
from mcp_agent.server.app_server import AgentServer

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]


class Weather(BaseModel):
    city: str
    degrees: int


def make() -> MCPApp:
    app = MCPApp(name="library", settings=Settings())

    @app.resource("config://app", title="Configuration", icons=[Icon(src="https://example.com/c.png")], mime_type="text/yaml")
    def config() -> str:
        """How it is set."""
        return "a: 1"

    @app.resource("logo://app")
    async def logo() -> bytes:
        return b"\x89PNG"

    @app.resource(
        "weather://{city}/{days}{?unit}", completions={"city": lambda typed: [c for c in ("Oslo", "Rome") if c.startswith(typed)]}
    )
    def weather(city: str, days: int, unit: Literal["C", "F"] = "C") -> Weather:
        """The weather of a city."""
        if city == "Nowhere":
            raise NotFound("There is no such city.")
        if city == "Atlantis":
            raise OSError("the city is under water")
        return Weather(city=f"{city} {unit}", degrees=days)

    @app.resource("notes://{topic}/{+path}")
    def note(topic: str, path: str) -> list[Any]:
        return [
            TextResourceContents(uri=f"notes://{topic}/{path}", text=path),
            BlobResourceContents(uri=f"notes://{topic}/{path}#raw", blob="aGk="),
        ]

    @app.resource("diff://{+range}", unchecked=["range"])
    def diff(range: str) -> str:
        return range

    return app


@pytest.fixture
async def client(mode: Any) -> AsyncGenerator[Client, None]:
    async with AgentServer.open(make()) as server, Client(server.mcp, mode=mode) as client:
        yield client


async def read(client: Client, uri: str) -> TextResourceContents:
    (contents,) = (await client.read_resource(uri)).contents
    assert isinstance(contents, TextResourceContents)
    return contents


async def test_resources_and_templates_are_listed_apart(client: Client):
    listed = {one.uri: one for one in (await client.list_resources()).resources}
    assert {"config://app", "logo://app"} <= set(listed)
    shown = listed["config://app"]
    assert (shown.name, shown.title, shown.description, shown.mime_type) == (
        "config",
        "Configuration",
        "How it is set.",
        "text/yaml",
    )
    assert [icon.src for icon in shown.icons or []] == ["https://example.com/c.png"]
    templates = {one.uri_template: one.name for one in (await client.list_resource_templates()).resource_templates}
    assert templates["weather://{city}/{days}{?unit}"] == "weather"
    assert "run://{run_id}" in templates


async def test_text_bytes_json_and_contents_are_read(client: Client):
    text = await read(client, "config://app")
    assert (text.text, text.mime_type, str(text.uri)) == ("a: 1", "text/yaml", "config://app")
    (blob,) = (await client.read_resource("logo://app")).contents
    assert isinstance(blob, BlobResourceContents)
    assert base64.b64decode(blob.blob) == b"\x89PNG"
    assert blob.mime_type == "application/octet-stream"
    made = await read(client, "weather://Oslo/3?unit=F")
    assert (made.mime_type, made.text) == ("application/json", '{"city":"Oslo F","degrees":3}')
    both = (await client.read_resource("notes://physics/a/b.txt")).contents
    assert [type(one) for one in both] == [TextResourceContents, BlobResourceContents]


async def test_what_a_uri_holds_is_decoded_and_typed(client: Client):
    assert '"city":"São Paulo C","degrees":2' in (await read(client, "weather://S%C3%A3o%20Paulo/2")).text
    with pytest.raises(MCPError) as told:
        await client.read_resource("weather://Oslo/many?unit=K")
    assert told.value.error.code == INVALID_PARAMS
    assert "`days`" in told.value.error.message
    assert "`unit`" in told.value.error.message
    assert told.value.error.data["code"] == "invalid_arguments"


@pytest.mark.parametrize(
    "uri",
    [
        "notes://physics/../../etc/passwd",
        "notes://physics/%2e%2e/%2e%2e/etc/passwd",
        "notes://physics/..%5C..%5Csecrets",
        "notes://physics//etc/passwd",
        "notes://physics/C:%5Cwindows",
        "notes://physics/a%00b",
        "notes://../a",
        "nothing://here",
        "config://app/",
        "CONFIG://app",
    ],
)
@pytest.mark.promise("issue: path tricks in resource URIs")
async def test_a_uri_that_leads_out_of_a_folder_looks_like_one_that_is_not_there(client: Client, uri: str):
    with pytest.raises(MCPError) as told:
        await client.read_resource(uri)
    assert told.value.error.code == INVALID_PARAMS
    assert told.value.error.data["code"] == "not_found"
    assert told.value.error.data["uri"] == uri


async def test_a_variable_that_is_no_path_may_hold_anything(client: Client):
    assert (await read(client, "diff://v1/../v2")).text == "v1/../v2"


async def test_a_resource_that_fails_says_why(client: Client):
    with pytest.raises(MCPError) as told:
        await client.read_resource("weather://Nowhere/1")
    assert told.value.error.data == {"uri": "weather://Nowhere/1", "code": "not_found", "retryable": False}
    assert told.value.error.code == INVALID_PARAMS
    with pytest.raises(MCPError) as told:
        await client.read_resource("weather://Atlantis/1")
    assert told.value.error.code == INTERNAL_ERROR
    assert "OSError: the city is under water" in told.value.error.message


async def test_variables_are_completed(client: Client):
    template = ResourceTemplateReference(uri="weather://{city}/{days}{?unit}")
    assert (await client.complete(template, {"name": "city", "value": "R"})).completion.values == ["Rome"]
    assert (await client.complete(template, {"name": "unit", "value": ""})).completion.values == ["C", "F"]


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("no uri", "is no URI"),
        ("run://{run_id}", "`run:` is the server's own"),
        ("UI://page", "is the server's own"),
    ],
)
def test_what_cannot_be_a_resource_is_told_when_it_is_registered(uri: str, said: str):
    with pytest.raises(DefinitionError, match=said):
        MCPApp().resource(uri)(lambda: "")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("a://{x}/{y}", "the variables `x`, `y`, and `made` takes `x`"),
        ("a://b", "the variables none, and `made` takes `x`"),
        ("a://b{?x}", "those of a query have defaults"),
        ("a://{x:3}", "cannot be served"),
        ("a://{x}{y}", "cannot be served"),
    ],
)
async def test_a_template_must_fit_its_function(uri: str, said: str):
    app = MCPApp(settings=Settings())

    @app.resource(uri)
    def made(x: str) -> str:
        return x

    with pytest.raises(DefinitionError, match=said):
        async with AgentServer.open(app):
            pass


async def test_who_has_subscribed_is_told_that_a_resource_has_changed(mode: Any):
    app = make()
    told: asyncio.Queue[str] = asyncio.Queue()

    async def hear(message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            told.put_nowait(str(message.params.uri))

    async with AgentServer.open(app) as server, Client(server.mcp, mode=mode, message_handler=hear) as client:
        uris = ["config://app", "weather://Oslo/1"]
        async with AsyncExitStack() as stack:
            stack.enter_context(anyio.fail_after(30))
            if mode == "legacy":
                for uri in uris:
                    await client.subscribe_resource(uri)
                with pytest.raises(MCPError):
                    await client.subscribe_resource("notes://physics/../../x")
            else:
                events = await stack.enter_async_context(client.listen(resource_subscriptions=[*uris, "notes://a/../../x"]))
            for uri in ("logo://app", "weather://Oslo/1", "config://app"):
                app.resource_updated(uri)
            if mode == "legacy":
                heard = {await told.get() for _ in uris}
                await client.unsubscribe_resource("config://app")
                app.resource_updated("config://app")
                app.resource_updated("weather://Oslo/1")
                assert await told.get() == "weather://Oslo/1"
            else:
                heard = {event.uri async for event in _first(events, 2)}
            assert heard == set(uris)
    app.resource_updated("config://app")  # nobody is there


async def _first(events: Any, number: int) -> AsyncGenerator[Any, None]:
    for _ in range(number):
        yield await anext(events)
