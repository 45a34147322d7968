"""What can be read: runs with their whole results, what happened in them and was said, and workflows. All of it is JSON."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from mcp_agent.errors import CallError, NotFound
from mcp_agent.executor.failures import error_text
from mcp_agent.server.callers import Caller
from mcp_agent.server.entries import Request, protocol_error
from mcp_agent.server.record_pages import page_text, run_text
from mcp_agent.server.run import show
from mcp_agent.server.runs import Runs
from mcp_agent.server.workflow_tools import WorkflowTools

logger = logging.getLogger(__name__)

JSON = "application/json"
LONGEST_NAME = 1_000  # bytes; what Temporal takes as an id
SCHEMES = ("run://", "workflow://")
_SEGMENT = r"((?:[^/?#%\s]|%[0-9A-Fa-f]{2})+)"
_RUN = re.compile(rf"run://{_SEGMENT}(?:/(transcript|log)(?:\?cursor=([A-Za-z0-9_-]+))?)?")
_WORKFLOW = re.compile(rf"workflow://{_SEGMENT}")


def _template(uri: str, name: str, title: str, description: str) -> ResourceTemplate:
    return ResourceTemplate(uri_template=uri, name=name, title=title, description=description, mime_type=JSON)


TEMPLATES = [
    _template("run://{run_id}", "run", "A run", "A run's status, and its whole result once it has one."),
    _template(
        "run://{run_id}/transcript{?cursor}",
        "transcript",
        "What a run's agents said",
        "The conversations of a run's agents: messages with tool calls and results, models, stop reasons and usage, oldest "
        "first. `next` is the address of the next page.",
    ),
    _template(
        "run://{run_id}/log{?cursor}",
        "log",
        "What happened in a run",
        "Steps with attempts and durations, questions, signals, timers, children, and the lines that the workflow wrote, oldest "
        "first. `next` is the address of the next page.",
    ),
    _template(
        "workflow://{name}",
        "workflow",
        "A workflow",
        "What a workflow does, takes and returns; its signals, queries and tools.",
    ),
]


@dataclass(frozen=True, slots=True)
class Address:
    """What an address names.

    Attributes:
        name: The id of a run, or the name of a workflow.
        record: `transcript` or `log`; `None` for the run or the workflow itself.
        cursor: Which page of the record.
        workflow: Whether it is a workflow.
    """

    name: str
    record: str | None = None
    cursor: str | None = None
    workflow: bool = False


def address_of(uri: str) -> Address:
    """What `uri` names, which need not be there. Raises NotFound for what no template makes."""
    run, workflow = _RUN.fullmatch(uri), _WORKFLOW.fullmatch(uri)
    if run is not None:
        return Address(_name(run[1]), run[2], run[3])
    if workflow is not None:
        return Address(_name(workflow[1]), workflow=True)
    raise NotFound("No such address.")


def _name(segment: str) -> str:
    try:
        name = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        name = ""
    if not name.isprintable() or not 0 < len(name.encode("utf-8", "surrogatepass")) <= LONGEST_NAME:
        raise NotFound("No such name.")
    return name


class RunResources:
    """Args:
    runs: The engine.
    tools: What workflows there are, and what to do next with a run.
    masked: Masks secrets in JSON texts.
    """

    def __init__(self, runs: Runs, tools: WorkflowTools, masked: Callable[[str], str]) -> None:
        self._runs = runs
        self._tools = tools
        self._masked = masked

    def listed(self) -> list[Resource]:
        """The workflows: the list is short and stays the same. Runs are found by their templates, and their ids completed."""
        return [
            Resource(
                uri=f"workflow://{name}", name=name, title=f"Workflow {name}", description=definition.description, mime_type=JSON
            )
            for name, definition in sorted(self._tools.workflows.items())
        ]

    def templates(self) -> list[ResourceTemplate]:
        return TEMPLATES

    async def read(self, _: Request, params: ReadResourceRequestParams, caller: Caller) -> ReadResourceResult | None:
        """`None` for an address of another kind. Raises CallError for one that is not there, or not the caller's."""
        uri = str(params.uri)
        if not uri.startswith(SCHEMES):
            return None
        text = await self._text(caller, address_of(uri))
        return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=JSON, text=text)])

    async def complete(self, template: str, variable: str, typed: str) -> None:
        """Ids of runs depend on the caller: see `Completions`."""

    async def _text(self, caller: Caller, address: Address) -> str:
        if address.workflow:
            return json.dumps(self._tools.described(address.name), ensure_ascii=False, indent=1)
        executor = await self._runs.executor()
        state = await self._runs.find(executor, caller, address.name, None)
        if address.record == "log":
            return page_text(state, "log", await executor.run_log(state.run_id, address.cursor), self._masked)
        if address.record == "transcript":
            page = await executor.run_transcript(state.run_id, address.cursor)
            return page_text(state, "transcript", page, self._masked)
        return run_text(show(state, None, self._tools.tools_of(state.workflow), whole=True))


@contextmanager
def reading(uri: str) -> Generator[None]:
    """What goes wrong with a resource, as JSON-RPC has it. What is missing looks the same whatever the reason is."""
    try:
        yield
    except MCPError:
        raise
    except NotFound as error:
        shown = _sendable(uri[:200])
        raise protocol_error(error, f"There is no resource `{shown}`. See `resources/templates/list`.", uri=shown) from None
    except CallError as error:
        raise protocol_error(error, uri=uri) from None
    except Exception as error:
        logger.exception("resource `%s` cannot be read", uri[:200])
        told = f"{type(error).__name__}: {error_text(error)}"
        raise MCPError(INTERNAL_ERROR, told, {"uri": uri, "code": "internal_error", "retryable": False}) from None


def _sendable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
