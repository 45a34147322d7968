"""What turns metrics and traces on, and what cannot be had."""

import subprocess
import sys
from pathlib import Path

import pytest

from mcp_agent.config import Settings, TracingSettings, load_settings
from mcp_agent.errors import ConfigError

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "mcp_agent.config.yaml"
    made.write_text("{}")
    return made


def tracing(file: Path) -> TracingSettings | None:
    return load_settings(file).observability.tracing


def test_opentelemetry_s_own_variables_turn_traces_on(file: Path, monkeypatch: pytest.MonkeyPatch):
    assert tracing(file) is None
    monkeypatch.setenv(ENDPOINT, "http://collector:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=planted, x-team=desk")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "desk")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    made = tracing(file)
    assert made is not None
    assert (made.endpoint, made.service_name, made.sample_ratio) == ("http://collector:4318/v1/traces", "desk", 0.25)
    assert {name: value.get_secret_value() for name, value in made.headers.items()} == {"x-key": "planted", "x-team": "desk"}


@pytest.mark.parametrize(("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")])
def test_they_turn_them_off_again(name: str, value: str, file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(ENDPOINT, "http://collector:4318")
    monkeypatch.setenv(name, value)
    assert tracing(file) is None


def test_the_file_wins_over_them(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(ENDPOINT, "http://collector:4318")
    file.write_text("observability: {tracing: {endpoint: 'https://other/v1/traces'}}")
    made = tracing(file)
    assert made is not None
    assert made.endpoint == "https://other/v1/traces"


@pytest.mark.parametrize(("name", "value"), [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_TRACES_SAMPLER", "jaeger_remote")])
def test_what_they_ask_for_and_cannot_be_had_is_an_error(name: str, value: str, file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(ENDPOINT, "http://collector:4318")
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"`{value}`"):
        tracing(file)


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_what_is_off_is_not_imported():
    program = """
import sys
from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
app = MCPApp(settings=Settings())
assert not app.telemetry.metrics.on and not app.telemetry.spans.on
print([name for name in sys.modules if name.startswith(("opentelemetry", "prometheus_client", "uvicorn"))])
"""
    assert run(program) == "[]"


ABSENT = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""
TRACED = """
from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import ConfigError
try:
    MCPApp(settings=Settings(observability={"tracing": {}})).telemetry
except ConfigError as error:
    print(error)
"""


def test_traces_without_the_package_are_an_error_that_says_what_to_install():
    assert "install `durable-mcp-agent[tracing]`" in run(ABSENT + TRACED)


def test_traces_beside_another_set_up_of_opentelemetry_are_an_error():
    other = "from opentelemetry import trace; from opentelemetry.sdk.trace import TracerProvider\n"
    assert "has a `TracerProvider` of OpenTelemetry already" in run(
        f"{other}trace.set_tracer_provider(TracerProvider())\n{TRACED}"
    )


def test_headers_and_keys_of_collectors_are_secrets():
    settings = Settings(observability={"tracing": {"headers": {"x-key": "planted"}}})
    assert "planted" not in repr(settings)
