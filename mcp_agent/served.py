"""What an app serves besides workflows: functions as tools, as prompts and as resources."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from mcp_agent.errors import DefinitionError
from mcp_agent.executor.definition import WorkflowDefinition

if TYPE_CHECKING:
    from mcp_types import Icon, ToolAnnotations

Complete: TypeAlias = Callable[[str], Any]
"""Gives the values of an argument that go with what was typed; `async def` or plain."""

RESERVED_SCHEMES = ("run", "workflow", "ui")
"""Of the resources that the server makes itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """How a function is shown to clients."""

    name: str
    function: Callable[..., Any]
    title: str | None = None
    description: str = ""
    icons: Sequence[Icon] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionTool(_Shown):
    """A function that is served as a tool.

    Attributes:
        durable: A run of the configured engine; else a call in the server's process.
        waits: Its callers get what the function gives, if they wait long enough; else the run at once.
        requires_task: Clients that do not know tasks are refused.
        definition: The workflow that was generated for it.
        input_schema: What clients are shown instead of a schema that is made from the signature.
    """

    durable: bool
    waits: bool = True
    requires_task: bool = False
    definition: WorkflowDefinition
    annotations: ToolAnnotations | None = None
    input_schema: Mapping[str, Any] | None = None
    meta: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFunction(_Shown):
    """A function that is served as a prompt. `completions`: by the name of an argument."""

    completions: Mapping[str, Complete] = field(default_factory=dict[str, Complete])

    def __post_init__(self) -> None:
        what = f"Prompt `{self.name}`"
        names = plain_parameters(self.function, what)
        check_known(self.completions, names, f"`completions` of {what}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceFunction(_Shown):
    """A function that is served as a resource, or as all resources of a URI template.

    Attributes:
        uri: A URI, or a template of RFC 6570: the function's parameters are its variables.
        completions: By the name of a variable.
        unchecked: Variables that may hold what leads out of a folder (`..`, absolute paths).
    """

    uri: str
    mime_type: str | None = None
    completions: Mapping[str, Complete] = field(default_factory=dict[str, Complete])
    unchecked: frozenset[str] = frozenset()

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        return plain_parameters(self.function, f"Resource `{self.uri}`")

    def __post_init__(self) -> None:
        scheme, found, _ = self.uri.partition(":")
        if not found or not scheme:
            raise DefinitionError(f"Resource `{self.uri}` is no URI: begin with a scheme, such as `notes://`.")
        if scheme.lower() in RESERVED_SCHEMES:
            raise DefinitionError(f"Resource `{self.uri}` cannot be served: `{scheme}:` is the server's own. Take another.")
        check_known(self.completions, self.parameters, f"`completions` of resource `{self.uri}`")
        check_known(self.unchecked, self.parameters, f"`unchecked` of resource `{self.uri}`")


def described(function: Callable[..., Any], description: str | None) -> str:
    """The description that was given, else the docstring."""
    return description or inspect.cleandoc(function.__doc__ or "")


def plain_parameters(function: Callable[..., Any], what: str) -> Mapping[str, inspect.Parameter]:
    """A function's parameters by name. Raises DefinitionError for those that cannot be given by name."""
    parameters = inspect.signature(function).parameters
    for parameter in parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise DefinitionError(f"{what} takes `{parameter}`: its arguments have names, so use plain parameters.")
    return parameters


def check_known(given: Iterable[str], names: Iterable[str], what: str) -> None:
    """Raises DefinitionError for a name that is not among `names`."""
    known = list(names)
    for name in given:
        if name not in known:
            raise DefinitionError(f"{what} names `{name}`, but the arguments are {listed_names(known)}.")


def listed_names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"
