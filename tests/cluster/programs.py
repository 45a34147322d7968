"""The programs of a cluster: PostgreSQL and HAProxy from the system, Temporal's server built from the Go module proxy.

`python -m tests.cluster.programs` installs and builds what is missing; `make cluster-test` begins with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcp_agent.executor.temporal.making import CannotMake, cache_dir, is_program

VERSION = "1.31.2"
PACKAGES = {"server": "go.temporal.io/server/cmd/server", "sql": "go.temporal.io/server/cmd/tools/sql"}
POSTGRES_PLACES = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin")
HAPROXY_PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin:/opt/homebrew/bin"
INSTALL_WITHIN = 300.0
BUILD_WITHIN = 900.0


class CannotHave(Exception):
    """A program is not there and cannot be made; the text says why."""


@dataclass(frozen=True, slots=True)
class Programs:
    """`postgres` is the folder of PostgreSQL's programs."""

    postgres: Path
    server: Path
    sql_tool: Path


def programs() -> Programs:
    """What is there. Raises CannotHave."""
    postgres, server, sql_tool = _postgres(), _cached("server"), _cached("sql")
    if postgres is None or not is_program(server) or not is_program(sql_tool):
        raise CannotHave("`make cluster-test` installs PostgreSQL and builds Temporal's server")
    return Programs(postgres, server, sql_tool)


def get_programs() -> None:
    """Installs and builds what is missing: some minutes, once. Raises CannotHave."""
    if _postgres() is None:
        _install("PostgreSQL", "postgresql")
        if _postgres() is None:
            raise CannotHave("PostgreSQL was installed, but its programs are not where they were looked for")
    if haproxy() is None:
        try:
            _install("HAProxy", "haproxy")
        except CannotHave as error:
            print(f"the tests through a balancer are left out: {error}", flush=True)
    for name, package in PACKAGES.items():
        if not is_program(_cached(name)):
            print(f"building Temporal's {name} with Go: some minutes, once", flush=True)
            _build(name, package)


def _postgres() -> Path | None:
    folders = [folder for place in POSTGRES_PLACES for folder in sorted(Path("/").glob(place[1:]), reverse=True)]
    on_path = shutil.which("initdb")
    if on_path is not None:
        folders.append(Path(on_path).resolve().parent)
    return next((folder for folder in folders if is_program(folder / "initdb") and is_program(folder / "postgres")), None)


def haproxy() -> str | None:
    """Its program, which only the tests through a balancer need."""
    return shutil.which("haproxy", path=HAPROXY_PLACES)


def _install(name: str, package: str) -> None:
    if shutil.which("apt-get") is None:
        raise CannotHave(f"there is no {name}, and no apt-get to install it with")
    print(f"installing {name}", flush=True)
    sudo = [] if os.getuid() == 0 else ["sudo", "-n"]
    install = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-yqq", "--no-install-recommends", package]
    for command in (["apt-get", "update", "-qq"], install):
        _run([*sudo, *command], INSTALL_WITHIN, f"{name} could not be installed")


def _cached(name: str) -> Path:
    try:
        return cache_dir() / "cluster" / f"temporal-{name}-{VERSION}"
    except CannotMake as error:
        raise CannotHave(str(error)) from None


def _build(name: str, package: str) -> None:
    if shutil.which("go") is None:
        raise CannotHave("there is no Go to build Temporal's server with")
    making = _cached(name).parent / "build"
    making.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "GOBIN": str(making), "GOFLAGS": "-buildvcs=false", "CGO_ENABLED": "0"}
    failed = "Temporal's server could not be built"
    _run(["nice", "go", "install", f"{package}@v{VERSION}"], BUILD_WITHIN, failed, environment)
    (making / name).replace(_cached(name))


def _run(command: Sequence[str], within: float, failed: str, environment: Mapping[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=within
        )
    except OSError as error:
        raise CannotHave(f"{failed}: {error}") from None
    except subprocess.TimeoutExpired:
        raise CannotHave(f"{failed} within {within:g} s") from None
    if done.returncode != 0:
        raise CannotHave(f"{failed}: {(done.stderr or done.stdout).strip()[-300:]}")


if __name__ == "__main__":
    try:
        get_programs()
    except CannotHave as error:
        sys.exit(f"the tests on a real cluster are left out: {error}")
