"""Settings: one tree, from `mcp_agent.config.yaml`, `mcp_agent.secrets.yaml` beside it, and the environment.

Later ones win: the file, the secrets file, `MCP_AGENT__SECTION__KEY` variables. `${NAME}` and `${NAME:-default}` in any
text are filled in from the environment; `${PYTHON}` is this interpreter and `${CONFIG_DIR}` the file's folder. A key that is
not known is an error: nothing that was asked for is ignored.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from pydantic import Field, PrivateAttr, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from mcp_agent.config_connection import PollerSettings, TemporalAuthSettings, TLSSettings, TunerSettings, WorkerSettings
from mcp_agent.config_downstream import MCPAuthSettings, MCPServerSettings, MCPSettings
from mcp_agent.config_observability import (
    HealthSettings,
    MetricsSettings,
    ObservabilitySettings,
    TracingSettings,
    opentelemetry_variables,
)
from mcp_agent.config_problems import describe
from mcp_agent.config_providers import (
    AzureSettings,
    GoogleSettings,
    ModelSettings,
    OpenAISettings,
    ProviderSettings,
    ScriptedSettings,
)
from mcp_agent.config_queues import TOOLS, WORKFLOWS, QueueSettings, unknown_queue
from mcp_agent.config_section import Section
from mcp_agent.config_server import (
    CallerPrioritySettings,
    IntrospectionSettings,
    LimitSettings,
    ServerAuthSettings,
    ServerSettings,
    StaticTokenSettings,
)
from mcp_agent.config_stored import (
    CodecServerSettings,
    CompressionMethod,
    DataConverterSettings,
    ExternalStorageSettings,
    GCSSettings,
    KeySettings,
    S3Settings,
)
from mcp_agent.config_temporal import RetryPolicySettings, TemporalSettings
from mcp_agent.errors import ConfigError
from mcp_agent.executor.retry import RetryPolicies

__all__ = [
    "AzureSettings",
    "CallerPrioritySettings",
    "CodecServerSettings",
    "CompressionMethod",
    "DataConverterSettings",
    "ExternalStorageSettings",
    "GCSSettings",
    "GoogleSettings",
    "HealthSettings",
    "IntrospectionSettings",
    "KeySettings",
    "LimitSettings",
    "LoggerSettings",
    "MCPAuthSettings",
    "MCPServerSettings",
    "MCPSettings",
    "MetricsSettings",
    "ModelSettings",
    "ObservabilitySettings",
    "OpenAISettings",
    "PollerSettings",
    "ProviderSettings",
    "QueueSettings",
    "RetryPolicySettings",
    "S3Settings",
    "ScriptedSettings",
    "ServerAuthSettings",
    "ServerSettings",
    "Settings",
    "StaticTokenSettings",
    "TLSSettings",
    "TemporalAuthSettings",
    "TemporalSettings",
    "TracingSettings",
    "TunerSettings",
    "WorkerSettings",
    "load_settings",
]

CONFIG_NAMES = ("mcp_agent.config.yaml", "mcp_agent.config.yml")
SECRETS_NAMES = ("mcp_agent.secrets.yaml", "mcp_agent.secrets.yml")
ENV_PREFIX = "MCP_AGENT__"


class LoggerSettings(Section):
    """Logs go to standard error (`console`) or to a file, never to standard output, which is the protocol's.

    Attributes:
        format: `json` is one object a line, with the ids of the run, step and trace that it is about.
    """

    transports: list[Literal["console", "file", "none"]] = ["console"]
    level: Literal["debug", "info", "warning", "error"] = "info"
    path: Path | None = None
    format: Literal["text", "json"] = "text"

    @model_validator(mode="after")
    def _file_has_path(self) -> LoggerSettings:
        if "file" in self.transports and self.path is None:
            raise ValueError("`transports` names `file`: say where with `path`.")
        return self


class Settings(BaseSettings):
    """Everything that can be configured. Constructed by hand it reads no file and no environment.

    Attributes:
        conversation_cache_bytes: About how much of the conversations of its runs a worker keeps in memory; what it lacks
            it reads again from the run's history. 0 keeps nothing.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, defer_build=True)

    execution_engine: Literal["asyncio", "temporal"] = "asyncio"
    workflow_task_modules: list[str] = []
    workflow_task_retry_policies: dict[str, RetryPolicySettings] = {}
    conversation_cache_bytes: int = Field(default=64 * 1024 * 1024, ge=0)
    temporal: TemporalSettings = TemporalSettings()
    logger: LoggerSettings = LoggerSettings()
    mcp: MCPSettings = MCPSettings()
    openai: OpenAISettings = OpenAISettings()
    anthropic: ProviderSettings = ProviderSettings()
    google: GoogleSettings = GoogleSettings()
    azure: AzureSettings = AzureSettings()
    scripted: ScriptedSettings = ScriptedSettings()
    server: ServerSettings = ServerSettings()
    observability: ObservabilitySettings = ObservabilitySettings()
    _source: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _callers_have_tokens(self) -> Settings:
        for name in self.mcp.with_caller_token:
            key = f"mcp.servers.{name}.auth.caller_token"
            if self.server.auth is None:
                raise ValueError(f"`{key}` needs `server.auth`: without it callers send no tokens.")
            if not self.server.worker:
                raise ValueError(f"`{key}` needs `server.worker: true`: tokens never leave the server's process.")
            queue = TOOLS if TOOLS in self.temporal.queues else WORKFLOWS
            if isinstance(self.server.worker, list) and queue not in self.server.worker:
                raise ValueError(f"`{key}` needs `{queue}` in `server.worker`: tokens never leave the server's process.")
        return self

    @model_validator(mode="after")
    def _served_queues_are_there(self) -> Settings:
        problem = unknown_queue(self.server.worker if isinstance(self.server.worker, list) else (), self.temporal.queues)
        if problem is not None:
            raise ValueError(f"`server.worker`: {problem}")
        return self

    def retry_policies(self) -> RetryPolicies:
        """What the configuration says of retries."""
        default = self.temporal.retry_policy
        named = {name: policy.as_policy() for name, policy in self.workflow_task_retry_policies.items()}
        return RetryPolicies(named, None if default is None else default.as_policy())

    @property
    def source(self) -> Path | None:
        """The file that the settings were read from."""
        return self._source

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def load_settings(path: Path | None = None) -> Settings:
    """Reads the configuration: of `path`, else of `MCP_AGENT_CONFIG`, else the nearest file of this folder or those above.

    Raises:
        ConfigError: Says every problem at once, with the path of each key.
    """
    file = _explicit(path) or _find(Path.cwd())
    data: dict[str, Any] = {}
    if file is not None:
        data = _read(file)
        secrets = _only_one(file.parent, SECRETS_NAMES)
        if secrets is not None:
            data = _merged(data, _read(secrets))
    _check_variables()
    data = _merged(_merged({**_provider_variables(), **opentelemetry_variables()}, data), _variables())
    try:
        settings = Settings(**_paths_from(file, data))
    except ValidationError as error:
        raise ConfigError(f"{file or 'The environment'}: {describe(error, Settings)}") from None
    settings._source = file  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - ours
    return settings


def _explicit(path: Path | None) -> Path | None:
    given = path or (Path(os.environ["MCP_AGENT_CONFIG"]) if os.environ.get("MCP_AGENT_CONFIG") else None)
    if given is not None and not given.is_file():
        raise ConfigError(f"There is no configuration file `{given}`.")
    return None if given is None else given.resolve()


def _find(start: Path) -> Path | None:
    """The nearest file at or above `start`; a repository's top and the home folder end the search."""
    for folder in (start, *start.parents):
        found = _only_one(folder, CONFIG_NAMES)
        if found is not None:
            return found
        if (folder / ".git").exists() or folder == Path.home():
            return None
    return None


def _only_one(folder: Path, names: tuple[str, str]) -> Path | None:
    there = [folder / name for name in names if (folder / name).is_file()]
    if len(there) > 1:
        raise ConfigError(f"There are two files, `{there[0]}` and `{there[1].name}`: keep one.")
    return there[0] if there else None


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice: one of them would be ignored."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        pairs: list[tuple[yaml.Node, yaml.Node]] = node.value
        for key_node, _ in pairs:
            key = cast("Any", self).construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key `{key}` is there twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _read(file: Path) -> dict[str, Any]:
    try:
        data: Any = yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"`{file}` cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"`{file}`{line} is no valid YAML: {getattr(error, 'problem', None) or error}.") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"`{file}` must hold keys and values, not a {type(data).__name__}.")
    unnamed = [key for key in cast("dict[Any, Any]", data) if not isinstance(key, str)]
    if unnamed:
        raise ConfigError(f"`{file}`: there is no key `{unnamed[0]}`: names of settings are text.")
    problems: list[str] = []
    known = {"PYTHON": sys.executable, "CONFIG_DIR": str(file.parent), **os.environ}
    try:
        filled = _filled(data, "", known, problems)
    except RecursionError:
        raise ConfigError(f"`{file}` holds a value that is a part of itself: look at its anchors (`&`, `*`).") from None
    if problems:
        raise ConfigError(f"`{file}`: {'; '.join(problems)}.")
    return filled


_REFERENCE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def _filled(value: Any, path: str, known: Mapping[str, str], problems: list[str]) -> Any:
    """The value with `${NAME}` filled in."""
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {key: _filled(item, f"{path}.{key}".lstrip("."), known, problems) for key, item in items}
    if isinstance(value, list):
        return [_filled(item, f"{path}.{n}", known, problems) for n, item in enumerate(cast("list[Any]", value))]
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        default: str | None = match[2]
        found = known.get(name, default)
        if found is None:
            problems.append(f"`{path}` needs the environment variable `{name}`, which is not set")
        return found or ""

    return _REFERENCE.sub(fill, value)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(under)
    for key, value in over.items():
        before = result.get(key)
        result[key] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value  # pyright: ignore[reportUnknownArgumentType]
    return result


def _provider_variables() -> dict[str, Any]:
    """Keys where the providers' own tools look for them."""
    known = {
        ("openai", "api_key"): ("OPENAI_API_KEY",),
        ("openai", "base_url"): ("OPENAI_BASE_URL",),
        ("anthropic", "api_key"): ("ANTHROPIC_API_KEY",),
        ("anthropic", "base_url"): ("ANTHROPIC_BASE_URL",),
        ("google", "api_key"): ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        ("google", "vertexai"): ("GOOGLE_GENAI_USE_VERTEXAI",),
        ("google", "project"): ("GOOGLE_CLOUD_PROJECT",),
        ("google", "location"): ("GOOGLE_CLOUD_LOCATION",),
        ("azure", "api_key"): ("AZURE_OPENAI_API_KEY",),
        ("azure", "ad_token"): ("AZURE_OPENAI_AD_TOKEN",),
        ("azure", "base_url"): ("AZURE_OPENAI_ENDPOINT",),
        ("azure", "api_version"): ("OPENAI_API_VERSION",),
    }
    data: dict[str, Any] = {}
    for (section, key), names in known.items():
        value = next((os.environ[name] for name in names if os.environ.get(name)), None)
        if value is not None:
            data.setdefault(section, {})[key] = value
    return data


def _variables() -> dict[str, Any]:
    return EnvSettingsSource(Settings, env_prefix=ENV_PREFIX, env_nested_delimiter="__")()


def _check_variables() -> None:
    sections = {f"{ENV_PREFIX}{name}".upper() for name in Settings.model_fields}
    for name in os.environ:
        if name.upper().startswith(ENV_PREFIX) and "__".join(name.upper().split("__")[:2]) not in sections:
            known = ", ".join(f"`{section}`" for section in sorted(sections))
            raise ConfigError(f"The environment variable `{name}` names no section; there are {known}.")


_PATHS = (
    ("scripted", "file"),
    ("temporal", "data_dir"),
    ("temporal", "data_converter", "keys", "file"),
    ("temporal", "external_storage", "folder"),
    ("temporal", "profile_file"),
    ("temporal", "auth", "api_key_file"),
    ("temporal", "tls", "client_cert_path"),
    ("temporal", "tls", "client_key_path"),
    ("temporal", "tls", "ca_cert_path"),
    ("logger", "path"),
    ("mcp", "servers", "*", "cwd"),
    ("mcp", "servers", "*", "roots"),
)


def _paths_from(file: Path | None, data: dict[str, Any]) -> dict[str, Any]:
    """Relative paths in a file are meant from where the file is."""
    if file is not None:
        for path in _PATHS:
            _placed(data, path, file.parent)
    return data


def _placed(value: Any, path: Sequence[str], folder: Path) -> Any:
    """The value, with what is at `path` in it meant from `folder`."""
    if isinstance(value, list):
        return [_placed(one, path, folder) for one in cast("list[Any]", value)]
    if not path:
        return str(folder / Path(value).expanduser()) if isinstance(value, str) else value
    if isinstance(value, dict):
        section = cast("dict[str, Any]", value)
        for key in section if path[0] == "*" else {path[0]} & section.keys():
            section[key] = _placed(section[key], path[1:], folder)
    return cast("Any", value)
