"""An environment of its own for each client, kept outside of the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from interop.catalogue import Pins

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "durable-mcp-agent" / "interop"
READY = "installed.json"


class CannotInstall(Exception):
    """An environment cannot be made; the text is the installer's own."""


def environment(pins: Pins, cache: Path = CACHE) -> Path:
    """The folder with what is pinned; it is made if it is not there or holds something else. Raises CannotInstall."""
    folder = cache / f"{pins.name}-{pins.version}"
    wanted = json.dumps(pins.packages)
    ready = folder / READY
    if not ready.exists() or ready.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        sys.stderr.write(f"installing {' '.join(pins.packages)}\n")
        {"python": _install_python, "node": _install_node}[pins.runtime](folder, pins.packages)
        ready.write_text(wanted)
    return folder


def python_of(folder: Path) -> Path:
    """The folder's own Python if there is one, else this one."""
    own = folder / "bin" / "python"
    return own if own.exists() else Path(sys.executable)


def node_of(folder: Path) -> Path:
    """The folder's own Node if there is one, else the machine's. Raises CannotInstall if there is none."""
    own = folder / "node_modules" / "node" / "bin" / "node"
    if own.exists():
        return own
    found = shutil.which("node")
    if found is None:
        raise CannotInstall("Node is not installed: install Node 20 or later.")
    return Path(found)


def _install_python(folder: Path, packages: tuple[str, ...]) -> None:
    _do(sys.executable, "-m", "venv", str(folder))
    _do(str(python_of(folder)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)


def _install_node(folder: Path, packages: tuple[str, ...]) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise CannotInstall("npm is not installed: install Node 20 or later.")
    (folder / "package.json").write_text('{"private": true}')
    _do(npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--loglevel=error", *packages)


def _do(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise CannotInstall(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}".strip())
