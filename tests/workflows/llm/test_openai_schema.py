"""Response schemas in the form that OpenAI's strict mode takes."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from mcp_agent.workflows.llm.providers.openai.schema import strict


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: str
    number: int = Field(ge=1)


class Dog(BaseModel):
    kind: Literal["dog"]


class Cat(BaseModel):
    kind: Literal["cat"]


class Person(BaseModel):
    name: str = Field(min_length=1, max_length=9)
    email: str | None = Field(default=None, json_schema_extra={"format": "email"})
    home: Address = Field(description="Where they live.")
    work: Address | None = None
    colours: list[Colour] = Field(default=[], min_length=1)
    pet: Dog | Cat = Field(discriminator="kind")


class Tree(BaseModel):
    value: int
    children: list[Tree] = []
    best: Tree | None = Field(default=None, description="The best child.")


def every_object(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [found for one in schema for found in every_object(one)]
    if not isinstance(schema, dict):
        return []
    own = [schema] if schema.get("type") == "object" else []
    return own + [found for one in schema.values() for found in every_object(one)]


@pytest.mark.parametrize("model", [Person, Tree])
def test_every_object_of_a_model_names_all_it_has_and_nothing_else(model: type[BaseModel]):
    schema = strict(model.model_json_schema())

    assert schema is not None
    objects = every_object(schema)
    assert objects
    assert all(one["required"] == list(one["properties"]) and one["additionalProperties"] is False for one in objects)
    assert schema["type"] == "object"


def test_what_strict_mode_does_not_know_is_left_out_and_the_rest_stays():
    schema = strict(Person.model_json_schema())

    assert schema is not None
    properties = schema["properties"]
    assert properties["name"] == {"title": "Name", "type": "string"}
    assert properties["email"]["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert properties["email"]["format"] == "email"
    assert properties["home"]["description"] == "Where they live."
    assert properties["home"]["properties"]["number"] == {"title": "Number", "type": "integer", "minimum": 1}
    assert properties["colours"]["minItems"] == 1
    assert [one["$ref"] for one in properties["pet"]["anyOf"]] == ["#/$defs/Dog", "#/$defs/Cat"]
    assert schema["$defs"]["Colour"]["enum"] == ["red", "blue"]


def test_the_root_of_a_recursive_model_is_an_object_that_refers_to_its_definition():
    schema = strict(Tree.model_json_schema())

    assert schema is not None
    assert schema["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}


def test_a_reference_with_words_beside_it_is_written_out_once():
    link = {"$ref": "#/$defs/Node", "description": "Next."}
    node = {"type": "object", "properties": {"next": link}}
    schema = strict({"type": "object", "properties": {"first": link}, "$defs": {"Node": node}})

    assert schema is not None
    first = schema["properties"]["first"]
    assert first["description"] == "Next."
    assert first["properties"]["next"] == {"$ref": "#/$defs/Node"}


class Free(BaseModel):
    model_config = ConfigDict(extra="allow")

    a: int


class Anything(BaseModel):
    a: Any


class Table(BaseModel):
    a: dict[str, int]


class Pair(BaseModel):
    a: tuple[int, str]


@pytest.mark.parametrize(
    "schema",
    [
        *(model.model_json_schema() for model in (Free, Anything, Table, Pair)),
        {"type": "array", "items": {"type": "string"}},
        {"type": "object"},
        {"anyOf": [{"type": "object", "properties": {}}, {"type": "null"}]},
        {"type": "object", "properties": {"a": {"type": "array"}}},
        {"type": "object", "properties": {"a": True}},
        {"type": "object", "properties": {"a": {"type": "string", "not": {"const": "x"}}}},
        {"type": "object", "properties": {"a": {"allOf": [{"type": "string"}, {"minLength": 1}]}}},
        {"type": "object", "properties": {"a": {"$ref": "https://example.com/schema"}}},
    ],
)
def test_a_schema_that_strict_mode_cannot_say_has_no_strict_form(schema: dict[str, Any]):
    assert strict(schema) is None


def test_a_single_all_of_is_what_it_holds():
    schema = strict({"type": "object", "properties": {"a": {"allOf": [{"type": "string"}], "description": "A."}}})

    assert schema is not None
    assert schema["properties"]["a"] == {"type": "string", "description": "A."}
