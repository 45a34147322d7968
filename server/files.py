"""A small MCP server that reads the files of one folder, and of nothing else: `python -m server.files FOLDER`.

Tools: `list_files`, `read_file`, `search_files`. Hidden files, binary files and links that lead out of the folder are
refused; what is returned is bounded.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

FILE_LIMIT = 200_000  # bytes of one file
LISTED = 500
MATCHES = 100


class Refused(Exception):
    """What the caller asked for cannot be had; the text says why."""


class Folder:
    """The files below `root`, by their path with `/`."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve(strict=True)

    def list_files(self, pattern: str = "*") -> str:
        """The paths that match, with their sizes in bytes."""
        lines = [f"{name} ({path.stat().st_size} bytes)" for name, path in self._files() if _matches(name, pattern)]
        return _bounded(lines, LISTED, "files") or f"No file matches `{pattern}`."

    def read_file(self, path: str) -> str:
        """The text of one file."""
        return self._text(self._inside(path))

    def search_files(self, text: str) -> str:
        """The lines that hold `text`, whatever its case, as `path:line: ...`."""
        if not text:
            raise Refused("`text` is empty: say what to look for.")
        hits: list[str] = []
        for name, path in self._files():
            try:
                lines = self._text(path).splitlines()
            except Refused:
                continue  # a binary or very large file is listed, but not searched
            hits += [f"{name}:{n}: {line.strip()}" for n, line in enumerate(lines, 1) if text.lower() in line.lower()]
        return _bounded(hits, MATCHES, "matches") or f"No line holds `{text}`."

    def _files(self) -> Iterator[tuple[str, Path]]:
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root).as_posix()
            if not _hidden(name) and path.is_file() and path.resolve().is_relative_to(self.root):
                yield name, path

    def _inside(self, path: str) -> Path:
        if not path or "\0" in path or PurePosixPath(path).is_absolute() or _hidden(path):
            raise Refused(f"`{path}` is no path of this folder: use one that `list_files` shows.")
        found = (self.root / path).resolve()
        if not found.is_relative_to(self.root):
            raise Refused(f"`{path}` leads out of the folder.")
        if not found.is_file():
            raise Refused(f"There is no file `{path}`: `list_files` shows what there is.")
        return found

    def _text(self, path: Path) -> str:
        if path.stat().st_size > FILE_LIMIT:
            raise Refused(f"`{path.name}` has more than {FILE_LIMIT:,} bytes: use `search_files`.")
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise Refused(f"`{path.name}` is no text file.") from None


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def _matches(name: str, pattern: str) -> bool:
    return PurePosixPath(name).match(pattern)


def _bounded(lines: list[str], limit: int, what: str) -> str:
    more = [f"... and {len(lines) - limit} more {what}"] if len(lines) > limit else []
    return "\n".join([*lines[:limit], *more])


def _tool(function: Callable[..., str], **parameters: str) -> Tool:
    return Tool(
        name=function.__name__,
        description=function.__doc__ or "",
        input_schema={
            "type": "object",
            "properties": {name: {"type": "string", "description": text} for name, text in parameters.items()},
            "required": [name for name in parameters if name != "pattern"],
            "additionalProperties": False,
        },
        annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
    )


def build(root: Path) -> Server[Any]:
    """The server for one folder. Raises FileNotFoundError if there is none."""
    folder = Folder(root)
    tools = {
        "list_files": _tool(folder.list_files, pattern="Which files, such as `*.md`; all by default."),
        "read_file": _tool(folder.read_file, path="A path as `list_files` shows it."),
        "search_files": _tool(folder.search_files, text="What to look for."),
    }

    async def list_tools(_: Any, __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[tools[name] for name in sorted(tools)])

    async def call_tool(_: Any, params: CallToolRequestParams) -> CallToolResult:
        try:
            text = _call(folder, tools, params.name, params.arguments or {})
        except (Refused, OSError) as error:
            return CallToolResult(content=[TextContent(text=str(error))], is_error=True)
        return CallToolResult(content=[TextContent(text=text)])

    return Server("files", version="1", on_list_tools=list_tools, on_call_tool=call_tool)


def _call(folder: Folder, tools: dict[str, Tool], name: str, arguments: dict[str, Any]) -> str:
    if name not in tools:
        raise Refused(f"There is no tool `{name}`: use one of {', '.join(f'`{tool}`' for tool in sorted(tools))}.")
    schema = tools[name].input_schema
    wrong = [key for key in arguments if key not in schema["properties"] or not isinstance(arguments[key], str)]
    missing = [key for key in schema["required"] if key not in arguments]
    if wrong or missing:
        problems = [f"`{key}` is unknown or no text" for key in wrong] + [f"`{key}` is missing" for key in missing]
        raise Refused(f"{name}: {'; '.join(problems)}.")
    return getattr(folder, name)(**arguments)


async def serve(root: Path) -> None:
    """Serves over stdio until the input ends."""
    server = build(root)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        raise SystemExit("usage: python -m server.files FOLDER (a folder that exists)")
    asyncio.run(serve(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
