"""Functions under `@app.resource` as resources."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from mcp.shared.path_security import contains_path_traversal, is_absolute_path
from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate
from mcp_types import (
    BlobResourceContents,
    InputRequiredResult,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceContents,
    ResourceTemplate,
    TextResourceContents,
)
from pydantic_core import to_json

from mcp_agent.errors import DefinitionError, NotFound
from mcp_agent.served import ResourceFunction, listed_names
from mcp_agent.server.callers import Caller
from mcp_agent.server.direct_calls import DirectCalls
from mcp_agent.server.entries import Request
from mcp_agent.server.text_arguments import TextArguments

TEXT, BINARY, JSON = "text/plain", "application/octet-stream", "application/json"

Contents: TypeAlias = ReadResourceResult | InputRequiredResult
_Variables: TypeAlias = Mapping[str, str | list[str]]


@dataclass(frozen=True, slots=True)
class _Served:
    """A function with what its URIs hold. `template`: `None` for a single URI."""

    made: ResourceFunction
    template: UriTemplate | None
    arguments: TextArguments

    def variables(self, uri: str) -> _Variables | None:
        """What a URI holds, if it is one of the function's."""
        if self.template is None:
            return {} if uri == self.made.uri else None
        return self.template.match(uri)

    @property
    def shown(self) -> dict[str, Any]:
        made = self.made
        return {
            "name": made.name,
            "title": made.title,
            "description": made.description or None,
            "mime_type": made.mime_type,
            "icons": list(made.icons) or None,
        }


class AppResources:
    """Args:
        functions: What was registered.
        calls: Calls them.

    Raises:
        DefinitionError: A template cannot be matched, or its variables are not what its function takes.
    """

    def __init__(self, functions: Iterable[ResourceFunction], calls: DirectCalls) -> None:
        self._calls = calls
        made = [_Served(one, _template(one), TextArguments(one.function, one.completions)) for one in functions]
        self._served = sorted(made, key=lambda one: (one.template is not None, one.made.uri))

    def listed(self) -> list[Resource]:
        return [Resource(uri=one.made.uri, **one.shown) for one in self._served if one.template is None]

    def templates(self) -> list[ResourceTemplate]:
        return [ResourceTemplate(uri_template=one.made.uri, **one.shown) for one in self._served if one.template is not None]

    def known(self, uri: str, caller: Caller) -> bool:
        """Whether it is the URI of a resource that the caller may read. Raises InsufficientScope, and NotFound as `read`."""
        return self._found(uri, caller) is not None

    def _found(self, uri: str, caller: Caller) -> tuple[_Served, _Variables] | None:
        for one in self._served:
            variables = one.variables(uri)
            if variables is not None:
                _check_inside(variables, one.made.unchecked)
                caller.check_may("read", one.made.name)
                return one, variables
        return None

    async def read(self, request: Request, params: ReadResourceRequestParams, caller: Caller) -> Contents | None:
        """`None` for a URI that is none of the app's.

        Raises:
            NotFound: It leads out of a folder.
            InvalidArguments: A variable does not fit.
        """
        uri = str(params.uri)
        found = self._found(uri, caller)
        if found is None:
            return None
        one, variables = found
        messages = self._calls.begin(request, params, one.made.name)
        value = await self._calls.call(messages, one.made.function, **one.arguments.bind(variables))
        return _contents(uri, one.made.mime_type, value)

    async def complete(self, template: str, variable: str, typed: str) -> list[str] | None:
        """Values of a template's variable; `None` for a template that is none of the app's."""
        for one in self._served:
            if one.made.uri == template:
                return await one.arguments.complete(variable, typed)
        return None


def _template(made: ResourceFunction) -> UriTemplate | None:
    variables: list[str] = []
    template: UriTemplate | None = None
    if UriTemplate.is_template(made.uri):
        try:
            template = UriTemplate.parse(made.uri)
        except InvalidUriTemplate as error:
            raise DefinitionError(f"Resource `{made.uri}` cannot be served: {error}.") from None
        variables = template.variable_names
    needed = {name for name, p in made.parameters.items() if p.default is p.empty}
    absent = frozenset[str]() if template is None else template.query_variable_names
    if set(variables) != set(made.parameters) or needed & absent:
        raise DefinitionError(
            f"Resource `{made.uri}` has the variables {listed_names(variables)}, and `{made.name}` takes "
            f"{listed_names(made.parameters)}: they must be the same, and those of a query have defaults."
        )
    return template


def _check_inside(variables: _Variables, unchecked: frozenset[str]) -> None:
    """Raises NotFound for a variable that would lead out of a folder, however it is written in the URI."""
    for name, value in variables.items():
        if name not in unchecked and any(map(_leads_out, value if isinstance(value, list) else [value])):
            raise NotFound("It leads out of its folder.")


def _leads_out(value: str) -> bool:
    return "\0" in value or contains_path_traversal(value) or is_absolute_path(value)


def _contents(uri: str, mime_type: str | None, value: Any) -> Contents:
    """What a function gave, as MCP has it. Raises PydanticSerializationError for what has no JSON form."""
    if isinstance(value, ReadResourceResult | InputRequiredResult):
        return value
    if isinstance(value, list) and value and all(isinstance(one, ResourceContents) for one in value):  # pyright: ignore[reportUnknownVariableType]
        return ReadResourceResult(contents=value)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, TextResourceContents | BlobResourceContents):
        return ReadResourceResult(contents=[value])
    if isinstance(value, bytes):
        blob = base64.b64encode(value).decode()
        return ReadResourceResult(contents=[BlobResourceContents(uri=uri, mime_type=mime_type or BINARY, blob=blob)])
    if isinstance(value, str):
        text, kind = value, TEXT
        value.encode()
    else:
        text, kind = to_json(value).decode(), JSON
    return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=mime_type or kind, text=text)])
