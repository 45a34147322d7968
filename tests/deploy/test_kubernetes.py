"""The manifests under deploy/: against the schemas of Kubernetes, and against what they lay down."""

from pathlib import Path

import pytest
import yaml
from jsonschema import ValidationError

from mcp_agent.config import Settings
from mcp_agent.executor.temporal.making import CannotMake
from tests import skips
from tests.deploy.configurations import check_serving, loaded, parsed
from tests.deploy.manifests import DEPLOY, NEWEST, OLDEST, Manifest, Pod, check, leaves, manifests, named, pods
from tests.deploy.tools import schemas_of_keda

AGENTS = DEPLOY / "kubernetes" / "agents.yaml"
TEMPORAL = sorted((DEPLOY / "temporal" / "kubernetes").glob("*.yaml"))
FILES = [AGENTS, *TEMPORAL]
KUSTOMIZATION = DEPLOY / "temporal" / "kustomization.yaml"


def read(*files: Path) -> list[Manifest]:
    return [document for file in files for document in manifests(file.read_text())]


EVERY_POD = pods(read(*FILES))
SERVING = [pod for pod in EVERY_POD if pod.owner["kind"] != "Job"]


def agents() -> list[Manifest]:
    return read(AGENTS)


def agents_settings(folder: Path, patch: pytest.MonkeyPatch) -> Settings:
    (config,) = named(agents(), "ConfigMap").values()
    return loaded(config["data"]["mcp_agent.config.yaml"], folder, patch)


@pytest.mark.promise("issue 7: the manifests are valid against the real schemas")
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_manifest_is_valid(file: Path, version: str):
    documents = [document for document in read(file) if not document["apiVersion"].startswith("keda.sh/")]
    for document in documents:
        check(document, version)
    assert documents


def test_what_scales_by_the_backlog_is_valid_for_keda():
    try:
        schemas_of_keda()
    except CannotMake as error:
        pytest.skip(f"{skips.NO_DEPLOY_TOOLS}: {error}")
    scaling = [document for document in agents() if document["apiVersion"].startswith("keda.sh/")]
    assert [document["kind"] for document in scaling] == ["ScaledObject", "TriggerAuthentication"]
    for document in scaling:
        check(document, NEWEST)


def test_a_manifest_with_a_key_that_kubernetes_does_not_know_is_found():
    (deployment, *_) = named(agents(), "Deployment").values()
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePullpolicy"] = "Always"
    with pytest.raises(ValidationError, match="imagePullpolicy"):
        check(deployment, NEWEST)


@pytest.mark.promise("issue 7: pods run as nobody in particular, on a read-only file system, with no privileges")
@pytest.mark.parametrize("pod", EVERY_POD, ids=lambda pod: pod.name)
def test_a_pod_has_no_privileges(pod: Pod):
    assert pod.spec["automountServiceAccountToken"] is False
    assert pod.spec["serviceAccountName"] in named(read(*FILES), "ServiceAccount")
    assert pod.spec["securityContext"]["runAsNonRoot"] is True
    assert pod.spec["securityContext"]["runAsUser"] > 0
    assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = pod.container["securityContext"]
    assert security == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod.container["resources"]["requests"]
    assert "memory" in pod.container["resources"]["limits"]


@pytest.mark.parametrize("pod", SERVING, ids=lambda pod: pod.name)
def test_a_pod_that_serves_says_when_it_is_ready_and_is_never_two_images(pod: Pod):
    assert "readinessProbe" in pod.container
    image = pod.container["image"]
    assert "@sha256:" in image or (":" in image and not image.endswith(":latest"))
    ports = {port["name"] for port in pod.container["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        for how in ("httpGet", "tcpSocket"):
            asked = pod.container.get(probe, {}).get(how)
            assert asked is None or asked["port"] in ports


@pytest.mark.promise("issue 7: secrets are given by reference")
def test_no_secret_is_in_a_manifest():
    documents = read(*FILES)
    assert "Secret" not in {document["kind"] for document in documents}
    for pod in pods(documents):
        for name, variable in pod.environment.items():
            if any(word in name for word in ("PASSWORD", "TOKEN", "STATE_KEY_")):
                assert set(variable["valueFrom"]["secretKeyRef"]) == {"name", "key"}
    assert not [text for text in leaves(documents) if isinstance(text, str) and "-----BEGIN" in text]


def test_the_configuration_loads_and_its_addresses_may_be_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = agents_settings(tmp_path, monkeypatch)
    check_serving(settings)
    assert not settings.server.worker
    assert settings.execution_engine == "temporal"


def test_the_servers_alone_share_the_keys_that_seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    having = [pod for pod in pods(agents()) if "MCP_AGENT__SERVER__STATE_KEYS" in pod.environment]
    assert [pod.part for pod in having] == ["server"]
    environment = having[0].environment
    value = environment["MCP_AGENT__SERVER__STATE_KEYS"]["value"]
    for name in list(environment)[: list(environment).index("MCP_AGENT__SERVER__STATE_KEYS")]:
        value = value.replace(f"$({name})", f"the value of {name}, which is long enough")
    monkeypatch.setenv("MCP_AGENT__SERVER__STATE_KEYS", value)
    keys = [key.get_secret_value() for key in agents_settings(tmp_path, monkeypatch).server.state_keys]
    assert keys == ["the value of STATE_KEY_0, which is long enough", "the value of STATE_KEY_1, which is long enough"]


@pytest.mark.parametrize("pod", pods(agents()), ids=lambda pod: pod.name)
def test_the_command_line_knows_what_a_container_starts(pod: Pod):
    assert parsed(pod.container["args"]) == {"server": "serve"}.get(pod.part, pod.part)


@pytest.mark.parametrize("pod", pods(agents()), ids=lambda pod: pod.name)
def test_the_ports_are_those_of_the_configuration(pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = agents_settings(tmp_path, monkeypatch)
    assert settings.observability.metrics is not None
    assert settings.observability.health is not None
    metrics, health = settings.observability.metrics.port, settings.observability.health.port
    expected = {
        "server": {"http": settings.server.port, "metrics": metrics},
        "worker": {"health": health, "metrics": metrics},
        "codec-server": {"http": settings.temporal.codec_server.port},
    }
    assert {port["name"]: port["containerPort"] for port in pod.container["ports"]} == expected[pod.part]
    if pod.part != "codec-server":
        assert pod.container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert pod.container["readinessProbe"]["httpGet"]["path"] == "/readyz"


@pytest.mark.promise("issue 7: a pod has longer to end than what it has begun")
def test_a_pod_has_longer_to_end_than_what_it_has_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    grace = agents_settings(tmp_path, monkeypatch).server.grace_seconds
    for pod in pods(agents()):
        if pod.part in ("server", "worker"):
            drain = pod.container.get("lifecycle", {}).get("preStop", {"sleep": {"seconds": 0}})["sleep"]["seconds"]
            assert pod.spec["terminationGracePeriodSeconds"] >= drain + grace + 10


def test_files_of_the_configuration_are_mounted_where_it_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (config,) = named(agents(), "ConfigMap").values()
    looked_for = {text for text in leaves(yaml.safe_load(config["data"]["mcp_agent.config.yaml"])) if "/etc/" in str(text)}
    assert looked_for
    for pod in pods(agents()):
        mounts = [mount["mountPath"] for mount in pod.container["volumeMounts"]]
        assert not [path for path in looked_for if str(Path(path).parent) not in mounts]
        assert pod.environment["MCP_AGENT_CONFIG"]["value"] == "/etc/mcp-agent/config/mcp_agent.config.yaml"
        assert {mount["name"] for mount in pod.container["volumeMounts"]} == {one["name"] for one in pod.spec["volumes"]}


def test_selectors_find_the_pods_they_are_for():
    documents = read(*FILES)
    labels = [pod.labels for pod in pods(documents)]
    for document in documents:
        spec = document.get("spec", {})
        selector = {
            "Service": spec.get("selector"),
            "PodDisruptionBudget": spec.get("selector", {}).get("matchLabels"),
            "NetworkPolicy": spec.get("podSelector", {}).get("matchLabels"),
        }.get(document["kind"])
        if selector:
            assert any(selector.items() <= given.items() for given in labels), document["metadata"]["name"]


@pytest.mark.promise("issue 7: workers scale by the backlog of the task queue, servers by what they use")
def test_what_is_scaled_is_what_the_workers_poll(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    temporal = agents_settings(tmp_path, monkeypatch).temporal
    (scaled,) = named(agents(), "ScaledObject").values()
    deployments = named(agents(), "Deployment")
    assert scaled["spec"]["scaleTargetRef"]["name"] in deployments
    (trigger,) = scaled["spec"]["triggers"]
    asked = trigger["metadata"]
    assert trigger["type"] == "temporal"
    assert asked["endpoint"] == f"{temporal.host}:{temporal.port}"
    assert (asked["namespace"], asked["taskQueue"]) == (temporal.namespace, temporal.task_queue)
    assert all(isinstance(value, str) for value in asked.values())
    (balanced,) = named(agents(), "HorizontalPodAutoscaler").values()
    assert balanced["spec"]["scaleTargetRef"]["name"] in deployments
    for name in (balanced["spec"]["scaleTargetRef"]["name"], scaled["spec"]["scaleTargetRef"]["name"]):
        assert "replicas" not in deployments[name]["spec"]


def test_the_agents_look_for_temporal_where_it_is_laid_down():
    values = yaml.safe_load((DEPLOY / "chart" / "values.yaml").read_text())
    (service,) = (one for name, one in named(read(*TEMPORAL), "Service").items() if name == "temporal-frontend")
    namespace = yaml.safe_load(KUSTOMIZATION.read_text())["namespace"]
    assert values["temporal"]["host"] == f"temporal-frontend.{namespace}.svc.cluster.local"
    assert values["temporal"]["port"] in {port["port"] for port in service["spec"]["ports"]}


def test_the_kustomization_has_every_file_and_makes_what_is_mounted():
    kustomization = yaml.safe_load(KUSTOMIZATION.read_text())
    assert sorted(kustomization["resources"]) == [f"kubernetes/{file.name}" for file in TEMPORAL]
    made = {one["name"]: one["files"] for one in kustomization["configMapGenerator"]}
    assert all((KUSTOMIZATION.parent / file).is_file() for files in made.values() for file in files)
    mounted = {
        volume["configMap"]["name"]
        for pod in pods(read(*TEMPORAL))
        for volume in pod.spec.get("volumes", [])
        if "configMap" in volume
    }
    assert mounted == set(made)
