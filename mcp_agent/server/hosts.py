"""By which names the server may be called, and whether it may listen where it is told to.

A web page can make a browser call any address, under any name (DNS rebinding): so a request must name a host that is served
here, and come from a page that is known, whatever the address that is listened on.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_agent.config import ServerSettings
from mcp_agent.errors import ConfigError

LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")


def check_binding(settings: ServerSettings, host: str) -> None:
    """Raises ConfigError if others could reach `host` and nobody said who may, or by which name."""
    if is_loopback(host):
        return
    if settings.auth is None and not settings.public_without_auth:
        raise ConfigError(
            f"On `{host}` everybody who reaches this machine could start runs: say who may call with `server.auth`, "
            "or `server.public_without_auth: true` if everybody may."
        )
    if _is_any(host) and settings.public_url is None and not settings.allowed_hosts:
        raise ConfigError(
            f"`{host}` is no name that clients call this server by: give `server.public_url`, "
            "or the names in `server.allowed_hosts`."
        )


class KnownNames:
    """Lets only requests through that name a host which is served here, and come from a page that is known.

    Args:
        app: What they are let through to.
        known: The names.
        section: The settings that allow more.
        unchecked: Paths for whoever probes: it names an address of the network that it is in.
    """

    def __init__(
        self, app: ASGIApp, known: TransportSecuritySettings, section: str = "server", unchecked: Collection[str] = ()
    ) -> None:
        self._app = app
        self._check = TransportSecurityMiddleware(known)
        self._unchecked = unchecked
        hosts = f"`{section}.allowed_hosts`" if section != "server" else "`server.public_url` or `server.allowed_hosts`"
        self._told = {
            421: ("host", f"it belongs into {hosts}"),
            403: ("origin", f"a page of it that may call belongs into `{section}.allowed_origins`"),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        checked = scope["type"] == "http" and scope["path"] not in self._unchecked
        request = Request(scope, receive) if checked else None
        refusal = None if request is None else await self._check.validate_request(Request(_small(scope), receive))
        if request is not None and refusal is not None and refusal.status_code in self._told:
            header, told = self._told[refusal.status_code]
            named = request.headers.get(header, "")[:200]
            refusal = PlainTextResponse(f"{header.title()} `{named}` is not known here: {told}.", refusal.status_code)
        await (refusal or self._app)(scope, receive, send)


def security(settings: ServerSettings, host: str) -> TransportSecuritySettings:
    """The hosts and origins that requests may name.

    Args:
        settings: What is allowed beside this machine's own names.
        host: What is listened on.
    """
    hosts = [*LOCAL_NAMES, *settings.allowed_hosts]
    origins = [f"http://{name}" for name in LOCAL_NAMES]
    if not _is_any(host):
        hosts.append(_bracketed(host))
        origins.append(f"http://{_bracketed(host)}")
    if settings.public_url is not None:
        hosts.append(_bracketed(urlsplit(settings.public_url).hostname or ""))
        origins.append(_public_origin(settings.public_url))
    return _known(hosts, [*(form for origin in origins for form in _forms(origin)), *settings.allowed_origins])


def named_hosts(host: str, allowed_hosts: Sequence[str], allowed_origins: Sequence[str]) -> TransportSecuritySettings:
    """This machine's own names, those of `host`, and those that are allowed; of web pages only those that are allowed."""
    hosts = [*LOCAL_NAMES, *allowed_hosts, *([] if _is_any(host) else [_bracketed(host)])]
    return _known(hosts, allowed_origins)


def _known(hosts: Sequence[str], origins: Sequence[str]) -> TransportSecuritySettings:
    """In small letters, as `_small` has what requests name."""
    return TransportSecuritySettings(
        allowed_hosts=[form for name in hosts for form in _forms(name.lower())],
        allowed_origins=[origin.lower() for origin in origins],
    )


def _small(scope: Scope) -> Scope:
    """A request's names in small letters: in names of hosts large ones mean the same (RFC 3986, 3.2.2)."""
    headers = [(name, value.lower() if name in (b"host", b"origin") else value) for name, value in scope["headers"]]
    return {**scope, "headers": headers}


def _public_origin(url: str) -> str:
    """As browsers write it: with a port only where that is not the scheme's own."""
    address = urlsplit(url)
    port = "" if address.port in (None, {"http": 80, "https": 443}[address.scheme]) else f":{address.port}"
    return f"{address.scheme}://{_bracketed(address.hostname or '')}{port}"


def _forms(name: str) -> tuple[str, ...]:
    """A name with and without a port; only that one if it has one."""
    has_port = name.rpartition("]")[2].rpartition("//")[2].partition(":")[1]
    return (name,) if has_port else (name, f"{name}:*")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host.lower()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == ""
