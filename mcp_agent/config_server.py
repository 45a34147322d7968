"""The `server` section: where the MCP server is, who may call it, and how much."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from mcp_agent.config_section import Address, Seconds, Section
from mcp_agent.executor.priority import ORDINARY, CallerPriority, PriorityLevel

ACTIONS = ("read", "run", "cancel")
DEFAULT_BODY_LIMIT = 4 * 1024 * 1024
SHORTEST_TOKEN = 16

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures that only the holder of a private key can make: nothing with a shared secret, and never `none`."""


def _a_base(text: str) -> str:
    address = urlsplit(text)
    if "?" in text or "#" in text or "@" in address.netloc or address.port == 0:
        raise ValueError("give scheme, host, port and path only, like `https://agents.example.com`.")
    return text.rstrip("/")


def _a_scope(text: str) -> str:
    if not re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", text):
        raise ValueError(f"`{text}` is no scope: one word, without quotes or backslashes (RFC 6749).")
    area, _, rest = text.partition(":")
    if area == "workflows" and rest.partition(":")[0] not in ACTIONS:
        known = ", ".join(f"`workflows:{action}`" for action in ACTIONS)
        raise ValueError(f"`{text}` allows nothing: there are {known}, and each with `:<Workflow>` behind it.")
    return text


def _a_token(token: SecretStr) -> SecretStr:
    if len(token.get_secret_value()) < SHORTEST_TOKEN:
        raise ValueError(f"it has less than {SHORTEST_TOKEN} characters: make one with `openssl rand -hex 32`.")
    return token


def _a_host(text: str) -> str:
    if not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:\d+)?", text):
        raise ValueError(f"`{text}` is no host: give a name like `agents.example.com`, with a port if only that one is meant.")
    return text.lower()


def _an_origin(text: str) -> str:
    if not re.fullmatch(r"https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:\d+)?", text):
        raise ValueError(f"`{text}` is no origin: give scheme and host, like `https://app.example.com`.")
    return text.lower()


Base = Annotated[Address, AfterValidator(_a_base)]
Scope = Annotated[str, AfterValidator(_a_scope)]
Host = Annotated[str, AfterValidator(_a_host)]
Origin = Annotated[str, AfterValidator(_an_origin)]


class StaticTokenSettings(Section):
    """A caller of a small set-up.

    Attributes:
        subject: Who it is; several tokens may be one caller's, so that they can be changed without a pause.
        token: What it sends as `Authorization: Bearer`; at least 16 characters.
        scopes: What it may do; without any `workflows:` scope it can only list tools.
    """

    subject: str = Field(min_length=1)
    token: Annotated[SecretStr, AfterValidator(_a_token)]
    scopes: list[Scope] = []


class IntrospectionSettings(Section):
    """Asks the issuer about tokens that say nothing themselves (RFC 7662).

    Attributes:
        cache_seconds: How long an answer counts: also how long a token that was revoked is still accepted. 0 asks each time.
        all_tokens: Also ask about JWTs: what is asked about can be revoked.
        require_audience: Whether the answer must name what the token is for. Only where the issuer says `active` of no token
            but this server's may it be `false`.
    """

    url: Address
    client_id: str
    client_secret: SecretStr
    cache_seconds: float = Field(default=30, ge=0)
    all_tokens: bool = False
    require_audience: bool = True


class CallerPrioritySettings(Section):
    """What the runs of some callers get where more waits than can be done (Temporal only).

    Attributes:
        subject: Whose; or
        scope: those of tokens with this scope.
        priority: 1 (first) to 5 (last), instead of that of the workflow.
        weight: Its share among the callers of one priority, 1 by default.
    """

    subject: str | None = Field(default=None, min_length=1)
    scope: Scope | None = None
    priority: PriorityLevel | None = None
    weight: float | None = Field(default=None, ge=0.001, le=1000)

    @model_validator(mode="after")
    def _somebody_gets_something(self) -> CallerPrioritySettings:
        if (self.subject is None) == (self.scope is None):
            raise ValueError("say whose runs: by `subject`, or by `scope`.")
        if self.priority is None and self.weight is None:
            raise ValueError("say what they get: a `priority`, a `weight`, or both.")
        return self


class ServerAuthSettings(Section):
    """Who may call over HTTP and SSE. Over stdio the caller is whoever started the process: this section does not count there.

    Attributes:
        issuer: The OAuth server whose tokens are accepted, exactly as it writes itself.
        audience: What its tokens must be for; this server's own addresses by default.
        jwks_url: Where its keys are; what its metadata say by default (RFC 8414, OpenID Connect Discovery).
        algorithms: The signatures that are accepted.
        leeway_seconds: By how much clocks may differ.
        introspection: For tokens that are no JWT.
        tokens: Callers that need no issuer.
        required_scopes: Without all of them nothing is answered.
        scopes_supported: What clients are told to ask the issuer for; the `workflows:` scopes and the required ones by default.
        scopes: `off` for an issuer that knows no `workflows:` scopes: then every caller may do everything with its own runs.
        priorities: What the runs of some callers get; the first that fits a caller counts.
    """

    issuer: Address | None = None
    audience: str | None = None
    jwks_url: Address | None = None
    algorithms: list[Algorithm] = Field(default=["RS256", "PS256", "ES256", "EdDSA"], min_length=1)
    leeway_seconds: float = Field(default=10, ge=0, le=300)
    introspection: IntrospectionSettings | None = None
    tokens: list[StaticTokenSettings] = []
    required_scopes: list[Scope] = []
    scopes_supported: list[Scope] | None = None
    scopes: Literal["enforced", "off"] = "enforced"
    priorities: list[CallerPrioritySettings] = []

    def priority_of(self, subject: str | None, scopes: Collection[str]) -> CallerPriority:
        """What the runs of a caller get."""
        for one in self.priorities:
            if one.subject == subject if one.scope is None else one.scope in scopes:
                return CallerPriority(one.priority, one.weight)
        return ORDINARY

    @model_validator(mode="after")
    def _somebody_may_call(self) -> ServerAuthSettings:
        if self.issuer is None and not self.tokens:
            raise ValueError("say who may call: give an `issuer`, or `tokens`.")
        of_issuers = {"audience", "jwks_url", "algorithms", "leeway_seconds", "introspection", "scopes_supported"}
        lone = sorted(of_issuers & self.model_fields_set) if self.issuer is None else []
        if lone:
            raise ValueError(f"`{lone[0]}` is about the tokens of an `issuer`: say which one.")
        if self.introspection is not None and self.introspection.all_tokens:
            unused = sorted({"jwks_url", "algorithms"} & self.model_fields_set)
            if unused:
                raise ValueError(f"`{unused[0]}` does not go with `introspection.all_tokens`: leave one of them out.")
        return self

    @model_validator(mode="after")
    def _tokens_tell_callers_apart(self) -> ServerAuthSettings:
        seen: set[str] = set()
        for given in self.tokens:
            token = given.token.get_secret_value()
            if token in seen:
                raise ValueError(f"the token of `{given.subject}` is there twice: give each its own.")
            seen.add(token)
            if self.scopes == "off" and any(scope.startswith("workflows:") for scope in given.scopes):
                raise ValueError(f"`scopes: off` ignores the scopes of `{given.subject}`: leave them out, or enforce them.")
        return self


class LimitSettings(Section):
    """What one caller may use; all callers together are one where there is no auth. 0, or nothing, is no limit.

    Attributes:
        calls_per_minute: Calls of tools, tasks, prompts, resources and completion; so many at once, too, after a pause.
        concurrent_calls: Those under way, the ones that wait for a run among them.
        max_request_bytes: Of one HTTP request's body.
        max_sessions: Open sessions of all callers, of SSE and of streamable HTTP (up to revision 2025-11-25) each.
    """

    calls_per_minute: int | None = Field(default=None, ge=0)
    concurrent_calls: int | None = Field(default=None, ge=0)
    max_request_bytes: int = Field(default=DEFAULT_BODY_LIMIT, gt=0)
    max_sessions: int = Field(default=10_000, gt=0)


class ServerSettings(Section):
    """The MCP server.

    Attributes:
        app: What `mcp-agent serve` serves: `module:attribute`.
        public_url: Where clients reach it, if that is not `host` and `port`; `/mcp` and `/sse` are below it.
        allowed_hosts: Names that requests may call it by, beside those of this machine, of `host` and of `public_url`.
        allowed_origins: Web pages that may call it, beside those of the same names.
        public_without_auth: Says a second time that everybody who reaches the port may call.
        auth: Who may call; everybody without it.
        limits: How much one caller may use.
        state_keys: Secrets of at least 32 bytes that seal what clients carry between calls. Several servers behind one
            address share them. The first one seals, all of them open.
        wait_budget_seconds: The longest that one call waits for a run.
        progress_interval_seconds: How often a waiting client hears of progress at most.
        max_workflow_tools: With more workflows than this, one generic set of tools serves them all.
        grace_seconds: How long calls and steps under way may take when the server is told to stop.
        worker: Whether the server also runs the workflows; without, `mcp-agent worker` processes do (Temporal only). Or which of
            `temporal.queues` it serves, with `workflows` for that of the workflows.
    """

    app: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, lt=65536)
    public_url: Base | None = None
    allowed_hosts: list[Host] = []
    allowed_origins: list[Origin] = []
    public_without_auth: bool = False
    auth: ServerAuthSettings | None = None
    limits: LimitSettings = LimitSettings()
    state_keys: list[SecretStr] = []
    wait_budget_seconds: Seconds = 20
    progress_interval_seconds: Seconds = 15
    max_workflow_tools: int = Field(default=25, ge=0)
    grace_seconds: Seconds = 5
    worker: bool | list[str] = True

    @property
    def resources(self) -> Sequence[str]:
        """The addresses that tokens are for (RFC 8707): one of each transport. None without `public_url`."""
        return () if self.public_url is None else (f"{self.public_url}/mcp", f"{self.public_url}/sse")

    @model_validator(mode="after")
    def _auth_fits(self) -> ServerSettings:
        if self.auth is not None and self.auth.issuer is not None and self.public_url is None:
            raise ValueError("`auth.issuer` needs `public_url`: tokens are made for the address that clients reach.")
        if self.auth is not None and self.public_without_auth:
            raise ValueError("`public_without_auth` does not go with `auth`: leave one of them out.")
        return self

    @model_validator(mode="after")
    def _keys_are_long(self) -> ServerSettings:
        for number, key in enumerate(self.state_keys):
            if len(key.get_secret_value().encode()) < 32:
                raise ValueError(f"`state_keys.{number}` has less than 32 bytes: make one with `openssl rand -base64 32`.")
        return self
