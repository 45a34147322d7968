"""Functions under `@app.prompt`, and the server's own prompt, in both protocol eras."""

import asyncio
import enum
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    EmbeddedResource,
    Icon,
    ImageContent,
    PromptMessage,
    PromptReference,
    TextContent,
    TextResourceContents,
)
from pydantic import Field

from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import DefinitionError
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.server.app_server import AgentServer

pytestmark = pytest.mark.anyio

IMAGE = ImageContent(data="aGk=", mime_type="image/png")
RESOURCE = EmbeddedResource(resource=TextResourceContents(uri="notes://a", mime_type="text/plain", text="a"))
BY_USER = PromptMessage(role="user", content=TextContent(text="Who are you?"))
BY_MODEL = PromptMessage(role="assistant", content=TextContent(text="A critic."))
marks = MCPApp(name="marks")


class Tone(enum.Enum):
    KIND = "kind"
    HARSH = "harsh"


class Audit(Workflow[str]):
    """Audits an account.

    Thoroughly."""

    @marks.workflow_run
    async def run(self) -> WorkflowResult[str]:
        return WorkflowResult(value="fine")


def review(
    code: Annotated[str, Field(description="What to review.")],
    tone: Tone = Tone.KIND,
    most: int = 3,
    public: bool = False,
    style: Literal["short", "long"] = "short",
    language: str | None = None,
) -> str:
    """Has code reviewed."""
    return f"{code} {tone!r} {most!r} {public!r} {style} {language}"


PAST_EXCEPTIONS: dict[str, type[BaseException]] = {
    "leave": SystemExit,
    "cancel": asyncio.CancelledError,
    "close": GeneratorExit,
}


async def talk() -> list[Any]:
    """A conversation with everything in it."""
    return [BY_USER, BY_MODEL, "What is this?", IMAGE, RESOURCE]


async def broken(how: str) -> Any:
    """Fails."""
    if how == "type":
        return 7
    if how in PAST_EXCEPTIONS:
        raise PAST_EXCEPTIONS[how]
    raise LookupError("no such template")


async def languages(typed: str) -> list[str]:
    return [name for name in ("perl", "php", "python") if name.startswith(typed)]


@pytest.fixture
def app() -> MCPApp:
    app = MCPApp(name="critic", settings=Settings())
    app.workflow(Audit)
    app.prompt(title="Review", icons=[Icon(src="https://example.com/review.png")], completions={"language": languages})(review)
    app.prompt(talk)
    app.prompt(broken)
    return app


@pytest.fixture
async def client(app: MCPApp, mode: Any) -> AsyncGenerator[Client, None]:
    async with AgentServer.open(app) as server, Client(server.mcp, mode=mode) as client:
        yield client


def text(message: PromptMessage) -> str:
    assert isinstance(message.content, TextContent)
    return message.content.text


async def test_a_prompt_is_listed_with_its_arguments_and_how_it_is_shown(client: Client):
    listed = (await client.list_prompts()).prompts
    assert [prompt.name for prompt in listed] == ["broken", "review", "talk", "use-workflows"]
    shown = listed[1]
    assert shown.title == "Review"
    assert shown.description == "Has code reviewed."
    assert [(one.name, one.required) for one in shown.arguments or []] == [
        ("code", True),
        *[(name, False) for name in ("tone", "most", "public", "style", "language")],
    ]
    assert (shown.arguments or [])[0].description == "What to review."
    assert [icon.src for icon in shown.icons or []] == ["https://example.com/review.png"]


async def test_arguments_come_as_text_and_arrive_typed(client: Client):
    given = {"code": "7", "tone": "harsh", "most": "5", "public": "true", "style": "long", "language": "python"}
    (message,) = (await client.get_prompt("review", given)).messages
    assert message.role == "user"
    assert text(message) == "7 <Tone.HARSH: 'harsh'> 5 True long python"
    (message,) = (await client.get_prompt("review", {"code": "x"})).messages
    assert text(message) == "x <Tone.KIND: 'kind'> 3 False short None"


async def test_every_bad_argument_is_named(client: Client):
    with pytest.raises(MCPError) as told:
        await client.get_prompt("review", {"tone": "loud", "most": "many", "styel": "long"})
    assert told.value.error.code == INVALID_PARAMS
    assert told.value.error.data["code"] == "invalid_arguments"
    for name in ("code", "tone", "most", "styel"):
        assert f"`{name}`" in told.value.error.message
    assert "Did you mean `style`?" in told.value.error.message


async def test_messages_and_content_keep_their_order_and_roles(client: Client):
    got = await client.get_prompt("talk")
    assert got.description == "A conversation with everything in it."
    assert [(one.role, one.content.type) for one in got.messages] == [
        ("user", "text"),
        ("assistant", "text"),
        ("user", "text"),
        ("user", "image"),
        ("user", "resource"),
    ]


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("raise", "LookupError", "no such template"),
        ("type", "TypeError", "`int`"),
        ("leave", "SystemExit", "was raised"),
        ("cancel", "CancelledError", "was raised"),
        ("close", "GeneratorExit", "was raised"),
    ],
)
async def test_a_prompt_that_fails_says_why(client: Client, how: str, code: str, said: str):
    with pytest.raises(MCPError) as told:
        await client.get_prompt("broken", {"how": how})
    assert told.value.error.code == INTERNAL_ERROR
    assert told.value.error.data["code"] == code
    assert said in told.value.error.message
    assert (await client.get_prompt("talk")).messages


async def test_an_unknown_prompt_is_refused_with_the_nearest_name(client: Client):
    with pytest.raises(MCPError) as told:
        await client.get_prompt("reviw")
    assert told.value.error.code == INVALID_PARAMS
    assert "Did you mean `review`?" in told.value.error.message


@pytest.mark.parametrize(
    ("argument", "typed", "values"),
    [
        ("tone", "", ["kind", "harsh"]),
        ("style", "L", ["long"]),
        ("public", "t", ["true"]),
        ("language", "p", ["perl", "php", "python"]),
        ("language", "py", ["python"]),
        ("most", "1", []),
        ("absent", "", []),
    ],
)
async def test_arguments_are_completed_from_their_type_or_a_function(
    client: Client, argument: str, typed: str, values: list[str]
):
    completed = await client.complete(PromptReference(name="review"), {"name": argument, "value": typed})
    assert completed.completion.values == values


async def test_the_server_s_own_prompt_teaches_how_to_use_its_workflows(client: Client):
    (message,) = (await client.get_prompt("use-workflows")).messages
    lesson = text(message)
    assert "- `Audit`: Audits an account. Tools: `workflows-Audit-run`" in lesson
    for word in ("wait_seconds", "Never start the\n   run again", "`resume` tool", "`cancel` tool", "workflow_id"):
        assert word in lesson
    completed = await client.complete(PromptReference(name="use-workflows"), {"name": "workflow", "value": "a"})
    assert completed.completion.values == ["Audit"]
    with pytest.raises(MCPError, match="`Audit`"):
        await client.get_prompt("use-workflows", {"workflow": "Audti"})


async def test_an_app_s_own_prompt_takes_the_place_of_the_server_s(app: MCPApp, mode: Any):
    app.prompt(name="use-workflows")(lambda: "My own lesson.")
    async with AgentServer.open(app) as server, Client(server.mcp, mode=mode) as client:
        (message,) = (await client.get_prompt("use-workflows")).messages
        assert text(message) == "My own lesson."


def test_what_cannot_be_a_prompt_is_told_when_it_is_registered():
    app = MCPApp()
    app.prompt(talk)
    with pytest.raises(DefinitionError, match="registered twice"):
        app.prompt(talk)
    with pytest.raises(DefinitionError, match="plain parameters"):
        app.prompt(name="many")(lambda *args: "")  # pyright: ignore[reportUnknownLambdaType]
    with pytest.raises(DefinitionError, match="`completions` of Prompt `review` names `codes`"):
        app.prompt(completions={"codes": languages})(review)
