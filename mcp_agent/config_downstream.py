"""The `mcp` section: downstream servers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from mcp_agent.config_section import Address, Seconds, Section

LONGEST_CALL = 23 * 3600.0  # a step that makes one has a day


class MCPAuthSettings(Section):
    """How a downstream server over HTTP knows us: a token that is given, tokens from an OAuth server, or those of our callers.

    Attributes:
        bearer_token: Sent as it is.
        caller_token: Sends the token that the run's owner has sent us. Only for a server that its tokens are made for, too.
        client_id: Of an OAuth client; with `client_secret` it gets tokens for itself (client credentials).
        refresh_token: Gets tokens instead of the client's own credentials.
        token_url: Where tokens are given out. Credentials go there and nowhere else.
        issuer: The OAuth server, which says itself (RFC 8414) where it gives out tokens; instead of `token_url`.
        scopes: Asked for with each token.
        resource: What the tokens are for (RFC 8707); the server's `url` by default.
        client_authentication: Whether the client's credentials travel in a header (`basic`) or in the form (`post`).
    """

    bearer_token: SecretStr | None = None
    caller_token: bool = False
    client_id: str | None = None
    client_secret: SecretStr | None = None
    refresh_token: SecretStr | None = None
    token_url: Address | None = None
    issuer: Address | None = None
    scopes: list[str] = []
    resource: str | None = None
    client_authentication: Literal["basic", "post"] = "basic"

    @model_validator(mode="after")
    def _one_kind(self) -> MCPAuthSettings:
        alone = next((key for key in ("bearer_token", "caller_token") if getattr(self, key)), None)
        if alone is not None:
            others = self.model_fields_set - {alone}
            if others:
                raise ValueError(f"`{min(others)}` does not go with `{alone}`: leave one of them out.")
            return self
        if self.client_id is None:
            raise ValueError("give a `bearer_token`, or a `client_id` with what belongs to it, or say `caller_token: true`.")
        if self.client_secret is None and self.refresh_token is None:
            raise ValueError("`client_id` needs a `client_secret` or a `refresh_token`.")
        if (self.token_url is None) == (self.issuer is None):
            raise ValueError("say where tokens are given out, with `token_url` or with `issuer`, one of the two.")
        return self


class MCPServerSettings(Section):
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
    url: Address | None = None
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


class MCPSettings(Section):
    """Downstream MCP servers by name, as agents call them in `server_names`."""

    servers: dict[str, MCPServerSettings] = {}

    @property
    def with_caller_token(self) -> list[str]:
        """The servers that get the tokens of our callers."""
        return [name for name, server in self.servers.items() if server.auth is not None and server.auth.caller_token]
