"""The cluster's own certificate authority and the certificates that it signs.

Made once per state directory; the server's is made anew when its names change or a month of validity is left.
cryptography takes 85 ms to import, so it is imported only when something is to be made.
"""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fairway.toolkit import files

if TYPE_CHECKING:
    from cryptography import x509

_CA_DAYS = 3650
_LEAF_DAYS = 365
_RENEW_BEFORE = timedelta(days=30)


class Paths(msgspec.Struct, frozen=True):
    """Where the PEM files are."""

    ca: Path
    ca_key: Path
    server: Path
    server_key: Path
    admin: Path
    admin_key: Path


class _Made(msgspec.Struct, frozen=True):
    """For which names and until when the leaf certificates were made."""

    names: tuple[str, ...]
    until: datetime


def paths(state_dir: Path) -> Paths:
    """The files of a state directory; they may not exist yet."""
    folder = state_dir / "pki"
    pair = [folder / f"{name}.{part}" for name in ("ca", "server", "admin") for part in ("crt", "key")]
    return Paths(*pair)


def ensure(state_dir: Path, names: tuple[str, ...], now: datetime) -> Paths:
    """Make what is missing, too old, or for other host names and addresses than `names`.  Raises OSError."""
    where = paths(state_dir)
    record = where.ca.parent / "made.json"
    try:
        made = msgspec.json.decode(record.read_bytes(), type=_Made)
        present = all(path.exists() for path in (where.ca, where.ca_key, where.server, where.admin))
    except (OSError, msgspec.DecodeError):
        made, present = _Made((), datetime.fromtimestamp(0, UTC)), False
    if present and made.names == names and made.until - now > _RENEW_BEFORE:
        return where
    where.ca.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _make(where, names, now)
    files.replace(record, msgspec.json.encode(_Made(names, now + timedelta(days=_LEAF_DAYS))), mode=0o600, durable=True)
    return where


def _make(where: Paths, names: tuple[str, ...], now: datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(common: str, organization: str = "") -> x509.Name:
        parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
        return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])

    def save(path: Path, key_path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        pem = serialization.Encoding.PEM
        plain = serialization.NoEncryption()
        secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        files.replace(key_path, secret, mode=0o600, durable=True)
        files.replace(path, certificate.public_bytes(pem), durable=True)

    def builder(subject: x509.Name, issuer: x509.Name, days: int) -> x509.CertificateBuilder:
        start = now - timedelta(minutes=5)  # clocks of clients may be a little behind
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(now + timedelta(days=days))
        )

    def authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        if where.ca.exists() and where.ca_key.exists():
            key = serialization.load_pem_private_key(where.ca_key.read_bytes(), None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            return x509.load_pem_x509_certificate(where.ca.read_bytes()), key
        key = ec.generate_private_key(ec.SECP256R1())
        subject = name("fairway-ca")
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        certificate = (
            builder(subject, subject, _CA_DAYS)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        save(where.ca, where.ca_key, certificate, key)
        return certificate, key

    ca, ca_key = authority()

    def leaf(path: Path, key_path: Path, subject: x509.Name, purpose: x509.ObjectIdentifier, alternative: bool) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        fresh = (
            builder(subject, ca.subject, _LEAF_DAYS)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )
        if alternative:
            fresh = fresh.add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
        save(path, key_path, fresh.sign(ca_key, hashes.SHA256()), key)

    leaf(where.server, where.server_key, name("fairway-apiserver"), ExtendedKeyUsageOID.SERVER_AUTH, True)
    admin = name("kubernetes-admin", "system:masters")
    leaf(where.admin, where.admin_key, admin, ExtendedKeyUsageOID.CLIENT_AUTH, False)


def _alternatives(names: tuple[str, ...]) -> "list[x509.GeneralName]":
    from cryptography import x509

    found: list[x509.GeneralName] = []
    for text in names:
        try:
            found.append(x509.IPAddress(ip_address(text)))
        except ValueError:
            found.append(x509.DNSName(text))
    return found
