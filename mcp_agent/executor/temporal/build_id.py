"""Tells the code of an app from that of yesterday."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from mcp_agent import __version__
from mcp_agent.executor.registry import Registry


def build_id(registry: Registry) -> str:
    """A hash of the packages of the app's workflows and tasks, and of this package's version."""
    code = hashlib.sha256(__version__.encode())
    functions: list[Callable[..., object]] = [task.function for task in registry.tasks.values()]
    modules = {definition.cls.__module__ for definition in registry.workflows.values()}
    modules |= {function.__module__ for function in functions}
    for source in sorted(set(_sources(modules))):
        code.update(source.name.encode())
        with suppress(OSError):  # a file that went away while it was looked at
            code.update(source.read_bytes())
    return code.hexdigest()[:16]


def _sources(modules: Iterable[str]) -> Iterator[Path]:
    for name in modules:
        top = sys.modules.get(name.partition(".")[0])
        folders = getattr(top, "__path__", None)
        if folders is not None:
            for folder in folders:
                yield from Path(folder).rglob("*.py")
        elif (file := getattr(top, "__file__", None)) is not None:
            yield from _beside(Path(file))


def _beside(script: Path) -> Iterator[Path]:
    """A module that is in no package, and those that were imported from its folder."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and Path(file).parent == script.parent:
            yield Path(file)
