"""Settings: one tree, from `mcp_agent.config.yaml`, `mcp_agent.secrets.yaml` beside it, and the environment.

Later ones win: the file, the secrets file, `MCP_AGENT__SECTION__KEY` variables. `${NAME}` and `${NAME:-default}` in any
text are filled in from the environment; `${PYTHON}` is this interpreter and `${CONFIG_DIR}` the file's folder. A key that is
not known is an error: nothing that was asked for is ignored.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from mcp_agent.config_problems import describe
from mcp_agent.errors import ConfigError
from mcp_agent.executor.retry import RetryPolicies, RetryPolicy

CONFIG_NAMES = ("mcp_agent.config.yaml", "mcp_agent.config.yml")
SECRETS_NAMES = ("mcp_agent.secrets.yaml", "mcp_agent.secrets.yml")
ENV_PREFIX = "MCP_AGENT__"

Seconds = Annotated[float, Field(gt=0)]
LONGEST_CALL = 23 * 3600.0  # a step that makes one has a day


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class RetryPolicySettings(_Section):
    """Retries of a step; intervals in seconds. See `RetryPolicy`."""

    initial_interval: Seconds = 1
    maximum_interval: Seconds | None = None
    backoff_coefficient: float = Field(default=2, ge=1)
    maximum_attempts: int = Field(default=0, ge=0)
    non_retryable_error_types: list[str] | None = None

    def as_policy(self) -> RetryPolicy:
        return RetryPolicy(
            initial_interval=timedelta(seconds=self.initial_interval),
            maximum_interval=None if self.maximum_interval is None else timedelta(seconds=self.maximum_interval),
            backoff_coefficient=self.backoff_coefficient,
            maximum_attempts=self.maximum_attempts,
            non_retryable_error_types=self.non_retryable_error_types,
        )


class TLSSettings(_Section):
    """Paths of PEM files for a connection to Temporal, and the name its certificate is for."""

    client_cert_path: Path | None = None
    client_key_path: Path | None = None
    ca_cert_path: Path | None = None
    server_name: str | None = None


class DataConverterSettings(_Section):
    """Encryption of what is stored with runs on Temporal.

    Attributes:
        encryption_key: 32 bytes in base64; what is stored from now on is encrypted with it.
        compress: Compress before encrypting what becomes smaller by it.
        previous_keys: Keys that older runs were encrypted with; they only decrypt.
    """

    encryption_key: SecretStr
    codec: Literal["aes256gcm"] = "aes256gcm"
    compress: bool = False
    previous_keys: list[SecretStr] = []


class TemporalAuthSettings(_Section):
    """Temporal Cloud's API key; `namespace` must be the section's own."""

    api_key: SecretStr | None = None
    namespace: str | None = None


class TemporalSettings(_Section):
    """Where runs live. Without a `host`, this package brings its own Temporal.

    Attributes:
        task_queue: The app's name by default (on the embedded server made unique by the configuration's path).
        binary: The `temporal` program for the embedded server.
        data_dir: Where the embedded server keeps its database.
        worker_versioning: Whether workers tell Temporal which build of the code they have, so that the one that was started
            last runs all workflows. By default on the embedded server only: on another one it may not be allowed.
        passthrough_modules: Modules that workflow code may import as they are, instead of anew for each run.
    """

    host: str | None = None
    port: int = Field(default=7233, gt=0, lt=65536)
    namespace: str = "default"
    task_queue: str | None = Field(default=None, min_length=1)
    max_concurrent_activities: int | None = Field(default=None, gt=0)
    tls: bool | TLSSettings | None = None
    data_converter: DataConverterSettings | None = None
    retry_policy: RetryPolicySettings | None = None
    auth: TemporalAuthSettings | None = None
    binary: Path | None = None
    data_dir: Path | None = None
    worker_versioning: bool | None = None
    passthrough_modules: list[str] = []

    @model_validator(mode="after")
    def _one_namespace(self) -> TemporalSettings:
        if self.auth is not None and self.auth.namespace not in (None, self.namespace):
            raise ValueError(f"`auth.namespace` is `{self.auth.namespace}`, `namespace` is `{self.namespace}`: give one.")
        return self


class LoggerSettings(_Section):
    """Logs go to standard error (`console`) or to a file, never to standard output, which is the protocol's."""

    transports: list[Literal["console", "file", "none"]] = ["console"]
    level: Literal["debug", "info", "warning", "error"] = "info"
    path: Path | None = None

    @model_validator(mode="after")
    def _file_has_path(self) -> LoggerSettings:
        if "file" in self.transports and self.path is None:
            raise ValueError("`transports` names `file`: say where with `path`.")
        return self


class MCPAuthSettings(_Section):
    """How a downstream server over HTTP knows us: a token that is given, or tokens from an OAuth server.

    Attributes:
        bearer_token: Sent as it is.
        client_id: Of an OAuth client; with `client_secret` it gets tokens for itself (client credentials).
        refresh_token: Gets tokens instead of the client's own credentials.
        token_url: Where tokens are given out. Credentials go there and nowhere else.
        issuer: The OAuth server, which says itself (RFC 8414) where it gives out tokens; instead of `token_url`.
        scopes: Asked for with each token.
        resource: What the tokens are for (RFC 8707); the server's `url` by default.
        client_authentication: Whether the client's credentials travel in a header (`basic`) or in the form (`post`).
    """

    bearer_token: SecretStr | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    refresh_token: SecretStr | None = None
    token_url: str | None = None
    issuer: str | None = None
    scopes: list[str] = []
    resource: str | None = None
    client_authentication: Literal["basic", "post"] = "basic"

    @model_validator(mode="after")
    def _one_kind(self) -> MCPAuthSettings:
        if self.bearer_token is not None:
            others = self.model_fields_set - {"bearer_token"}
            if others:
                raise ValueError(f"`{min(others)}` does not go with `bearer_token`: leave one of them out.")
            return self
        if self.client_id is None:
            raise ValueError("give a `bearer_token`, or a `client_id` with what belongs to it.")
        if self.client_secret is None and self.refresh_token is None:
            raise ValueError("`client_id` needs a `client_secret` or a `refresh_token`.")
        if (self.token_url is None) == (self.issuer is None):
            raise ValueError("say where tokens are given out, with `token_url` or with `issuer`, one of the two.")
        return self


class MCPServerSettings(_Section):
    """A downstream MCP server: a `command` to run, or a `url`.

    Attributes:
        env: Added to a small safe environment; the process does not inherit everything.
        transport: `stdio` for a command, `streamable_http` for a url, unless said.
        protocol: `auto` speaks the newest revision that the server knows; `legacy` begins with `initialize`, as servers from
            before 2026 want it.
        headers: Sent with each request to a `url`.
        auth: For a `url`.
        connect_timeout_seconds: The longest that a server may take to start and greet.
        call_timeout_seconds: The longest that one operation may take; the time that a person takes does not count.
        idle_timeout_seconds: A connection that is not used for longer is closed.
        ask_timeout_seconds: How long a call is held open for a person, for a server that cannot be asked again later.
        allowed_tools: Only these are shown to models; all by default.
        roots: Folders that the server is told it may work in.
        elicitation: Whether the server may ask the run's person.
        sampling: Whether the server may ask the agent's model.
    """

    command: str | None = None
    args: list[str] = []
    env: dict[str, SecretStr] = {}
    cwd: Path | None = None
    url: str | None = None
    transport: Literal["stdio", "sse", "streamable_http"] | None = None
    protocol: Literal["auto", "legacy"] = "auto"
    headers: dict[str, SecretStr] = {}
    auth: MCPAuthSettings | None = None
    connect_timeout_seconds: Seconds = 30
    call_timeout_seconds: Annotated[float, Field(gt=0, le=LONGEST_CALL)] = 60
    idle_timeout_seconds: Seconds = 300
    ask_timeout_seconds: Seconds = 3600
    allowed_tools: list[str] | None = None
    roots: list[Path] = []
    elicitation: bool = True
    sampling: bool = True

    @model_validator(mode="after")
    def _one_way(self) -> MCPServerSettings:
        if (self.command is None) == (self.url is None):
            raise ValueError("give a `command` to run or a `url` to reach, one of the two.")
        if (self.transport == "stdio") != (self.command is not None) and self.transport is not None:
            raise ValueError(f"`transport: {self.transport}` does not go with `{'command' if self.command else 'url'}`.")
        only = ("headers", "auth") if self.command is not None else ("args", "env", "cwd")
        given = [key for key in only if getattr(self, key)]
        if given:
            raise ValueError(f"`{given[0]}` does not go with `{'command' if self.command else 'url'}`: leave it out.")
        return self


class MCPSettings(_Section):
    """Downstream MCP servers by name, as agents call them in `server_names`."""

    servers: dict[str, MCPServerSettings] = {}


class ModelSettings(_Section):
    """A model among which `RequestParams.model_preferences` chooses; 1 is best. What it costs is known from its price."""

    intelligence: float = Field(default=0.5, ge=0, le=1)
    speed: float = Field(default=0.5, ge=0, le=1)


class ProviderSettings(_Section):
    """A model provider. Keys are read from the provider's usual variable too, such as `OPENAI_API_KEY`.

    Attributes:
        api_key: Goes to the provider and nowhere else.
        base_url: Another address than the provider's own.
        default_model: For calls that name none.
        models: For calls that say what they prefer; this package's own list by default.
        timeout_seconds: The longest that one attempt may take.
        stall_timeout_seconds: The longest that an answer may be silent while it is streamed.
        stream: Whether answers come piece by piece, so that whoever watches a run sees them grow.
        prompt_caching: Whether long beginnings are marked for the provider's cache, where its API has marks.
    """

    api_key: SecretStr | None = None
    base_url: str | None = None
    default_model: str | None = None
    models: dict[str, ModelSettings] = {}
    timeout_seconds: Seconds | None = None
    stall_timeout_seconds: Seconds = 120
    stream: bool = True
    prompt_caching: bool = True


class OpenAISettings(ProviderSettings):
    """OpenAI, and whatever speaks its API.

    Attributes:
        api: `responses`, or `chat` (completions). `auto`: `responses` at OpenAI's own address, except for what only `chat`
            can do (stop sequences, sound), and `chat` elsewhere.
        organization: Sent with each request, as is `project`.
    """

    api: Literal["auto", "chat", "responses"] = "auto"
    organization: str | None = None
    project: str | None = None


class AzureSettings(ProviderSettings):
    """OpenAI's models on Azure.

    Attributes:
        base_url: The resource's endpoint, such as `https://my-resource.openai.azure.com`.
        api_version: Of Azure's dated API; without one its v1 API is spoken, which needs none.
        api: As for OpenAI; `auto` is `chat`.
        ad_token: An Entra ID token instead of `api_key`.
    """

    api: Literal["auto", "chat", "responses"] = "auto"
    api_version: str | None = None
    ad_token: SecretStr | None = None


class GoogleSettings(ProviderSettings):
    """Gemini, with an API key or on Vertex AI.

    Attributes:
        vertexai: Whether to use Vertex AI: with the machine's Google credentials for the `project`, or without a project
            with an express-mode `api_key`.
        project: The Google Cloud project, for Vertex AI.
        location: Its region, such as `europe-west4`; `global` by default.
    """

    vertexai: bool = False
    project: str | None = None
    location: str | None = None


class ScriptedSettings(_Section):
    """A scripted model (`mcp_agent.testing`) that stands in for every provider when `file` is given."""

    file: Path | None = None


class ServerSettings(_Section):
    """The MCP server.

    Attributes:
        app: What `mcp-agent serve` serves: `module:attribute`.
        wait_budget_seconds: The longest that one call waits for a run.
        progress_interval_seconds: How often a waiting client hears of progress at most.
        max_workflow_tools: With more workflows than this, one generic set of tools serves them all.
        worker: Whether the server also runs the workflows; without, `mcp-agent worker` processes do (Temporal only).
    """

    app: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, lt=65536)
    wait_budget_seconds: Seconds = 20
    progress_interval_seconds: Seconds = 15
    max_workflow_tools: int = Field(default=25, ge=0)
    worker: bool = True


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
    _source: Path | None = PrivateAttr(default=None)

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
    data = _merged(_merged(_provider_variables(), data), _variables())
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
    problems: list[str] = []
    known = {"PYTHON": sys.executable, "CONFIG_DIR": str(file.parent), **os.environ}
    filled = _filled(data, "", known, problems)
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


def _paths_from(file: Path | None, data: dict[str, Any]) -> dict[str, Any]:
    """Relative paths in a file are meant from where the file is."""
    if file is None:
        return data
    for section, key in (("scripted", "file"), ("temporal", "data_dir"), ("logger", "path")):
        values = data.get(section)
        if isinstance(values, dict) and isinstance(values.get(key), str):  # pyright: ignore[reportUnknownMemberType]
            values[key] = str(file.parent / Path(values[key]).expanduser())  # pyright: ignore[reportUnknownArgumentType]
    return data
