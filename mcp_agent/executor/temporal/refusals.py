"""Why Temporal cannot be used, and which setting to look at."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from mcp_agent.errors import EngineUnavailable
from mcp_agent.executor.temporal.target import Target, expiry

DENIED = {RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED}
_LONGEST_EXCERPT = 300
_CONNECTING = (
    (r"ConnectionRefused", "nothing listens there: look at `temporal.host` and `port`, and whether the server runs"),
    (r"dns error", "there is no such host: look at `temporal.host`"),
    (
        r"UnknownIssuer|UnsupportedCertVersion|BadEncoding",
        "its certificate is signed by an authority that is not trusted: look at `temporal.tls.ca_cert_path`, or leave it out "
        "where the authority is a public one",
    ),
    (r"InvalidCertificate\(Expired", "its certificate has expired: that is for who runs the server"),
    (r"KeyMismatch", "certificate and key are no pair: look at `temporal.tls.client_cert_path` and `client_key_path`"),
    (r"InvalidContentType|corrupt message", "it speaks no TLS: set `temporal.tls: false`, or look at `temporal.port`"),
)
_ENDED = re.compile(
    r"connection closed|ConnectionReset|broken pipe|BrokenPipe|transport error|AlertReceived|operation was canceled"
)
_WRONG_NAME = re.compile(r"presented: \[(.*?)\]")


def refusal(error: RuntimeError | RPCError | TimeoutError, target: Target) -> EngineUnavailable:
    """What is told when no connection can be made."""
    return EngineUnavailable(
        f"Temporal at `{target.address}`, namespace `{target.namespace}`, cannot be used: {_reason(error, target)}."
    )


def denied(error: RPCError) -> EngineUnavailable:
    """What is told when a call is refused to an account that could connect."""
    return EngineUnavailable(
        f"Temporal refuses the call ({error.status.name}: {error}): the key has expired, was withdrawn or does not allow this. "
        "Look at `temporal.auth` and at what the account may do. Nothing was changed."
    )


def _reason(error: RuntimeError | RPCError | TimeoutError, target: Target) -> str:
    said = str(error)
    if isinstance(error, TimeoutError):
        return "it does not answer in time: look at `temporal.host`, `port` and the network between"
    if (isinstance(error, RPCError) and error.status in DENIED) or re.search(r"code: (PermissionDenied|Unauthenticated)", said):
        return _denied(target)
    if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
        return "it has no such namespace, or its database is away: look at `temporal.namespace`, or create it"
    if "NotValidForName" in said:
        return _wrong_name(said)
    known = next((text for pattern, text in _CONNECTING if re.search(pattern, said)), None)
    if known is not None:
        return known
    if isinstance(error, RuntimeError) and _ENDED.search(said):
        return _hung_up(target)
    return f"{said[:_LONGEST_EXCERPT]}: look at `temporal.host`, `port`, `namespace`, `tls` and `auth`"


def _denied(target: Target) -> str:
    if target.api_key is None:
        return "it lets nobody in without a key: look at `temporal.auth.api_key`"
    ends = expiry(target.api_key)
    if ends is not None and ends < datetime.now(UTC):
        return f"the key of `temporal.auth` has expired, at {ends:%Y-%m-%d %H:%M} UTC: give a new one"
    return (
        "the key of `temporal.auth` is unknown there or not for this namespace: look at `temporal.auth` and `temporal.namespace`"
    )


def _wrong_name(said: str) -> str:
    names = _WRONG_NAME.search(said)
    shown = ", ".join(re.findall(r'\w+\(\\?"?([^"\\)]+)', names[1])) if names is not None else "another name"
    return f"its certificate is for {shown}: look at `temporal.tls.server_name`, or at `temporal.host`"


def _hung_up(target: Target) -> str:
    if not target.secured:
        return "it ends connections without TLS: look at `temporal.tls`"
    if not isinstance(target.tls, TLSConfig) or target.tls.client_cert is None:
        return "it wants a certificate of ours: look at `temporal.tls.client_cert_path` and `client_key_path`"
    ends = _end_of(target.tls.client_cert)
    if ends is not None and ends < datetime.now(UTC):
        return f"our certificate has expired, at {ends:%Y-%m-%d %H:%M} UTC: look at `temporal.tls.client_cert_path`"
    return "it does not accept our certificate: look at `temporal.tls.client_cert_path` and who signs it"


def _end_of(certificate: bytes) -> datetime | None:
    from cryptography import x509  # noqa: PLC0415 - only where a certificate was refused

    try:
        return x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    except ValueError:
        return None
