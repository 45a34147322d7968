"""JSON schemas as MCP's forms, and what fits them."""

from contextlib import suppress
from datetime import date
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types._v2025_11_25 import ElicitRequestFormParams
from pydantic import BaseModel, Field, TypeAdapter

from mcp_agent.agents.elicited import answer_for
from mcp_agent.executor.forms import FREE_TEXT, fitting, form_of


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1


class Everything(BaseModel):
    """Each kind of field that forms have."""

    name: str = Field(min_length=1, max_length=9, pattern="^A")
    age: int = Field(ge=0, lt=150, description="In years.")
    weight: float | None = None
    price: Decimal = Decimal(1)
    born: date
    sure: bool = True
    colour: Colour
    second: Colour | None = Colour.BLUE
    way: Literal["bus", "train"] = "bus"
    only: Literal["one"]
    all: set[Colour] = Field(default=set(), max_length=2)


class Inner(BaseModel):
    x: int


class Node(BaseModel):
    next: "Node | None" = None


def test_every_kind_of_field_is_put_as_a_form_has_it():
    form = form_of(Everything.model_json_schema())
    assert form is not None
    assert form["required"] == ["name", "age", "born", "colour", "only"]
    assert form["properties"] == {
        "name": {"title": "Name", "type": "string", "minLength": 1, "maxLength": 9},
        "age": {"title": "Age", "description": "In years.", "type": "integer", "minimum": 0},
        "weight": {"title": "Weight", "type": "number"},
        "price": {"title": "Price", "type": "string", "default": "1"},
        "born": {"title": "Born", "type": "string", "format": "date"},
        "sure": {"title": "Sure", "type": "boolean", "default": True},
        "colour": {"title": "Colour", "type": "string", "enum": ["red", "blue"]},
        "second": {"title": "Colour", "type": "string", "enum": ["red", "blue"], "default": "blue"},
        "way": {"title": "Way", "type": "string", "enum": ["bus", "train"], "default": "bus"},
        "only": {"title": "Only", "type": "string", "enum": ["one"]},
        "all": {"title": "All", "type": "array", "items": {"type": "string", "enum": ["red", "blue"]}, "maxItems": 2},
    }
    ElicitRequestFormParams.model_validate({"message": "?", "requestedSchema": form})


@pytest.mark.parametrize(
    ("type_", "field", "required"),
    [
        (str, {"type": "string"}, True),
        (bool, {"type": "boolean"}, True),
        (Colour, {"title": "Colour", "type": "string", "enum": ["red", "blue"]}, True),
        (int | None, {"type": "integer"}, False),
        (Annotated[float, Field(title="How much?")], {"title": "How much?", "type": "number"}, True),
    ],
)
def test_what_is_no_object_is_the_field_answer(type_: Any, field: Any, required: bool):
    form = form_of(TypeAdapter(type_).json_schema())
    assert form == {"type": "object", "properties": {"answer": field}, **({"required": ["answer"]} if required else {})}


def test_without_a_schema_any_text_will_do():
    assert form_of(None) == form_of({}) == FREE_TEXT


@pytest.mark.parametrize("type_", [dict[str, int], list[int], list[Inner], Inner | int, Level, Node, int | bool, None])
def test_what_a_form_cannot_ask_is_none(type_: Any):
    class Holder(BaseModel):
        value: type_  # pyright: ignore[reportInvalidTypeForm]

    assert form_of(Holder.model_json_schema()) is None


@pytest.mark.parametrize(
    "field",
    [
        {"type": "string", "oneOf": [{"const": "r", "title": "Red"}, {"const": "b", "title": "Blue"}], "default": "r"},
        {"type": "array", "items": {"anyOf": [{"const": "r", "title": "Red"}, {"const": "b", "title": "Blue"}]}, "minItems": 1},
        {"type": "string", "enum": ["r", "b"], "enumNames": ["Red", "Blue"]},
    ],
)
def test_choices_with_titles_stay_as_they_are(field: dict[str, Any]):
    form = form_of({"type": "object", "properties": {"field": field}})
    assert form == {"type": "object", "properties": {"field": field}}
    several = field["type"] == "array"
    assert fitting({"field": ["r"] if several else "r"}, form) == {"field": ["r"] if several else "r"}
    with pytest.raises(ValueError, match="must be one of `r`, `b`"):
        fitting({"field": ["x"] if several else "x"}, form)


@pytest.mark.promise("design: what a foreign server asks can be put as a form or not, and never fails")
@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": []},
        {"type": "object", "properties": {"a": None}},
        {"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}},
        {"type": "object", "properties": {"a": {"$ref": "elsewhere#/x"}}},
        {"type": "object", "properties": {"a": {"anyOf": [{"anyOf": [{"anyOf": [{"type": "null"}]}]}]}}},
        {"type": "object", "properties": {"a": {"type": "array", "items": {"$ref": "#"}}}},
        {"type": ["object", "null"]},
        {"$ref": "#"},
        {"type": "string", "enum": [1, {}]},
        {"type": "integer", "enum": [1]},
    ],
)
def test_a_schema_that_is_none_is_no_form(schema: dict[str, Any]):
    assert form_of(schema) is None


WORDS = [
    "$ref",
    "allOf",
    "anyOf",
    "const",
    "default",
    "enum",
    "enumNames",
    "format",
    "items",
    "minItems",
    "oneOf",
    "title",
    "type",
]
TEXTS = st.sampled_from(["object", "string", "integer", "boolean", "array", "null", "#", "#/properties/a", "email", "a"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*WORDS, "properties", "required", "a", "action"]), inner, max_size=5)
    ),
    max_leaves=20,
)
FIELDS = st.dictionaries(st.sampled_from(["a", "b", "action"]), st.dictionaries(st.sampled_from(WORDS), ANYTHING, max_size=5))
SCHEMAS = st.dictionaries(st.sampled_from([*WORDS, "properties", "required"]), ANYTHING, max_size=5) | st.fixed_dictionaries(
    {"type": st.just("object"), "properties": FIELDS, "required": ANYTHING}
)


@given(schema=SCHEMAS, payload=ANYTHING)
def test_no_schema_and_no_answer_breaks_anything(schema: dict[str, Any], payload: Any):
    form = form_of(schema)
    if form is not None:
        ElicitRequestFormParams.model_validate({"message": "?", "requestedSchema": form})
    params = {"message": "?", "requestedSchema": schema}
    with suppress(ValueError):  # what is wrong with the answer
        assert answer_for(payload, params)["action"] in ("accept", "decline", "cancel")


def test_what_a_schema_says_wrongly_is_left_out():
    field = {"type": "string", "minLength": "1", "maxLength": True, "format": "card", "default": 7, "title": ["x"]}
    form = form_of({"type": "object", "properties": {"a": field}, "required": "a"})
    assert form == {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("format_", "good", "bad"),
    [
        ("email", "a@b.example", "a at b"),
        ("uri", "https://a.example/x", "a.example"),
        ("date", "2026-11-26", "26.11.2026"),
        ("date-time", "2026-11-26T12:00:00Z", "noon"),
    ],
)
def test_formats_are_checked(format_: str, good: str, bad: str):
    form = form_of({"type": "string", "format": format_}) or {}
    assert fitting({"answer": good}, form) == {"answer": good}
    with pytest.raises(ValueError, match=f"`answer`: must be a text of format {format_}"):
        fitting({"answer": bad}, form)


def test_every_field_that_is_wrong_is_named_and_defaults_are_filled_in():
    form = form_of(Everything.model_json_schema()) or {}
    right = {"name": "Ada", "age": 36, "born": "1815-12-10", "colour": "red", "only": "one"}
    assert fitting({**right, "weight": None}, form) == {**right, "price": "1", "sure": True, "second": "blue", "way": "bus"}
    with pytest.raises(ValueError, match="required") as refused:
        fitting({"age": True, "sure": 1, "all": ["red"] * 3, "way": "car", "name": "", "other": 1, "colour": None}, form)
    assert str(refused.value).split("; ") == [
        "`born`: this field is required",
        "`only`: this field is required",
        "`other`: there is no such field",
        "`name`: must have a length of at least 1",
        "`age`: must be of type integer",
        "`sure`: must be of type boolean",
        "`colour`: must be of type string",
        "`way`: must be one of `bus`, `train`",
        "`all`: must have a length of at most 2",
    ]
