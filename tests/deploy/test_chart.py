"""The Helm chart: what it makes of several values is valid, and what it is not asked rightly it refuses."""

import re
import subprocess
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mcp_agent import __version__
from mcp_agent.executor.temporal.making import CannotMake
from mcp_agent.executor.temporal.placing import StepQueues
from tests import skips
from tests.deploy.configurations import check_serving, loaded, parsed
from tests.deploy.manifests import DEPLOY, NEWEST, ROOT, Manifest, check, manifests, named, pods
from tests.deploy.tools import helm, schemas_of_keda

CHART = DEPLOY / "chart"
PAGE = ROOT / "docs" / "deployment.md"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
SMALL, CLUSTER = CHART / "examples" / "small.yaml", CHART / "examples" / "cluster.yaml"
OTHERWISE: dict[str, Mapping[str, Any]] = {
    "TLS with the authorities of the image": {"temporal": {"tls": {"enabled": True}}},
    "TLS without a certificate of its own": {"temporal": {"tls": {"enabled": True, "secret": "ca", "clientCertificate": False}}},
    "a key without TLS": {
        "temporal": {"apiKey": {"secret": "jwt", "key": "token"}},
        "worker": {"autoscaling": {"enabled": True}},
    },
    "workers scaled by what they use": {"worker": {"autoscaling": {"enabled": True, "by": "cpu"}}},
    "versions side by side": {
        "workers": {
            "v1": {"tag": "v1"},
            "v2": {
                "tag": "v2",
                "autoscaling": {"enabled": True, "scaler": {"workerDeploymentName": "agents", "workerDeploymentBuildId": "v2"}},
            },
        },
        "config": {
            "temporal": {"worker_versioning": {"build_id": "${IMAGE_TAG}", "deployment_name": "agents", "promote": False}},
        },
    },
    "workers for queues of their own": {
        "workers": {
            "runs": {"queues": ["workflows", "steps"], "autoscaling": {"enabled": True}},
            "models": {"queues": ["models"], "autoscaling": {"enabled": True}},
            "all": {"autoscaling": {"enabled": True}},
        },
        "config": {
            "temporal": {"queues": {"models": {"threads": 5}, "tools": {"task_queue": "of-tools"}, "steps": "of-the-app"}}
        },
    },
    "no metrics, no policies": {"metrics": {"enabled": False}, "networkPolicy": {"enabled": False}},
    "settings, labels and places": {
        "config": {"logger": {"level": "debug"}, "temporal": {"max_concurrent_activities": 5}},
        "worker": {"nodeSelector": {"pool": "agents"}, "tolerations": [{"key": "agents", "operator": "Exists"}]},
        "server": {"podAnnotations": {"example.com/team": "research"}},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/agents"}},
        "environment": {"variables": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "WEB_CONCURRENCY": 1}},
        "networkPolicy": {"egress": [{"ports": [{"port": 4318}]}]},
    },
}
REFUSED: dict[str, tuple[Mapping[str, Any], str]] = {
    "no address": ({"server": {"publicUrl": ""}}, "server.publicUrl"),
    "everybody may call": ({"config": {"server": {"public_without_auth": False}}}, "config.server.auth"),
    "servers that seal with keys of their own": ({"server": {"replicas": 2}}, "stateKeys.secret"),
    "a codec server for everybody": ({"codecServer": {"enabled": True}}, "config.temporal.codec_server.auth"),
    "a setting that probes or ports follow from": ({"config": {"server": {"port": 9000}}}, "config.server.port"),
    "a scaler that would speak in clear": (
        {"temporal": {"tls": {"enabled": True}}, "worker": {"autoscaling": {"enabled": True}}},
        "worker.autoscaling.by",
    ),
    "a value that there is not": ({"worker": {"replica": 3}}, "replica"),
    "a digest that is none": ({"image": {"digest": "latest"}}, "digest"),
}

Render = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def render() -> Render:
    """Runs `helm template`; the release is called `agents`."""
    try:
        program = helm()
        schemas_of_keda()
    except CannotMake as error:
        pytest.skip(f"{skips.NO_DEPLOY_TOOLS}: {error}")

    def run(*values: Path) -> subprocess.CompletedProcess[str]:
        files = [option for file in values for option in ("--values", file)]
        version = ["--kube-version", NEWEST, "--namespace", "agents"]
        return subprocess.run(
            [program, "template", "agents", CHART, *version, *files], capture_output=True, text=True, check=False
        )

    return run


def documents(done: subprocess.CompletedProcess[str]) -> list[Manifest]:
    assert done.returncode == 0, done.stderr
    return manifests(done.stdout)


def written(folder: Path, values: Mapping[str, Any]) -> Path:
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


@pytest.mark.promise("issue 7: the chart is valid against the real schemas, with several values")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_of_the_chart_is_valid(example: Path, render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = documents(render(example))
    check_whole(made, tmp_path, monkeypatch)


@pytest.mark.parametrize("values", OTHERWISE.values(), ids=OTHERWISE.keys())
def test_other_values_of_the_chart_are_valid(
    values: Mapping[str, Any], render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = documents(render(SMALL, written(tmp_path, values)))
    check_whole(made, tmp_path, monkeypatch)


def test_the_values_of_the_page_make_a_valid_chart(render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    texts = [textwrap.dedent(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)]
    first, versions, queues = (text for text in texts if "publicUrl" in text or "workers:" in text)
    files = [tmp_path / "first.yaml", tmp_path / "versions.yaml", tmp_path / "queues.yaml"]
    for file, text in zip(files, (first, versions, queues), strict=True):
        file.write_text(text)
    for values in ([files[0]], [files[0], files[1]], [files[0], files[2]]):
        check_whole(documents(render(*values)), tmp_path, monkeypatch)


def check_whole(made: list[Manifest], folder: Path, patch: pytest.MonkeyPatch) -> None:
    for document in made:
        check(document, NEWEST)
    (config,) = named(made, "ConfigMap").values()
    check_serving(loaded(config["data"]["mcp_agent.config.yaml"], folder, patch))
    for pod in pods(made):
        assert parsed(pod.container["args"])


@pytest.mark.parametrize(("values", "named_in_it"), REFUSED.values(), ids=REFUSED.keys())
def test_the_chart_refuses(values: Mapping[str, Any], named_in_it: str, render: Render, tmp_path: Path):
    done = render(SMALL, written(tmp_path, values))
    assert done.returncode != 0
    assert named_in_it in done.stderr


def test_the_manifests_without_helm_are_what_the_chart_makes(render: Render):
    kept = manifests((DEPLOY / "kubernetes" / "agents.yaml").read_text())
    assert by_name(documents(render(CLUSTER))) == by_name(kept)


def by_name(made: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    return {(one["kind"], one["metadata"]["name"]): one for one in made}


def test_settings_of_the_values_win_over_the_chart_s_own(render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    values = {"config": {"server": {"wait_budget_seconds": 9}, "logger": {"format": "text"}}}
    (config,) = named(documents(render(SMALL, written(tmp_path, values))), "ConfigMap").values()
    settings = loaded(config["data"]["mcp_agent.config.yaml"], tmp_path, monkeypatch)
    assert (settings.server.wait_budget_seconds, settings.logger.format) == (9, "text")
    assert settings.server.app == "workflows:app"


def test_a_changed_setting_makes_new_pods(render: Render, tmp_path: Path):
    def sums(*values: Path) -> set[str]:
        return {
            pod.owner["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
            for pod in pods(documents(render(SMALL, *values)))
        }

    before = sums()
    assert len(before) == 1
    assert sums(written(tmp_path, {"config": {"logger": {"level": "debug"}}})) != before


def test_workers_side_by_side_differ_in_their_image_and_know_their_version(render: Render, tmp_path: Path):
    made = pods(documents(render(SMALL, written(tmp_path, OTHERWISE["versions side by side"]))))
    workers = {pod.part: pod for pod in made if pod.part.startswith("worker")}
    assert {part: pod.container["image"] for part, pod in workers.items()} == {
        "worker-v1": "durable-mcp-agent:v1",
        "worker-v2": "durable-mcp-agent:v2",
    }
    assert {part: pod.environment["IMAGE_TAG"]["value"] for part, pod in workers.items()} == {
        "worker-v1": "v1",
        "worker-v2": "v2",
    }
    assert len({tuple(sorted(pod.labels.items())) for pod in made}) == len(made)


@pytest.mark.parametrize("part", ["runs", "models", "all"])
def test_a_worker_is_scaled_by_the_queues_that_it_serves(
    part: str, render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    values = OTHERWISE["workers for queues of their own"]
    made = documents(render(SMALL, written(tmp_path, values)))
    (config,) = named(made, "ConfigMap").values()
    temporal = loaded(config["data"]["mcp_agent.config.yaml"], tmp_path, monkeypatch).temporal
    assert temporal.task_queue is not None
    served = StepQueues(temporal.queues).served(temporal.task_queue, values["workers"][part].get("queues"))
    triggers = named(made, "ScaledObject")[f"agents-durable-mcp-agent-worker-{part}"]["spec"]["triggers"]
    assert sorted(trigger["metadata"]["taskQueue"] for trigger in triggers) == sorted(served.values())


def test_helm_itself_has_nothing_to_say_against_the_chart(render: Render):
    done = subprocess.run(
        [helm(), "lint", "--strict", "--quiet", CHART, "--values", CLUSTER, "--kube-version", NEWEST],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_chart_has_the_version_of_the_package():
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__
