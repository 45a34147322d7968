"""Reads manifests, and checks them against the schemas of Kubernetes and KEDA."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from tests.deploy.tools import schemas_of_keda

ROOT = Path(__file__).parents[2]
SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
DEPLOY = ROOT / "deploy"
OLDEST, NEWEST = "1.30", "1.37"  # the oldest that the chart says it needs
WORKLOADS = ("Deployment", "StatefulSet", "Job")

Manifest = dict[str, Any]


def manifests(text: str) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(text) if document]


def check(manifest: Manifest, version: str) -> None:
    """Raises ValidationError for what Kubernetes of that version, or KEDA, does not know: unknown keys, too."""
    _validator(manifest["kind"], manifest["apiVersion"], version).validate(manifest)


@cache
def _validator(kind: str, api: str, version: str) -> Draft202012Validator:
    if api.startswith("keda.sh/"):
        return Draft202012Validator(_keda()[kind])
    group = re.sub(r"^([^./]+)[^/]*/", r"\1-", api)  # rbac.authorization.k8s.io/v1: rbac-v1
    schema = json.loads((_folder(version) / f"{kind.lower()}-{group}.json").read_text())
    return Draft202012Validator(schema, registry=_definitions(version))


@cache
def _definitions(version: str) -> Registry[Any]:
    return Resource.from_contents(json.loads((_folder(version) / "_definitions.json").read_text())) @ Registry()


def _folder(version: str) -> Path:
    return SCHEMAS / f"v{version}.0-local-strict"


@cache
def _keda() -> dict[str, Manifest]:
    definitions = [yaml.safe_load(file.read_text())["spec"] for file in schemas_of_keda()]
    return {one["names"]["kind"]: _strict(one["versions"][0]["schema"]["openAPIV3Schema"]) for one in definitions}


def _strict(schema: Any) -> Any:
    """The same, and what it does not name is wrong: Kubernetes itself would drop it."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: _strict(value) for key, value in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if named and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result.setdefault("additionalProperties", False)
    return result


@dataclass(frozen=True, slots=True)
class Pod:
    """The pod that a workload makes."""

    owner: Manifest

    @property
    def name(self) -> str:
        return self.owner["metadata"]["name"]

    @property
    def part(self) -> str:
        return self.labels["app.kubernetes.io/component"]

    @property
    def labels(self) -> dict[str, str]:
        return self.owner["spec"]["template"]["metadata"]["labels"]

    @property
    def spec(self) -> Manifest:
        return self.owner["spec"]["template"]["spec"]

    @property
    def container(self) -> Manifest:
        (container,) = self.spec["containers"]
        return container

    @property
    def environment(self) -> dict[str, Manifest]:
        return {one["name"]: one for one in self.container.get("env", [])}


def pods(documents: list[Manifest]) -> list[Pod]:
    return [Pod(document) for document in documents if document["kind"] in WORKLOADS]


def named(documents: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in documents if one["kind"] == kind}


def leaves(value: Any) -> Iterator[Any]:
    """All texts and numbers in it."""
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value
