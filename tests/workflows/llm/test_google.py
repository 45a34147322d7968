"""The translator alone; the client is tested over HTTP in `tests/activities/test_llm_google.py`."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolResultContent,
    ToolUseContent,
)
from pydantic_core import from_json, to_json

from mcp_agent.workflows.llm.augmented_llm_google import GoogleAugmentedLLM
from mcp_agent.workflows.llm.messages import (
    Block,
    InvalidInput,
    LLMSetup,
    Message,
    RequestParams,
    StopReason,
    ToolSpec,
    Usage,
    invalid_input,
    tool_use,
)
from mcp_agent.workflows.llm.providers.base import ProviderError, ProviderReply
from mcp_agent.workflows.llm.providers.google.client import GoogleClient, from_response, to_request
from mcp_agent.workflows.llm.providers.google.request import adapted_schema, generation

NEW, OLD = "gemini-3.8-flash", "gemini-2.5-flash"
SKIP = base64.b64encode(b"skip_thought_signature_validator").decode()


def request(
    *messages: Message,
    setup: LLMSetup | None = None,
    params: RequestParams | None = None,
    model: str = NEW,
    vertexai: bool = False,
) -> dict[str, Any]:
    return to_request(setup or LLMSetup(), list(messages), params or RequestParams(), model, vertexai=vertexai)


def config(model: str = NEW, **params: Any) -> dict[str, Any]:
    return request(Message.user("hi"), params=RequestParams(**params), model=model).get("generationConfig", {})


def sent(*messages: Message, model: str = NEW) -> list[dict[str, Any]]:
    return request(*messages, model=model)["contents"]


def user_parts(*blocks: Block, model: str = NEW) -> list[dict[str, Any]]:
    (content,) = sent(Message.user(list(blocks)), model=model)
    return content["parts"]


def body(*parts: dict[str, Any], finish: Any = "STOP", **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "finishReason": finish}], **more}


def answer(*parts: dict[str, Any], finish: Any = "STOP", taken: tuple[str, ...] = (), **more: Any) -> ProviderReply:
    return from_response([[body(*parts, finish=finish, **more)]], NEW, taken)


def through_json(message: Message) -> Message:
    return Message.model_validate(from_json(to_json(message)))


def function_call(name: str = "add", args: Any = None, **more: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": args if args is not None else {}, **more}}


def result(call_id: str, *blocks: Block, **more: Any) -> ToolResultContent:
    return ToolResultContent(tool_use_id=call_id, content=list(blocks), **more)


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_instruction_words_and_tools_become_a_request():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    setup = LLMSetup(instruction="Be brief.", tools=[ToolSpec(name="add", description="Adds.", input_schema=schema)])

    assert request(Message.user("hi"), setup=setup) == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "tools": [{"functionDeclarations": [{"name": "add", "description": "Adds.", "parametersJsonSchema": schema}]}],
    }


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ("gemini-2.5-flash", (2, 5)),
        ("models/gemini-3-pro-preview", (3, 0)),
        ("publishers/google/models/gemini-3.8-flash", (3, 8)),
        ("gemini-4-argon", (4, 0)),
        ("gemini-flash-latest", (99, 0)),
        ("gemma-4-31b-it", (0, 0)),
        ("tunedModels/mine", (0, 0)),
    ],
)
def test_the_generation_is_read_from_the_models_name(model: str, version: tuple[int, int]):
    assert generation(model) == version


def test_limits_become_the_generation_config():
    found = config(OLD, max_tokens=10, temperature=0.5, top_p=0.9, stop_sequences=["END"])

    assert found == {"maxOutputTokens": 10, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]}


@pytest.mark.parametrize(("model", "sampled"), [(OLD, True), ("gemini-3.1-pro-preview", True), (NEW, False), ("gemma-3", True)])
def test_models_that_refuse_a_temperature_get_none(model: str, sampled: bool):
    assert config(model, temperature=0, top_p=1) == ({"temperature": 0, "topP": 1} if sampled else {})


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        (NEW, "low", {"thinkingLevel": "LOW"}),
        ("gemini-3-flash-preview", "minimal", {"thinkingLevel": "MINIMAL"}),
        (OLD, "none", {"thinkingBudget": 0}),
        (OLD, "high", {"thinkingBudget": 24576}),
        (OLD, "4096", {"thinkingBudget": 4096}),
    ],
)
def test_reasoning_effort_is_a_level_or_a_budget_by_the_models_generation(model: str, effort: str, thinking: dict[str, Any]):
    assert config(model, reasoning_effort=effort) == {"thinkingConfig": thinking}


def test_an_effort_that_an_old_model_does_not_know_is_refused():
    with pytest.raises(ProviderError, match="`enormous`") as refused:
        config(OLD, reasoning_effort="enormous")

    assert (refused.value.type, refused.value.retryable) == ("InvalidArgument", False)


def test_options_of_the_provider_are_merged_into_the_body():
    setup = LLMSetup(tools=[ToolSpec(name="add")])
    options = {"generationConfig": {"seed": 7}, "tools": [{"googleSearch": {}}], "serviceTier": "FLEX"}

    made = request(Message.user("hi"), setup=setup, params=RequestParams(max_tokens=5, provider_options=options))

    assert made["generationConfig"] == {"maxOutputTokens": 5, "seed": 7}
    assert [list(tool) for tool in made["tools"]] == [["functionDeclarations"], ["googleSearch"]]
    assert made["serviceTier"] == "FLEX"


def test_metadata_are_labels_on_vertex_ai_only():
    params = RequestParams(metadata={"team": "billing"})

    assert request(Message.user("hi"), params=params, vertexai=True)["labels"] == {"team": "billing"}
    assert "labels" not in request(Message.user("hi"), params=params)


def test_one_call_at_a_time_is_asked_for_in_words():
    setup = LLMSetup(instruction="Be brief.", tools=[ToolSpec(name="add")])
    params = RequestParams(parallel_tool_calls=False)

    texts = [part["text"] for part in request(Message.user("hi"), setup=setup, params=params)["systemInstruction"]["parts"]]
    assert texts == ["Be brief.", "Call at most one function at a time."]
    assert "systemInstruction" not in request(Message.user("hi"), params=params)


# ── schemas ──────────────────────────────────────────────────────────────────────────────────────────────────────────

ANSWER = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def test_a_response_schema_is_asked_for_natively():
    made = request(Message.user("hi"), setup=LLMSetup(response_schema=ANSWER))

    assert made["generationConfig"] == {"responseMimeType": "application/json", "responseJsonSchema": ANSWER}


def test_old_models_that_take_no_schema_beside_tools_are_asked_in_words():
    setup = LLMSetup(response_schema=ANSWER, tools=[ToolSpec(name="add")])

    assert "responseJsonSchema" in request(Message.user("hi"), setup=setup)["generationConfig"]
    made = request(Message.user("hi"), setup=setup, model=OLD)
    assert "generationConfig" not in made
    assert to_json(ANSWER).decode() in made["systemInstruction"]["parts"][0]["text"]


def test_a_schema_loses_what_gemini_does_not_take():
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {"Point": {"type": "object", "properties": {"const": {"const": "x"}}}},
        "properties": {
            "from": {"$ref": "#/$defs/Point", "description": "Where."},
            "to": {"$ref": "#/$defs/Point"},
            "all": {"type": "array", "items": {"anyOf": [{"const": 1}, {"type": "null"}]}},
            "kind": {"enum": [{"$schema": "kept"}], "default": {"const": "kept"}},
        },
        "required": ["from"],
    }

    assert adapted_schema(schema) == {
        "$defs": {"Point": {"type": "object", "properties": {"const": {"enum": ["x"]}}}},
        "properties": {
            "from": {"anyOf": [{"$ref": "#/$defs/Point"}], "description": "Where."},
            "to": {"$ref": "#/$defs/Point"},
            "all": {"type": "array", "items": {"anyOf": [{"enum": [1]}, {"type": "null"}]}},
            "kind": {"enum": [{"$schema": "kept"}], "default": {"const": "kept"}},
        },
        "required": ["from"],
    }


def test_a_recursive_schema_stays_as_it_is():
    schema = {"$defs": {"Node": {"properties": {"next": {"$ref": "#/$defs/Node"}}}}, "$ref": "#/$defs/Node"}

    assert adapted_schema(schema) == schema


def test_a_tool_without_parameters_declares_none():
    setup = LLMSetup(tools=[ToolSpec(name="now"), ToolSpec(name="any", input_schema={"type": "object", "minProperties": 1})])

    (declared,) = request(Message.user("hi"), setup=setup)["tools"]
    assert declared["functionDeclarations"] == [
        {"name": "now", "description": "now"},
        {"name": "any", "description": "any", "parametersJsonSchema": {"type": "object", "minProperties": 1}},
    ]


# ── what a user says ─────────────────────────────────────────────────────────────────────────────────────────────────


def blob(kind: str, data: bytes = b"data") -> EmbeddedResource:
    encoded = base64.b64encode(data).decode()
    return EmbeddedResource(resource=BlobResourceContents(uri="file:///a", mime_type=kind, blob=encoded))


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (ImageContent(mime_type="image/png", data="aW1n"), {"inlineData": {"mimeType": "image/png", "data": "aW1n"}}),
        (ImageContent(mime_type="image/jpg", data="aW1n"), {"inlineData": {"mimeType": "image/jpeg", "data": "aW1n"}}),
        (AudioContent(mime_type="audio/ogg", data="YXU="), {"inlineData": {"mimeType": "audio/ogg", "data": "YXU="}}),
        (blob("application/pdf"), {"inlineData": {"mimeType": "application/pdf", "data": "ZGF0YQ=="}}),
        (blob("video/mp4"), {"inlineData": {"mimeType": "video/mp4", "data": "ZGF0YQ=="}}),
        (blob("text/csv", b"a,b"), {"text": "Resource `file:///a`:\na,b"}),
        (
            EmbeddedResource(resource=TextResourceContents(uri="file:///a", text="words")),
            {"text": "Resource `file:///a`:\nwords"},
        ),
        (
            ResourceLink(uri="https://example.com/a", name="a", description="An a."),
            {"text": "Resource `https://example.com/a`: a An a."},
        ),
        (
            ResourceLink(uri="gs://bucket/a.mp4", name="a", mime_type="video/mp4"),
            {"fileData": {"fileUri": "gs://bucket/a.mp4", "mimeType": "video/mp4"}},
        ),
    ],
)
def test_every_kind_of_content_has_its_part(block: Block, part: dict[str, Any]):
    assert user_parts(TextContent(text="see"), block) == [{"text": "see"}, part]


@pytest.mark.parametrize(
    ("block", "named"),
    [
        (ImageContent(mime_type="image/gif", data=""), "`image/gif`"),
        (blob("application/zip"), "`application/zip`"),
        (blob("text/plain", b"\xff"), "`text/plain`"),
        (ToolUseContent(id="1", name="add", input={}), "`tool_use`"),
        (result("1", ImageContent(mime_type="image/bmp", data="")), "`image/bmp`"),
    ],
)
def test_content_that_gemini_cannot_take_is_named(block: Block, named: str):
    with pytest.raises(ProviderError, match=named) as refused:
        user_parts(block)

    assert (refused.value.type, refused.value.retryable) == ("UnsupportedContent", False)


def test_empty_texts_and_empty_answers_are_left_out():
    assert sent(Message.user("a"), Message.assistant([]), Message.assistant(""), Message.user("b")) == [
        {"role": "user", "parts": [{"text": "a"}]},
        {"role": "user", "parts": [{"text": "b"}]},
    ]


def test_a_conversation_never_begins_with_the_model():
    first, second = sent(Message.user(""), Message.assistant("yes?"))
    assert (first["role"], second["role"]) == ("user", "model")
    assert first["parts"][0]["text"]


# ── tool results ─────────────────────────────────────────────────────────────────────────────────────────────────────

CALLED = Message.assistant([tool_use("1", "look", {}), tool_use("2", "add", {})])


def answers(*blocks: Block, model: str = NEW, called: Message = CALLED) -> list[dict[str, Any]]:
    return sent(called, Message.user(list(blocks)), model=model)[-1]["parts"]


def responses(*blocks: Block) -> list[Any]:
    return [part["functionResponse"]["response"] for part in answers(*blocks)]


def test_results_are_in_one_turn_in_the_order_of_the_calls_and_before_other_words():
    parts = answers(TextContent(text="go on"), result("2", TextContent(text="two")), result("1", TextContent(text="one")))

    assert parts == [
        {"functionResponse": {"name": "look", "response": {"output": "one"}}},
        {"functionResponse": {"name": "add", "response": {"output": "two"}}},
        {"text": "go on"},
    ]


def test_errors_are_marked_and_structured_results_stay_structured():
    found = responses(result("1", TextContent(text="broken"), is_error=True), result("2", structured_content={"sum": 3}))

    assert found == [{"error": "broken"}, {"output": {"sum": 3}}]


def test_a_call_that_was_never_answered_gets_a_result_that_says_so():
    missing = {"error": "This call was not carried out."}

    assert responses(result("2", TextContent(text="two"))) == [missing, {"output": "two"}]
    between = sent(CALLED, Message.assistant("I changed my mind."), Message.user("ok"))
    assert [content["role"] for content in between] == ["model", "user", "model", "user"]
    assert [part["functionResponse"]["response"] for part in between[1]["parts"]] == [missing, missing]


def test_a_result_that_says_nothing_says_so():
    assert responses(result("1"), result("2", TextContent(text="")))[:1] == [{"output": "The tool returned nothing."}]


IMAGE = ImageContent(mime_type="image/png", data="aW1n")
SOUND = AudioContent(mime_type="audio/wav", data="YXU=")


def test_images_are_in_the_result_and_what_it_cannot_hold_follows_all_results():
    parts = answers(result("1", TextContent(text="seen"), IMAGE, SOUND), result("2", IMAGE))

    first, second, sound = parts
    assert first["functionResponse"]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "aW1n"}}]
    assert first["functionResponse"]["response"] == {"output": "seen\n(1 attachment(s) follow.)"}
    assert "parts" in second["functionResponse"]
    assert sound == {"inlineData": {"mimeType": "audio/wav", "data": "YXU="}}


def test_models_whose_results_hold_no_images_get_them_after_the_results():
    parts = answers(result("1", IMAGE), result("2"), model=OLD)

    assert [next(iter(part)) for part in parts] == ["functionResponse", "functionResponse", "inlineData"]
    assert "parts" not in parts[0]["functionResponse"]


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_becomes_a_message_with_nothing_else_kept():
    reply = answer({"text": "Hello"}, {"text": "!"}, modelVersion="gemini-3.8-flash-001")

    assert reply == ProviderReply(Message.assistant("Hello!"), "end_turn", Usage(), "gemini-3.8-flash-001")


@pytest.mark.parametrize(
    ("finish", "parts", "stop_reason"),
    [
        ("STOP", [{"text": "a"}], "end_turn"),
        ("STOP", [], "empty"),
        ("STOP", [{"text": "a"}, function_call()], "tool_use"),
        ("MAX_TOKENS", [{"text": "a"}], "max_tokens"),
        ("MAX_TOKENS", [function_call()], "max_tokens"),
        ("SAFETY", [], "content_filter"),
        ("SAFETY", [function_call()], "content_filter"),
        ("RECITATION", [{"text": "a"}], "content_filter"),
        ("BLOCKLIST", [], "content_filter"),
        ("PROHIBITED_CONTENT", [], "content_filter"),
        ("SPII", [], "content_filter"),
        ("MODEL_ARMOR", [], "content_filter"),
        ("IMAGE_SAFETY", [], "content_filter"),
        ("OTHER", [{"text": "a"}], "unknown"),
        ("A_NEW_ONE", [], "unknown"),
    ],
)
def test_every_finish_reason_is_visible(finish: str, parts: list[dict[str, Any]], stop_reason: StopReason):
    reply = answer(*parts, finish=finish)

    assert reply.stop_reason == stop_reason
    kept = (reply.message.provider_data or {}).get("google", {}).get("finish_reason")
    assert kept == (None if finish in ("STOP", "MAX_TOKENS") else finish)


def test_a_blocked_question_is_a_filtered_answer():
    reply = from_response(
        [[{"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 4}}]], NEW
    )

    assert (reply.stop_reason, reply.message.content, reply.usage.input_tokens) == ("content_filter", [], 4)
    assert reply.message.provider_data == {"google": {"finish_reason": "PROHIBITED_CONTENT"}}


def test_tokens_are_counted_with_thoughts_and_caches():
    counts = {
        "promptTokenCount": 100,
        "toolUsePromptTokenCount": 20,
        "cachedContentTokenCount": 60,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 30,
    }

    assert answer({"text": "a"}, usageMetadata=counts).usage == Usage(
        input_tokens=120, output_tokens=37, cached_input_tokens=60, reasoning_tokens=30
    )


def test_the_pieces_of_a_stream_add_up_to_the_last_count_of_each_kind():
    pieces = [
        body({"text": "a"}, finish="FINISH_REASON_UNSPECIFIED", usageMetadata={"promptTokenCount": 9, "candidatesTokenCount": 1}),
        body({"text": "b"}, usageMetadata={"candidatesTokenCount": 2}),
        {"usageMetadata": {"trafficType": "ON_DEMAND"}},
    ]

    assert from_response([pieces], NEW).usage == Usage(input_tokens=9, output_tokens=2)
    with pytest.raises(ProviderError, match="no finish reason"):
        from_response([pieces[:1]], NEW)


def test_calls_without_ids_get_some_that_are_new_in_the_conversation():
    reply = answer(function_call(), function_call(), taken=("call-1",))

    assert [call.id for call in reply.message.tool_uses] == ["call-2", "call-3"]
    assert reply.message.provider_data is None


@pytest.mark.parametrize("args", [[1], "text", 1, {"x": float("inf")}])
def test_arguments_that_are_no_object_are_marked_and_go_back_as_an_empty_one(args: Any):
    reply = answer({"functionCall": {"name": "add", "args": args}})

    (call,) = reply.message.tool_uses
    assert isinstance(invalid_input(call), InvalidInput)
    assert sent(reply.message)[0]["parts"][0]["functionCall"] == {"name": "add", "args": {}}


def test_arguments_that_come_in_pieces_are_marked():
    (call,) = answer(function_call(partialArgs=[{"jsonPath": "$.a"}], willContinue=True)).message.tool_uses

    assert isinstance(invalid_input(call), InvalidInput)


def test_images_and_sounds_come_out():
    reply = answer(
        {"text": "Here:"},
        {"inlineData": {"mimeType": "image/png", "data": "aW1n"}, "thoughtSignature": "c2ln"},
        {"inlineData": {"mimeType": "audio/wav", "data": "YXU="}},
    )

    assert reply.message.content == [TextContent(text="Here:"), IMAGE, SOUND]
    assert "aW1n" not in str(reply.message.provider_data), "kept once"


def test_only_the_first_of_several_candidates_is_read():
    other = body({"text": "two"}, finish="MAX_TOKENS")
    other["candidates"][0]["index"] = 1

    reply = from_response([[body({"text": "one"}), other]], NEW)
    assert (reply.message.text, reply.stop_reason) == ("one", "end_turn")


def test_lone_surrogates_are_replaced():
    assert answer({"text": "a\ud83d"}).message.text == "a\ufffd"


# ── there and back ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([{"text": "a"}, {"text": "b", "thoughtSignature": "c2ln"}, {"text": "c"}], id="a signature inside a text"),
        pytest.param([{"text": "why", "thought": True}, {"text": "a"}], id="a thought"),
        pytest.param([{"text": "a"}, {"text": "why", "thought": True}, {"text": "b"}], id="a thought between words"),
        pytest.param([function_call(id="f1") | {"thoughtSignature": "c2ln"}, function_call(id="f2")], id="parallel calls"),
        pytest.param([{"text": "a"}, function_call(id="f", newField=1) | {"thoughtSignature": "c2ln"}], id="an unknown field"),
        pytest.param([{"text": "a"}, {"text": "", "thoughtSignature": "c2ln"}], id="a signature of its own"),
        pytest.param(
            [{"executableCode": {"code": "1"}}, {"codeExecutionResult": {"output": "1"}}, {"text": "1"}], id="code that ran"
        ),
        pytest.param([{"inlineData": {"mimeType": "image/png", "data": "aW1n"}, "thoughtSignature": "c2ln"}], id="an image"),
        pytest.param([{"thoughtSignature": "c2ln", "toolCall": {"id": "s"}}, {"text": "é😀"}], id="a call of the server"),
        pytest.param([{"text": "why", "thought": True}, function_call(id="f"), {"text": "b"}], id="a call between"),
    ],
)
def test_an_answer_goes_back_as_it_came(parts: list[dict[str, Any]]):
    reply = answer(*parts)

    assert sent(through_json(reply.message), model=OLD) == [{"role": "model", "parts": parts}]


def test_a_conversation_of_another_provider_goes_on_here():
    foreign = Message.assistant(
        [TextContent(text="I look."), tool_use("toolu_1", "look", {}), tool_use("toolu_2", "look", {})],
        {"anthropic": {"thinking": [{"signature": "x"}]}},
    )
    talk = (foreign, Message.user([result("toolu_1", IMAGE), result("toolu_2")]))

    model, user = sent(*talk)
    assert model["parts"] == [
        {"text": "I look."},
        {**function_call("look"), "thoughtSignature": SKIP},
        function_call("look"),
    ]
    assert ["id" in part["functionResponse"] for part in user["parts"]] == [False, False]
    assert "thoughtSignature" not in str(sent(*talk, model=OLD))


def test_the_own_data_of_a_message_are_not_touched():
    reply = answer(function_call(id="f1"))
    before = to_json(reply.message)

    sent(reply.message)
    assert to_json(reply.message) == before


def test_the_class_that_agents_attach_names_this_provider():
    assert GoogleAugmentedLLM.provider == GoogleClient.section
