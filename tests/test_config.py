"""Settings: what a file may say, and what is told of what it may not."""

from pathlib import Path

import pytest

from mcp_agent.config import MCPServerSettings, Settings, TLSSettings, load_settings
from mcp_agent.errors import ConfigError

SPECIFICATION = """
execution_engine: temporal
workflow_task_modules:
  - my_package.custom_temporal_tasks
workflow_task_retry_policies:
  my_package.custom_temporal_tasks.my_activity:
    maximum_attempts: 1
temporal:
  host: your-namespace.tmprl.cloud
  port: 7233
  namespace: your-namespace
  task_queue: mcp-agent-production
  max_concurrent_activities: 10
  tls:
    client_cert_path: /path/to/client.crt
    client_key_path: /path/to/client.key
    ca_cert_path: /path/to/ca.crt
    server_name: your-namespace.tmprl.cloud
  data_converter:
    encryption_key: ${TEMPORAL_ENCRYPTION_KEY}
    codec: aes256gcm
  retry_policy:
    initial_interval: 1
    maximum_interval: 100
    backoff_coefficient: 2
    maximum_attempts: 50
  auth:
    api_key: ${TEMPORAL_API_KEY}
    namespace: your-namespace
logger:
  transports: [console]
  level: info
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        "MCP_AGENT_CONFIG",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "ANTHROPIC_API_KEY",
        "GOOGLE_API_KEY",
        "GEMINI_API_KEY",
        "GOOGLE_GENAI_USE_VERTEXAI",
        "GOOGLE_CLOUD_PROJECT",
        "GOOGLE_CLOUD_LOCATION",
    ):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".git").mkdir()  # the search for a file ends here
    return tmp_path


def write(folder: Path, text: str, name: str = "mcp_agent.config.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def problem(folder: Path, text: str) -> str:
    write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    return str(caught.value)


@pytest.mark.promise("specification: every key of its configuration blocks")
def test_every_key_of_the_specification_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEMPORAL_ENCRYPTION_KEY", "encryption-secret")
    monkeypatch.setenv("TEMPORAL_API_KEY", "api-secret")
    write(folder, SPECIFICATION)
    settings = load_settings()
    temporal = settings.temporal
    assert temporal.host == "your-namespace.tmprl.cloud"
    assert isinstance(temporal.tls, TLSSettings)
    assert temporal.auth is not None
    assert temporal.auth.api_key is not None
    assert temporal.auth.api_key.get_secret_value() == "api-secret"
    assert temporal.data_converter is not None
    policies = settings.retry_policies()
    assert policies.of("my_package.custom_temporal_tasks.my_activity", None).maximum_attempts == 1
    assert policies.of("another", None).maximum_attempts == 50
    assert "secret" not in repr(settings)


def test_without_a_file_there_are_defaults():
    settings = load_settings()
    assert settings == Settings()
    assert settings.source is None
    assert settings.execution_engine == "asyncio"


def test_the_nearest_file_above_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(folder, "server: {port: 8123}")
    (folder / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(folder / "a" / "b")
    assert load_settings().source == path
    assert load_settings().server.port == 8123


def test_secrets_are_merged_over_the_file_and_variables_over_both(folder: Path, monkeypatch: pytest.MonkeyPatch):
    write(folder, "openai: {default_model: small, api_key: from-file}")
    write(folder, "openai: {api_key: from-secrets}", "mcp_agent.secrets.yaml")
    monkeypatch.setenv("OPENAI_API_KEY", "from-provider-variable")
    openai = load_settings().openai
    assert openai.default_model == "small"
    assert openai.api_key is not None
    assert openai.api_key.get_secret_value() == "from-secrets"
    monkeypatch.setenv("MCP_AGENT__OPENAI__DEFAULT_MODEL", "large")
    assert load_settings().openai.default_model == "large"


def test_a_provider_s_own_variable_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "from-variable")
    key = load_settings().openai.api_key
    assert key is not None
    assert key.get_secret_value() == "from-variable"


def test_vertex_ai_is_found_where_googles_own_tools_look(monkeypatch: pytest.MonkeyPatch):
    assert not load_settings().google.vertexai
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p1")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "us")
    google = load_settings().google
    assert (google.vertexai, google.project, google.location) == (True, "p1", "us")


def test_variables_in_texts_are_filled_in(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("QUEUE", "q1")
    write(folder, 'temporal: {task_queue: "${QUEUE}-${SUFFIX:-blue}", host: here, namespace: "${CONFIG_DIR}"}')
    temporal = load_settings().temporal
    assert temporal.task_queue == "q1-blue"
    assert temporal.namespace == str(folder)


def test_an_unset_variable_is_an_error_that_names_it_and_the_key(folder: Path):
    assert "`openai.api_key` needs the environment variable `NOT_THERE`" in problem(folder, 'openai: {api_key: "${NOT_THERE}"}')


def test_relative_paths_are_meant_from_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "conf"
    folder.mkdir()
    server = "{command: x, cwd: here, roots: [., /srv]}"
    file = write(
        folder,
        "temporal: {host: h, tls: {client_cert_path: my.crt, client_key_path: my.key}}\n"
        f"mcp: {{servers: {{one: {server}}}}}\nscripted: {{file: s.yaml}}",
    )
    monkeypatch.chdir(tmp_path)
    settings = load_settings(file)
    one = settings.mcp.servers["one"]
    assert (one.cwd, one.roots) == (folder / "here", [folder, Path("/srv")])
    assert settings.temporal.tls == TLSSettings(client_cert_path=folder / "my.crt", client_key_path=folder / "my.key")
    assert settings.scripted.file == folder / "s.yaml"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mcp: {servers: {a: {url: search.example/mcp}}}", "`mcp.servers.a.url`: give an address like `https://host/path`."),
        (
            "mcp: {servers: {a: {url: 'http://x', auth: {client_id: a, client_secret: b, token_url: login}}}}",
            "`mcp.servers.a.auth.token_url`: give an address like `https://host/path`.",
        ),
        ("execution_engin: temporal", "`execution_engin` is not known. Did you mean `execution_engine`?"),
        ("temporal: {prot: 1}", "`temporal.prot` is not known. Did you mean `port`?"),
        ("temporal: {tls: {server_nam: x}}", "`temporal.tls.server_nam` is not known. Did you mean `server_name`?"),
        ("mcp: {servers: {files: {comand: x}}}", "`mcp.servers.files.comand` is not known. Did you mean `command`?"),
        ("workflow_task_retry_policies: {a: {maximum_attempt: 1}}", "Did you mean `maximum_attempts`?"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest(folder: Path, text: str, expected: str):
    assert expected in problem(folder, text)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("execution_engine: celery", "`execution_engine` is `celery`"),
        ("temporal: {port: many}", "`temporal.port` is `many`"),
        ("temporal: {port: 99999}", "`temporal.port` is `99999`"),
        ("server: {wait_budget_seconds: -1}", "`server.wait_budget_seconds` is `-1`"),
        ("temporal: {retry_policy: {backoff_coefficient: 0.5}}", "`temporal.retry_policy.backoff_coefficient` is `0.5`"),
        ("mcp: {servers: {x: {command: a, url: http://b}}}", "`mcp.servers.x`: give a `command` to run or a `url` to reach"),
        ("mcp: {servers: {x: {}}}", "`mcp.servers.x`: give a `command` to run or a `url` to reach"),
        ("mcp: {servers: {x: {url: http://u, transport: stdio}}}", "`transport: stdio` does not go with `url`"),
        ("mcp: {servers: {x: {command: c, headers: {A: b}}}}", "`headers` does not go with `command`"),
        ("mcp: {servers: {x: {url: http://u, cwd: /}}}", "`cwd` does not go with `url`"),
        ("mcp: {servers: {x: {url: http://u, auth: {}}}}", "`mcp.servers.x.auth`: give a `bearer_token`, or a `client_id`"),
        (
            "mcp: {servers: {x: {url: http://u, auth: {bearer_token: a, issuer: http://b}}}}",
            "`issuer` does not go with `bearer_token`",
        ),
        (
            "mcp: {servers: {x: {url: http://u, auth: {client_id: a, issuer: http://b}}}}",
            "needs a `client_secret` or a `refresh_token`",
        ),
        ("mcp: {servers: {x: {url: http://u, auth: {client_id: a, client_secret: b}}}}", "say where tokens are given out"),
        ("mcp: {servers: {x: {command: c, call_timeout_seconds: 100000}}}", "`mcp.servers.x.call_timeout_seconds` is `100000`"),
        ("logger: {transports: [file]}", "`logger`: `transports` names `file`"),
        ("temporal: {host: h, namespace: a, auth: {namespace: b}}", "`temporal`: `auth.namespace` is `b`, `namespace` is `a`"),
    ],
)
def test_a_wrong_value_is_an_error_with_its_path_and_the_value(folder: Path, text: str, path: str):
    assert path in problem(folder, text)


def test_all_problems_are_told_at_once(folder: Path):
    told = problem(folder, "temporal: {prot: 1, port: many}\nserver: {port: x}")
    assert all(part in told for part in ("temporal.prot", "temporal.port", "server.port"))


def test_a_secret_s_value_is_not_told(folder: Path):
    told = problem(
        folder, "openai: {api_key: [planted-secret]}\nmcp: {servers: {x: {url: http://u, headers: {A: [planted-secret]}}}}"
    )
    assert "openai.api_key" in told
    assert "planted-secret" not in told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2", "line 2 is no valid YAML: key `a` is there twice"),
        ("a: [1", "is no valid YAML"),
        ("- 1", "must hold keys and values, not a list"),
        ("just text", "must hold keys and values, not a str"),
        ("1: 2", "there is no key `1`: names of settings are text"),
        ("server: &a [*a]", "holds a value that is a part of itself"),
    ],
)
def test_what_is_no_configuration_is_an_error(folder: Path, text: str, expected: str):
    assert expected in problem(folder, text)


@pytest.mark.parametrize("name", ["config", "secrets"])
def test_two_files_are_an_error(folder: Path, name: str):
    write(folder, "")
    write(folder, "", f"mcp_agent.{name}.yml")
    write(folder, "", f"mcp_agent.{name}.yaml")
    with pytest.raises(ConfigError, match="There are two files"):
        load_settings()


def test_a_file_that_is_not_there_is_an_error(folder: Path):
    with pytest.raises(ConfigError, match=r"no configuration file .*nowhere\.yaml"):
        load_settings(folder / "nowhere.yaml")


def test_a_variable_that_names_no_section_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MCP_AGENT__TEMPRAL__PORT", "1")
    with pytest.raises(ConfigError, match="`MCP_AGENT__TEMPRAL__PORT` names no section"):
        load_settings()


def test_settings_made_by_hand_read_no_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MCP_AGENT__EXECUTION_ENGINE", "temporal")
    assert Settings().execution_engine == "asyncio"
    assert Settings(mcp={"servers": {"x": {"command": "y"}}}).mcp.servers["x"] == MCPServerSettings(command="y")
