"""The clients that are tried out, and what each has no way to do."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TRANSPORTS = ("stdio", "sse", "http")
SCENARIOS = ("list", "run", "person", "cancel", "drop", "large", "error", "agent", "task")
MODERN, LEGACY = "2026-07-28", "2025-11-25"
"""The protocol's revisions: the last of each era."""


@dataclass(frozen=True)
class Tried:
    """A client in one way of using it.

    Args:
        name: Its row in the table.
        environment: What is installed for it: a key of `pins.toml`.
        script: Its program in `clients/`.
        revision: The protocol that it speaks with this server, but for `legacy_on`.
        options: What its script is told. With `live`, it must be asked in mid-call.
        cannot: What it has no way to do, and why: by transport, scenario, or `scenario/transport`.
        legacy_on: Transports on which it speaks the protocol of the older era.
    """

    name: str
    environment: str
    script: str
    revision: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    cannot: Mapping[str, str] = field(default_factory=dict[str, str])
    legacy_on: tuple[str, ...] = ()

    def revision_on(self, transport: str) -> str:
        return LEGACY if transport in self.legacy_on else self.revision

    def why_not(self, transport: str, scenario: str) -> str | None:
        """Why a cell is not played, if it is not."""
        return self.cannot.get(transport) or self.cannot.get(f"{scenario}/{transport}") or self.cannot.get(scenario)


NO_AGENT = {"agent": "is a client, not an agent framework"}
NO_TASKS = {"task": "does not know the Tasks extension"}
PROCESS_A_CALL = "is a process for each call, and over stdio the server and its in-process runs end with it"
NO_TASKS_ON_SSE = {"task/sse": f"speaks {LEGACY} over SSE, which has no tasks"}
INSPECTOR = {f"{scenario}/stdio": PROCESS_A_CALL for scenario in ("person", "cancel", "drop", "large")}

BARE = {**NO_AGENT, **NO_TASKS}
AUTO, OLD = {"mode": "auto", "live": True}, {"mode": "legacy", "live": True}
LIVE = {"live": True}
TS_1 = {**LIVE, "module": "typescript_1.mjs"}
TS_2, TS_2_OLD = {**AUTO, "module": "typescript_2.mjs"}, {**OLD, "module": "typescript_2.mjs"}

CLIENTS = (
    Tried("mcp-2", "mcp-2", "mcp_client.py", MODERN, AUTO, BARE),
    Tried("mcp-2-legacy", "mcp-2", "mcp_client.py", LEGACY, OLD, BARE),
    Tried("mcp-1", "mcp-1", "mcp_1_client.py", LEGACY, LIVE, BARE),
    Tried("typescript-2", "typescript-2", "typescript_client.py", MODERN, TS_2, BARE),
    Tried("typescript-2-legacy", "typescript-2", "typescript_client.py", LEGACY, TS_2_OLD, BARE),
    Tried("typescript-1", "typescript-1", "typescript_client.py", LEGACY, TS_1, BARE),
    Tried("fastmcp", "fastmcp", "fastmcp_client.py", MODERN, AUTO, BARE, ("sse",)),
    Tried("fastmcp-legacy", "fastmcp", "fastmcp_client.py", LEGACY, OLD, BARE),
    Tried("fastmcp-tasks", "fastmcp-tasks", "fastmcp_client.py", MODERN, AUTO, {**NO_AGENT, **NO_TASKS_ON_SSE}, ("sse",)),
    Tried("inspector", "inspector", "inspector_client.py", MODERN, {"mode": "modern"}, {**BARE, **INSPECTOR}),
    Tried("inspector-legacy", "inspector", "inspector_client.py", LEGACY, {"mode": "legacy"}, {**BARE, **INSPECTOR}),
    Tried("anthropic", "anthropic", "anthropic_client.py", MODERN, {"mode": "auto"}, NO_TASKS),
    Tried("anthropic-legacy", "anthropic", "anthropic_client.py", LEGACY, {"mode": "legacy"}, NO_TASKS),
    Tried("pydantic-ai", "pydantic-ai", "pydantic_ai_client.py", MODERN, LIVE, NO_TASKS, ("sse",)),
    Tried("openai-agents", "openai-agents", "openai_agents_client.py", MODERN, {}, NO_TASKS),
    Tried("langchain", "langchain", "langchain_client.py", LEGACY, LIVE, NO_TASKS),
    Tried("google-adk", "google-adk", "google_adk_client.py", LEGACY, LIVE, NO_TASKS),
)


@dataclass(frozen=True)
class Pins:
    """What is installed for a client, from PyPI or npm. The first package is the client."""

    name: str
    runtime: str
    packages: tuple[str, ...]

    @property
    def version(self) -> str:
        return self.packages[0].rpartition("@" if self.runtime == "node" else "==")[2]


def pins() -> dict[str, Pins]:
    """By the name of the environment."""
    read = tomllib.loads((HERE / "pins.toml").read_text())
    return {
        name: Pins(name, runtime, tuple(packages))
        for runtime, environments in read.items()
        for name, packages in environments.items()
    }


def chosen(names: list[str]) -> list[Tried]:
    """The clients of these names, or all. Raises ValueError for a name that is none."""
    known = {tried.name: tried for tried in CLIENTS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"`{unknown[0]}` is no client: there are {', '.join(known)}.")
    return [known[name] for name in names] if names else list(CLIENTS)
