"""Which version of an app's code runs which workflows: `temporal.worker_versioning`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, Tag

from mcp_agent.config_section import Plain, Section, plain_or
from mcp_agent.executor.versions import Versioning


def _a_deployment(name: str) -> str:
    if any(character in name for character in ".:'\"") or name.startswith("__") or name != name.strip():
        raise ValueError(f"`{name}` is no name of a deployment: leave out `.`, `:`, quotes, and `__` at the beginning.")
    return name


def _a_build(text: str) -> str:
    if not text.isprintable() or "'" in text or '"' in text or text != text.strip():
        raise ValueError(f"`{text}` is no build id: give one word without quotes, such as the tag of an image.")
    return text


DeploymentName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_a_deployment)]
BuildId = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_a_build)]


class VersioningSettings(Section):
    """Attributes:
    deployment_name: What all versions of the app have in common; made of the task queue's name by default.
    build_id: This version, such as the tag of the image; by default a hash of the app's sources.
    promote: Whether a version becomes the current one, which gets all new runs, when its worker starts. Else
        `mcp-agent deployment promote` makes it that.
    default_behavior: Of workflows for which neither `workflows` nor their code says it.
    workflows: By name: `pinned` runs end on the version that they began on, `auto_upgrade` ones go over to the current one.
    """

    deployment_name: DeploymentName | None = None
    build_id: BuildId | None = None
    promote: bool = True
    default_behavior: Versioning = "auto_upgrade"
    workflows: dict[str, Versioning] = {}


WorkerVersioning = Annotated[
    Annotated[bool, Plain] | Annotated[VersioningSettings, Tag("VersioningSettings")], plain_or(VersioningSettings)
]
