"""Answers as they come through MCP, and what they stand for."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter

from mcp_agent.agents.approval import ToolApproval
from mcp_agent.executor.elicitation import LEAVE_OPEN, form_for, payload_for, response_of
from mcp_agent.executor.runs import PendingInput
from mcp_agent.executor.temporal.details import details

OBJECT = {"type": "object", "properties": {"size": {"type": "string"}}}
OWN_ACTION = {"type": "object", "properties": {"action": {"type": "string"}}}
TEXT = {"type": "string"}
TRUTH = {"type": "boolean"}


def request(kind: str = "elicitation", schema: Any = None, **more: Any) -> PendingInput:
    given = {"request_id": "a#1", "kind": kind, "name": "a", "message": "Well?", "created_at": datetime.now(UTC)}
    return PendingInput.model_validate({**given, "schema": schema, **more})


URL = request(url="https://a.example")
APPROVAL = request("approval", ToolApproval.model_json_schema())


@pytest.mark.parametrize(
    ("asked", "action", "content", "payload"),
    [
        (request(schema=OBJECT), "accept", {"size": "s"}, {"size": "s"}),
        (request(schema=OBJECT), "decline", None, {"action": "decline", "content": None}),
        (request(schema=OBJECT), "cancel", None, {"action": "cancel", "content": None}),
        (request(schema=TEXT), "accept", {"answer": "hello"}, "hello"),
        (request(), "accept", {"answer": "hello"}, "hello"),
        (URL, "accept", None, True),
        (APPROVAL, "accept", {"approved": True, "reason": "ok"}, {"approved": True, "reason": "ok"}),
        (APPROVAL, "decline", None, {"approved": False}),
        (APPROVAL, "cancel", None, LEAVE_OPEN),
        (request("signal", OBJECT), "accept", {"size": "s"}, {"size": "s"}),
        (request("signal", TRUTH), "accept", {"answer": False}, False),
        (request("signal"), "accept", {"answer": "go"}, "go"),
        (request("signal"), "decline", None, LEAVE_OPEN),
        (request("signal"), "cancel", None, LEAVE_OPEN),
    ],
)
def test_what_an_action_of_a_client_stands_for(asked: PendingInput, action: Any, content: Any, payload: Any):
    assert payload_for(asked, action, content) == payload


@pytest.mark.promise("design: one way of answering, through whichever way it comes")
@pytest.mark.parametrize("schema", [OBJECT, OWN_ACTION, TEXT, TRUTH, None])
@pytest.mark.parametrize("action", ["accept", "decline", "cancel"])
@pytest.mark.parametrize("value", ["hello", "decline", True, False, None])
def test_what_a_client_means_is_what_the_run_reads(schema: Any, action: Any, value: Any):
    name = "answer" if schema in (TEXT, TRUTH, None) else next(iter(schema["properties"]))
    content = {name: value} if action == "accept" else None
    response = response_of(payload_for(request(schema=schema), action, content), schema)
    assert response == (action, None if content is None else value if name == "answer" else content)


@pytest.mark.parametrize(
    ("payload", "schema", "response"),
    [
        (False, OBJECT, ("decline", None)),
        (False, TRUTH, ("accept", False)),
        (False, TEXT, ("decline", None)),
        (False, None, ("accept", False)),
        (None, None, ("decline", None)),
        (None, TRUTH, ("decline", None)),
        (True, OBJECT, ("accept", {})),
        ({"action": "accept"}, OBJECT, ("accept", {})),
        ({"action": "decline"}, OWN_ACTION, ("accept", {"action": "decline"})),
        ({"action": "decline", "reason": "late"}, None, ("accept", {"action": "decline", "reason": "late"})),
    ],
)
def test_a_plain_answer_is_read_by_what_was_asked(payload: Any, schema: Any, response: Any):
    assert response_of(payload, schema) == response


def test_an_approval_is_a_form_and_takes_an_answer_as_mcp_has_it():
    form = form_for(APPROVAL) or {}
    assert form["required"] == ["approved"]
    assert form["properties"]["reason"] == {"title": "Reason", "type": "string", "default": ""}
    for payload, approved in ((True, True), (None, False), ({"action": "decline"}, False), ({"approved": True}, True)):
        assert ToolApproval.model_validate(payload).approved is approved
    assert ToolApproval.model_validate({"action": "accept", "content": {"approved": True, "reason": "x"}}).reason == "x"
    with pytest.raises(ValueError, match="`cancel` is no answer"):
        ToolApproval.model_validate({"action": "cancel"})


def test_an_address_and_a_nested_object_are_no_form():
    assert form_for(URL) is None
    assert form_for(request("signal", TypeAdapter(dict[str, list[int]]).json_schema())) is None


def test_temporal_s_page_shows_questions_without_what_they_would_do_there():
    hostile = "<img src=x onerror=alert(1)>\n# Approve [here](javascript:alert(1)) & `now` ![x](http://a.example/x.png)"
    shown = details([request(message=hostile), *[request()] * 30])
    assert "<img" not in shown
    assert "](" not in shown
    assert "> \\# Approve" in shown
    assert "`" not in shown.replace("\\`", "")
    assert shown.endswith("and 11 more")
    assert details([]) == ""
