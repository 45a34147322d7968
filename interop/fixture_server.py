"""What the official conformance suite calls by name, on this project's own decorators: its server is what is tested."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    ClientCapabilities,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    EmbeddedResource,
    ImageContent,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    PromptMessage,
    SamplingCapability,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel, Field

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.workflow_signal import Signal

app = MCPApp(name="conformance", title="Conformance fixtures", description="What the conformance suite asks of a server.")

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = base64.b64encode(b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\0\0\0\0").decode()
SHORTLY = 0.05
LATE = 1.5
"""Seconds: longer than this server lets a caller wait, see `fixture_server.yaml`."""


def image() -> ImageContent:
    return ImageContent(data=PNG, mime_type="image/png")


def embedded(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


# Tools that answer


@app.tool
def test_simple_text() -> str:
    """Gives text."""
    return "This is a simple text response for testing."


@app.tool
def test_image_content() -> ImageContent:
    """Gives an image."""
    return image()


@app.tool
def test_audio_content() -> AudioContent:
    """Gives sound."""
    return AudioContent(data=WAV, mime_type="audio/wav")


@app.tool
def test_embedded_resource() -> EmbeddedResource:
    """Gives a resource."""
    return embedded("test://embedded-resource", "This is an embedded resource content.")


@app.tool
def test_multiple_content_types() -> list[Any]:
    """Gives text, an image and a resource."""
    data = '{"test":"data","value":123}'
    return ["Multiple content types test:", image(), embedded("test://mixed-content-resource", data, "application/json")]


@app.tool
def test_error_handling() -> None:
    """Fails."""
    raise ValueError("This tool intentionally returns an error for testing")


@app.tool
async def test_tool_with_logging() -> str:
    """Tells its client what it does."""
    app.context.logger.info("Tool execution started")
    await asyncio.sleep(SHORTLY)
    app.context.logger.info("Tool processing data")
    await asyncio.sleep(SHORTLY)
    app.context.logger.info("Tool execution completed")
    return "Logged."


@app.tool
def test_logging_tool() -> str:
    """Tells its client, if it wants to know."""
    app.context.logger.info("called")
    return "Logged."


@app.tool
async def test_tool_with_progress() -> str:
    """Tells its client how far it is."""
    for done in (0, 50, 100):
        app.context.report_progress(done, 100)
        await asyncio.sleep(SHORTLY)
    return "Done."


@app.tool
async def test_reconnection() -> str:
    """Closes its client's stream while it works."""
    close = app.context.request.context.close_sse_stream
    if close is not None:
        await close()
    await asyncio.sleep(2 * SHORTLY)
    return "Reconnected."


@app.tool
def test_custom_headers(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """Takes an argument that is mirrored in a header."""
    return region


RICH_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


@app.tool(input_schema=RICH_SCHEMA)
def json_schema_2020_12_tool(
    name: str = "",
    address: dict[str, str] | None = None,
    contactMethod: str = "email",  # noqa: N803 - the suite's name
    phone: str = "",
    email: str = "",
) -> dict[str, Any]:
    """Tool with JSON Schema 2020-12 features."""
    return {"name": name, "address": address, "by": contactMethod, "phone": phone, "email": email}


# Tools that ask the client while it waits (up to 2025-11-25)


@app.tool
async def test_sampling(prompt: str) -> str:
    """Has the client's model answer."""
    answer = await app.context.request.ask(sampling(prompt), CreateMessageResult)
    return f"LLM response: {answer.content.text if isinstance(answer.content, TextContent) else answer.content.type}"


async def elicited(message: str, schema: dict[str, Any]) -> str:
    asked = ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))
    answer = await app.context.request.ask(asked, ElicitResult)
    return f"action={answer.action}, content={answer.content}"


@app.tool
async def test_elicitation(message: str) -> str:
    """Asks the client's user."""
    properties = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return f"User response: {await elicited(message, schema)}"


@app.tool
async def test_elicitation_sep1034_defaults() -> str:
    """Asks with a default for each type."""
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return f"Elicitation completed: {await elicited('Defaults?', {'type': 'object', 'properties': properties})}"


@app.tool
async def test_elicitation_sep1330_enums() -> str:
    """Asks with each kind of choice."""
    plain = ["option1", "option2", "option3"]
    titled = [{"const": f"value{n}", "title": f"{nth} Option"} for n, nth in enumerate(("First", "Second", "Third"), 1)]
    names = ["Option One", "Option Two", "Option Three"]
    properties = {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": names},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return f"Elicitation completed: {await elicited('Choose', {'type': 'object', 'properties': properties})}"


# Tools that answer with what they need first (from 2026-07-28 on)


def form(message: str, name: str, kind: str = "string") -> ElicitRequest:
    schema: dict[str, Any] = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(text: str) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=100))


def accepted(key: str, name: str) -> Any:
    """What the client's user has answered; `None` for anything that does not fit."""
    answer = app.context.request.input_responses.get(key)
    return (answer.content or {}).get(name) if isinstance(answer, ElicitResult) and answer.action == "accept" else None


@app.tool
def test_input_required_result_elicitation() -> str | InputRequiredResult:
    """Asks the user."""
    name = accepted("user_name", "name")
    if not isinstance(name, str):
        return InputRequiredResult(input_requests={"user_name": form("What is your name?", "name")})
    return f"Hello, {name}!"


@app.tool
def test_streaming_elicitation() -> str | InputRequiredResult:
    """Asks the user, and never on the stream."""
    return test_input_required_result_elicitation()


@app.tool
def test_input_required_result_sampling() -> str | InputRequiredResult:
    """Asks the client's model."""
    answer = app.context.request.input_responses.get("capital_question")
    if not isinstance(answer, CreateMessageResult):
        return InputRequiredResult(input_requests={"capital_question": sampling("What is the capital of France?")})
    return answer.content.text if isinstance(answer.content, TextContent) else answer.content.type


@app.tool
def test_input_required_result_list_roots() -> str | InputRequiredResult:
    """Asks for the client's folders."""
    answer = app.context.request.input_responses.get("client_roots")
    if not isinstance(answer, ListRootsResult):
        return InputRequiredResult(input_requests={"client_roots": ListRootsRequest()})
    return f"Roots: {', '.join(str(root.uri) for root in answer.roots)}"


@app.tool
def test_input_required_result_request_state() -> str | InputRequiredResult:
    """Asks, and finds its own state again."""
    if accepted("confirm", "ok") is None or app.context.request.request_state != "asked":
        return InputRequiredResult(input_requests={"confirm": form("Please confirm", "ok", "boolean")}, request_state="asked")
    return "state-ok"


@app.tool
def test_input_required_result_tampered_state() -> str | InputRequiredResult:
    """Asks, with a state that nobody can change."""
    return test_input_required_result_request_state()


@app.tool
def test_input_required_result_multiple_inputs() -> str | InputRequiredResult:
    """Asks for three things at once."""
    given = app.context.request.input_responses
    if {"user_name", "greeting", "client_roots"} - set(given):
        asked: Any = {
            "user_name": form("What is your name?", "name"),
            "greeting": sampling("Generate a greeting"),
            "client_roots": ListRootsRequest(),
        }
        return InputRequiredResult(input_requests=asked, request_state="asked")
    return f"Hello, {accepted('user_name', 'name')}!"


@app.tool
def test_input_required_result_multi_round() -> str | InputRequiredResult:
    """Asks twice."""
    state, name = app.context.request.request_state, accepted("step1", "name")
    if state is None or (state == "1" and name is None):
        return InputRequiredResult(input_requests={"step1": form("Step 1: What is your name?", "name")}, request_state="1")
    color = accepted("step2", "color")
    if color is None:
        asked = form("Step 2: What is your favorite color?", "color")
        return InputRequiredResult(input_requests={"step2": asked}, request_state=f"2 {name}" if state == "1" else state)
    return f"{state.partition(' ')[2]} likes {color}."


@app.tool
def test_input_required_result_capabilities() -> str | InputRequiredResult:
    """Asks only for what the client can do."""
    if app.context.request.input_responses:
        return "Thank you."
    known = app.context.request.session.client_capabilities or ClientCapabilities()
    asked: dict[str, Any] = {}
    if known.elicitation is not None:
        asked["user_name"] = form("What is your name?", "name")
    if known.sampling is not None:
        asked["capital_question"] = sampling("What is the capital of France?")
    if known.roots is not None:
        asked["client_roots"] = ListRootsRequest()
    return InputRequiredResult(input_requests=asked)


@app.tool
def test_missing_capability() -> str:
    """Refuses clients without a model."""
    needed = ClientCapabilities(sampling=SamplingCapability())
    if not app.context.request.session.check_client_capability(needed):
        data = {"requiredCapabilities": needed.model_dump(by_alias=True, exclude_none=True)}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "Missing required client capability: sampling", data)
    return "The client has one."


# Tools that become tasks


class Confirmation(BaseModel):
    confirm: bool


class Name(BaseModel):
    name: str


@app.tool
def greet(name: str) -> str:
    """Greets."""
    return f"Hello, {name}!"


@app.tool(durable=True)
async def slow_compute(seconds: float, label: str = "") -> str:
    """Takes as long as it is told."""
    await workflow.sleep(timedelta(seconds=seconds))
    return f"Computed {label} in {seconds:g} s"


@app.tool(durable=True, requires_task=True)
async def failing_job() -> None:
    """Fails after a second."""
    await workflow.sleep(timedelta(seconds=1))
    raise WorkflowApplicationError("The job has failed, as it should", non_retryable=True)


@app.tool
async def protocol_error_job() -> None:
    """Ends in an error of the protocol, when nobody waits any more."""
    await asyncio.sleep(LATE)
    raise MCPError(INTERNAL_ERROR, "The job broke the protocol, as it should")


async def asked(name: str, message: str, answer: Any) -> Any:
    return await app.context.executor.signal_bus.wait_for_signal(Signal(name, payload_type=answer, message=message))


@app.tool(durable=True)
async def confirm_delete(filename: str) -> str:
    """Asks before it deletes."""
    answer = await asked("confirm", f"Delete {filename}?", Confirmation)
    return f"{filename} was {'deleted' if answer.confirm else 'kept'}"


@app.tool(durable=True)
async def multi_input() -> str:
    """Asks two things at once."""
    name, confirmed = await asyncio.gather(asked("name", "Your name?", Name), asked("confirm", "Go on?", Confirmation))
    return f"{name.name}: {confirmed.confirm}"


@app.tool
async def test_tool_with_task() -> str | InputRequiredResult:
    """Asks while its client waits, and then takes longer than that."""
    name = accepted("user_name", "name")
    if name is None:
        return InputRequiredResult(input_requests={"user_name": form("What is your name?", "name")}, request_state="asked")
    await asyncio.sleep(LATE)
    return f"Hello, {name}!"


# Resources


@app.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    """Text."""
    return "This is the content of the static text resource."


@app.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    """An image."""
    return base64.b64decode(PNG)


@app.resource("test://watched-resource", mime_type="text/plain")
def watched_resource() -> str:
    """Text that clients subscribe to."""
    return "It does not change."


@app.resource("test://template/{id}/data", mime_type="application/json")
def template_data(id: str) -> dict[str, Any]:
    """Data of one of many."""
    return {"id": id, "templateTest": True, "data": f"Data for ID: {id}"}


# Prompts


@app.prompt
def test_simple_prompt() -> str:
    """A prompt."""
    return "This is a simple prompt for testing."


@app.prompt(completions={"arg1": lambda typed: [word for word in ("paris", "park", "party") if word.startswith(typed)]})
def test_prompt_with_arguments(
    arg1: Annotated[str, Field(description="First test argument")],
    arg2: Annotated[str, Field(description="Second test argument")],
) -> str:
    """A prompt with arguments."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@app.prompt
def test_prompt_with_embedded_resource(resourceUri: str) -> list[Any]:  # noqa: N803 - the suite's name
    """A prompt with a resource."""
    shown = embedded(resourceUri, "Embedded resource content for testing.")
    return [PromptMessage(role="user", content=shown), "Please process the embedded resource above."]


@app.prompt
def test_prompt_with_image() -> list[Any]:
    """A prompt with an image."""
    return [image(), "Please analyze the image above."]


@app.prompt
def test_input_required_result_prompt() -> str | InputRequiredResult:
    """A prompt that asks first."""
    context = accepted("user_context", "context")
    if context is None:
        asked = form("What context should the prompt use?", "context")
        return InputRequiredResult(input_requests={"user_context": asked})
    return f"Use this context: {context}"


def main() -> None:
    """Serves them as any app is served: on a free port, whose address is told."""
    config = Path(__file__).with_suffix(".yaml")
    arguments = [sys.executable, "-m", "mcp_agent.cli", "serve", "--port", "0", "--config", str(config)]
    os.execv(sys.executable, arguments)


if __name__ == "__main__":
    main()
