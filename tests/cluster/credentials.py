"""Certificates and keys that a test cluster believes, and some that it does not."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from jwt.algorithms import RSAAlgorithm

SERVER_NAME = "temporal.test"
_LIFE = timedelta(days=2)
_AN_HOUR = timedelta(hours=1)


class Authority:
    """Signs certificates; its own is in `folder` as `ca.pem`.

    Args:
        folder: Where they are put.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.certificate = folder / "ca.pem"
        self.renew()

    def renew(self) -> None:
        """Begins anew: what was signed before is not believed any more."""
        folder = self.folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(f"test CA {folder.name}")
        made = _certificate(self._name, self._name, self._key.public_key())
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        self._write(made.add_extension(usage, critical=True), "ca")

    def server(self, name: str = "server", *, lasts: timedelta = _LIFE) -> None:
        """For `temporal.test` and this machine."""
        names = [x509.DNSName(SERVER_NAME), x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        self._leaf(name, ExtendedKeyUsageOID.SERVER_AUTH, names, lasts)

    def client(self, name: str = "client", *, lasts: timedelta = _LIFE) -> None:
        """Written anew where it is there already: the old one stays good."""
        self._leaf(name, ExtendedKeyUsageOID.CLIENT_AUTH, [], lasts)

    def _leaf(self, name: str, use: x509.ObjectIdentifier, names: Sequence[x509.GeneralName], lasts: timedelta = _LIFE) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        made = _certificate(_named(name), self._name, key.public_key(), lasts)
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        made = made.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        if names:
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        _replace(self.folder / f"{name}.key", _private(key))
        self._write(made, name)

    def _write(self, made: x509.CertificateBuilder, name: str) -> None:
        signed = made.sign(self._key, hashes.SHA256())
        _replace(self.folder / f"{name}.pem", signed.public_bytes(serialization.Encoding.PEM))


class Issuer:
    """Signs JWTs that say what their bearer may do; what they are checked with is in `folder` as `jwks.json`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = json.loads(RSAAlgorithm.to_jwk(self._key.public_key()))
        (folder / "jwks.json").write_text(json.dumps({"keys": [{**public, "use": "sig", "alg": "RS256", "kid": "test"}]}))

    def key(self, *permissions: str, lasts: timedelta = _AN_HOUR) -> str:
        """A key like `default:write`, `temporal-system:admin`."""
        now = datetime.now(UTC)
        claims = {"sub": "test", "iat": now - timedelta(hours=2), "exp": now + lasts, "permissions": list(permissions)}
        return jwt.encode(claims, self._key, "RS256", {"kid": "test"})


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lasts: timedelta = _LIFE
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    return made.not_valid_before(now - _LIFE).not_valid_after(now + lasts)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _replace(path: Path, content: bytes) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.chmod(0o600)
    part.replace(path)
