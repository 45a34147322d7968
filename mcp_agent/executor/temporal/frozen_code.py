"""The code of workflows as it was when their worker began.

Temporal's sandbox executes the modules of a workflow anew for each run, and reads them from disk each time: an edit would
reach the workers that run, half of it (their steps stay as they are), and the runs under way. Here a module is read once.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from types import CodeType, ModuleType

from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner


class _Known(Loader):
    """Executes code that is known already."""

    def __init__(self, code: CodeType) -> None:
        self._code = code

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, vars(module))  # noqa: S102 - what the module's own loader does


class Codes:
    """The modules that a worker's runs have imported."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[ModuleSpec, CodeType]] = {}

    @contextmanager
    def applied(self) -> Generator[None, None, None]:
        """In the block, what is imported has the code that it had the first time."""
        token = _applied.set(self)
        try:
            yield
        finally:
            _applied.reset(token)

    def spec(self, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
        """How to import a module of Python source; `None` for every other."""
        known = self._known.get(name) or self._look(name, path)
        if known is None:
            return None
        spec, code = known
        folders = spec.submodule_search_locations
        return spec_from_file_location(name, spec.origin, loader=_Known(code), submodule_search_locations=folders)

    def _look(self, name: str, path: Sequence[str] | None) -> tuple[ModuleSpec, CodeType] | None:
        spec = PathFinder.find_spec(name, path)
        if spec is None or not isinstance(spec.loader, SourceFileLoader):
            return None
        code = spec.loader.get_code(name)
        if code is None:
            return None
        return self._known.setdefault(name, (spec, code))


_applied: ContextVar[Codes | None] = ContextVar("mcp_agent_codes", default=None)


class _Finder(MetaPathFinder):
    """Asks the codes that are applied; anywhere else it finds nothing, and others are asked."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        codes = _applied.get()
        return None if codes is None else codes.spec(fullname, path)


@dataclass(frozen=True)
class FrozenCodeRunner(SandboxedWorkflowRunner):
    """Temporal's sandbox, with the code of the first import for every run."""

    codes: Codes = field(default_factory=Codes)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        with self.codes.applied():
            return super().create_instance(det)


def install() -> None:
    """Lets Python's import system ask. Done when the Temporal engine is imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
