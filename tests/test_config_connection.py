"""What the `temporal` section may say of a connection and of workers, and what is told of what it may not."""

import pytest
from pydantic import ValidationError

from mcp_agent.config import Settings
from mcp_agent.config_problems import describe

PEM = "-----BEGIN CERTIFICATE-----"

REFUSED = [
    ({"tls": True}, "`temporal`: `tls` is about a Temporal of your own: say where it is, with `host` or `profile`."),
    ({"port": 7233}, "`temporal`: `port` is about a Temporal of your own"),
    ({"namespace": "mine"}, "`temporal`: `namespace` is about a Temporal of your own"),
    ({"profile_file": "x.toml"}, "`temporal`: `profile_file` holds profiles: name one with `profile`."),
    ({"host": "h:7233"}, "`temporal.host`: give a name or an address alone"),
    ({"host": "::1"}, "`temporal.host`: give a name or an address alone"),
    ({"host": "https://h"}, "`temporal.host`: give a name or an address alone"),
    ({"host": ""}, "`temporal.host`: give a name or an address alone"),
    ({"host": "h", "tls": "certainly"}, "`temporal.tls` is `certainly`: input should be a valid boolean"),
    ({"host": "h", "tls": {"ca_certs": "x"}}, "`temporal.tls.ca_certs` is not known. Did you mean `ca_cert`?"),
    ({"host": "h", "tls": {"ca_cert": "ca.pem"}}, "`temporal.tls.ca_cert`: give the text of a PEM file"),
    ({"host": "h", "tls": {"ca_cert": PEM, "ca_cert_path": "x"}}, "`temporal.tls`: `ca_cert` and `ca_cert_path` say the same"),
    (
        {"host": "h", "tls": {"client_cert_path": "x"}},
        "`temporal.tls`: `client_cert` needs its other half: give `client_key_path`",
    ),
    ({"host": "h", "auth": {"api_key": "k", "api_key_file": "f"}}, "`temporal.auth`: `api_key` and `api_key_file` both say"),
    ({"host": "h", "auth": {"api_key": "k", "renew_seconds": 5}}, "`temporal.auth`: `renew_seconds` says how often"),
    ({"host": "h", "namespace": "a", "auth": {"namespace": "b"}}, "`auth.namespace` is `b`, `namespace` is `a`"),
    ({"host": "h", "rpc_metadata": {"X": "y"}}, "`X` is no name of metadata: lower-case letters"),
    ({"host": "h", "rpc_metadata": {"authorization": "y"}, "auth": {"api_key": "k"}}, "would hide the key of `auth`"),
    ({"worker": {"workflow_pollers": 1}}, "greater than or equal to 2"),
    ({"worker": {"activity_pollers": {"initial": 5, "maximum": 4}}}, "`initial` must be between `minimum` and `maximum`."),
    ({"worker": {"tuner": {}, "max_concurrent_workflows": 5}}, "`tuner` and `max_concurrent_workflows` both say"),
    ({"worker": {"tuner": {}}, "max_concurrent_activities": 5}, "`worker.tuner` and `max_concurrent_activities` both say"),
]


@pytest.mark.parametrize(("section", "told"), REFUSED)
def test_what_cannot_be_meant_is_refused_by_name(section: dict[str, object], told: str):
    with pytest.raises(ValidationError) as caught:
        Settings(temporal=section)
    assert told in describe(caught.value, Settings)


def test_secrets_are_not_shown():
    section = {"host": "h", "tls": {"client_cert": PEM, "client_key": f"{PEM} s3cret"}, "auth": {"api_key": "s3cret"}}
    settings = Settings(temporal={**section, "rpc_metadata": {"x-tenant": "s3cret"}})
    assert "s3cret" not in repr(settings)
