"""The schemas of what tools give. Clients read them again and again: they say no more than what data can be."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any, cast

from mcp_agent.executor.definition import WorkflowDefinition
from mcp_agent.server.entries import or_refusal
from mcp_agent.server.run import Run

_OWN = "Run."
"""Begins the names of our types, so that those of workflows' results may have any name."""
_WORDS = ("title", "description", "default")


def run_output(definition: WorkflowDefinition | None = None) -> dict[str, Any]:
    """The schema of `Run` or of a refusal, with the type of its result where the workflow is known."""
    schema = deepcopy(_run_schema())
    if definition is not None:
        result = definition.result_schema()
        schema.setdefault("$defs", {}).update(result.pop("$defs", {}))
        schema["properties"]["result"] = {"anyOf": [result, {"type": "null"}]}
    return or_refusal(schema)


@cache
def _run_schema() -> dict[str, Any]:
    schema = Run.model_json_schema(by_alias=True, mode="serialization", ref_template=f"#/$defs/{_OWN}{{model}}")
    return _bare({**schema, "$defs": {f"{_OWN}{name}": part for name, part in schema["$defs"].items()}})


def _bare(schema: Any, *, names: bool = False) -> Any:
    """The schema without words; `names`: its keys are names of fields or types, none of which is left out."""
    if isinstance(schema, list):
        return [_bare(one) for one in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    items = cast("dict[str, Any]", schema).items()
    return {key: _bare(value, names=key in ("properties", "$defs")) for key, value in items if names or key not in _WORDS}
