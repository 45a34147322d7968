"""The configuration of Temporal's nodes, without a node: that it is YAML whatever its variables say, and fits the manifests.

`tests/cluster/test_deployment.py` starts nodes on it.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import DEPLOY, manifests, named, pods

SOURCE = (DEPLOY / "temporal" / "server.yaml").read_text()
NOTHING: Mapping[str, str] = {}
EVERYTHING = {
    "POSTGRES_PASSWORD": 'it\'s #1: "secret"',
    "POSTGRES_TLS": "true",
    "POSTGRES_CA": "/tls/ca.crt",
    "NODE_ADDRESS": "10.0.0.7",
    "TLS_FOLDER": "/tls",
    "TLS_SERVER_NAME": "temporal.example.com",
    "JWKS_URL": "https://login.example.com/jwks.json",
    "ARCHIVE": "s3://temporal-archive",
    "AWS_REGION": "eu-central-1",
}


def rendered(variables: Mapping[str, str]) -> dict[str, Any]:
    """What Go's templates make of it; only what is used there is understood here."""
    own: dict[str, str] = {}

    def block(match: re.Match[str]) -> str:
        return match[2] if variables.get(match[1]) else ""

    def assign(match: re.Match[str]) -> str:
        own[match[1]] = variables.get(match[2]) or match[3]
        return ""

    def value(match: re.Match[str]) -> str:
        text = own[match["own"]] if match["own"] else variables.get(match["env"]) or match["default"] or ""
        return json.dumps(text) if match["quote"] else text

    text = re.sub(r'\{\{- if env "(\w+)" \}\}\n(.*?)\{\{- end \}\}\n', block, SOURCE, flags=re.DOTALL)
    text = re.sub(r'\{\{- \$(\w+) := env "(\w+)" \| default "(.*?)" \}\}\n', assign, text)
    text = re.sub(r'\{\{ ne \(env "(\w+)"\) "" \}\}', lambda match: json.dumps(match[1] in variables), text)
    pattern = r'\{\{ (?:\$(?P<own>\w+)|env "(?P<env>\w+)")(?: \| default "(?P<default>.*?)")?(?P<quote> \| quote)? \}\}'
    text = re.sub(pattern, value, text)
    assert "{{" not in text
    return yaml.safe_load(text)


@pytest.mark.parametrize("variables", [NOTHING, EVERYTHING], ids=["nothing", "everything"])
def test_the_configuration_names_what_the_server_of_today_knows(variables: Mapping[str, str]):
    config = rendered(variables)
    for name, database in {"default": "temporal", "visibility": "temporal_visibility"}.items():
        sql = config["persistence"]["datastores"][name]["sql"]
        assert (sql["pluginName"], sql["databaseName"]) == ("postgres12", database)
        assert sql["password"] == variables.get("POSTGRES_PASSWORD", "")
    assert config["global"]["membership"]["broadcastAddress"] != "0.0.0.0"
    assert ("tls" in config["global"]) == ("authorization" in config["global"]) == ("archival" in config) == bool(variables)
    assert config["clusterMetadata"]["currentClusterName"] in config["clusterMetadata"]["clusterInformation"]


def test_the_ports_of_the_services_differ_and_are_those_of_the_manifest():
    config = rendered(NOTHING)
    ports = [port for service in config["services"].values() for name, port in service["rpc"].items() if name.endswith("Port")]
    assert len(set(ports)) == len(ports)
    documents = manifests((DEPLOY / "temporal" / "kubernetes" / "server.yaml").read_text())
    (pod,) = pods(documents)
    by_name = {port["name"]: port["containerPort"] for port in pod.container["ports"]}
    assert by_name["frontend"] == config["services"]["frontend"]["rpc"]["grpcPort"]
    assert str(by_name["metrics"]) == config["global"]["metrics"]["prometheus"]["listenAddress"].rpartition(":")[2]
    assert {port["port"] for port in named(documents, "Service")["temporal-frontend"]["spec"]["ports"]} == {by_name["frontend"]}


def test_a_node_starts_all_services_that_are_configured():
    documents = manifests((DEPLOY / "temporal" / "kubernetes" / "server.yaml").read_text())
    (pod,) = pods(documents)
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["temporal"]["command"]
    for arguments in (pod.container["args"], compose):
        started = [argument.removeprefix("--service=") for argument in arguments if argument.startswith("--service=")]
        assert sorted(started) == sorted(rendered(NOTHING)["services"])


def test_the_namespace_keeps_runs_as_long_in_compose_as_in_kubernetes():
    (*_, job) = pods(manifests((DEPLOY / "temporal" / "kubernetes" / "schema.yaml").read_text()))
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["temporal-namespace"]["environment"]
    assert job.environment["RETENTION"]["value"] == compose["RETENTION"] == "30d"
