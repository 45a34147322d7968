"""What the tests of `deploy/` are made with: Helm, and the schemas of KEDA and Compose, got with Go into the user's cache folder.

`make deploy-tools` runs this module: about two minutes, once.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from mcp_agent.executor.temporal.making import CannotMake, Command, Report, cache_dir, emptied, is_program

HELM = "3.22.0"
KEDA = ("github.com/kedacore/keda/v2", "v2.21.0")
COMPOSE = ("github.com/compose-spec/compose-go/v2", "v2.16.2")
BUILD_WITHIN = 1_200.0
DOWNLOAD_WITHIN = 300.0
KEDA_KINDS = ("scaledobjects", "triggerauthentications")


def helm() -> Path:
    """Raises CannotMake if it is neither installed nor in the cache."""
    on_path = shutil.which("helm")
    program = Path(on_path) if on_path else _folder() / f"helm-{HELM}"
    if not is_program(program):
        raise CannotMake("Helm is not there")
    return program


def schemas_of_keda() -> list[Path]:
    """Its CustomResourceDefinitions. Raises CannotMake if they are not in the cache."""
    return [_there(_folder() / f"keda-{KEDA[1]}-{kind}.yaml") for kind in KEDA_KINDS]


def schema_of_compose() -> Path:
    """The one that Docker Compose itself checks files against. Raises CannotMake if it is not in the cache."""
    return _there(_folder() / f"compose-{COMPOSE[1]}.json")


def _folder() -> Path:
    return cache_dir() / "deploy"


def _there(file: Path) -> Path:
    if not file.is_file():
        raise CannotMake(f"`{file.name}` is not there")
    return file


async def get(report: Report) -> None:
    """Gets what is missing.

    Raises:
        CannotMake: There is no Go, or it cannot get something.
    """
    _folder().mkdir(exist_ok=True)
    wanted: list[tuple[Callable[[], object], Callable[[Report], Awaitable[None]]]] = [
        (schemas_of_keda, _get_keda),
        (schema_of_compose, _get_compose),
        (helm, _build_helm),
    ]
    for look, make in wanted:
        try:
            look()
        except CannotMake:
            await make(report)


async def _get_keda(report: Report) -> None:
    source = await _module(KEDA, report)
    for kind, file in zip(KEDA_KINDS, [f"keda.sh_{kind}.yaml" for kind in KEDA_KINDS], strict=True):
        _keep(source / "config" / "crd" / "bases" / file, f"keda-{KEDA[1]}-{kind}.yaml")


async def _get_compose(report: Report) -> None:
    source = await _module(COMPOSE, report)
    _keep(source / "schema" / "compose-spec.json", f"compose-{COMPOSE[1]}.json")


async def _build_helm(report: Report) -> None:
    report(f"building Helm {HELM} with Go: this takes about two minutes, once")
    folder = emptied(_folder() / "build")
    environment = {"GOBIN": str(folder), "GOFLAGS": "-buildvcs=false", "CGO_ENABLED": "0"}
    command = [_go(), "install", "-ldflags", "-s -w", f"helm.sh/helm/v3/cmd/helm@v{HELM}"]
    await Command(command, folder, BUILD_WITHIN, environment=environment).run(report)
    (folder / "helm").replace(_folder() / f"helm-{HELM}")
    shutil.rmtree(folder)


async def _module(module: tuple[str, str], report: Report) -> Path:
    """The folder of a module's source."""
    name, version = module
    report(f"getting {name} {version} with Go")
    said = await Command([_go(), "mod", "download", "-json", f"{name}@{version}"], _folder(), DOWNLOAD_WITHIN).run(report)
    return Path(json.loads(said[said.index("{") :])["Dir"])


def _keep(source: Path, name: str) -> None:
    part = _folder() / f"{name}.part"
    shutil.copyfile(source, part)
    part.replace(_folder() / name)


def _go() -> str:
    go = shutil.which("go")
    if go is None:
        raise CannotMake("there is no Go to get it with")
    return go


if __name__ == "__main__":
    try:
        asyncio.run(get(lambda line: sys.stderr.write(f"{line}\n")))
    except CannotMake as error:
        sys.exit(f"some tests of deploy/ will be skipped: {error}")
