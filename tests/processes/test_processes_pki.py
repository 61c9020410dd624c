"""The cluster's certificates: made once, made anew when they must be, usable by TLS."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from fairway.processes import pki

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("localhost", "127.0.0.1")


def test_certificates_are_made_once_and_the_authority_stays(tmp_path: Path) -> None:
    first = {path: path.read_bytes() for path in _files(pki.ensure(tmp_path, NAMES, NOW))}
    again = {path: path.read_bytes() for path in _files(pki.ensure(tmp_path, NAMES, NOW + timedelta(days=300)))}
    assert first == again


def test_new_names_or_age_make_new_leaves_under_the_same_authority(tmp_path: Path) -> None:
    where = pki.ensure(tmp_path, NAMES, NOW)
    ca, server = where.ca.read_bytes(), where.server.read_bytes()
    pki.ensure(tmp_path, (*NAMES, "example.com"), NOW)
    renamed = where.server.read_bytes()
    pki.ensure(tmp_path, (*NAMES, "example.com"), NOW + timedelta(days=340))
    assert where.ca.read_bytes() == ca
    assert len({server, renamed, where.server.read_bytes()}) == 3


def test_the_server_certificate_carries_names_and_addresses(tmp_path: Path) -> None:
    certificate = x509.load_pem_x509_certificate(pki.ensure(tmp_path, NAMES, NOW).server.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_keys_are_for_the_owner_only_and_load_into_tls(tmp_path: Path) -> None:
    where = pki.ensure(tmp_path, NAMES, datetime.now(UTC))
    for key in (where.ca_key, where.server_key, where.admin_key):
        assert key.stat().st_mode & 0o077 == 0
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(where.server, where.server_key)
    certificate, key_pem = pki.sign(where, ("shop.example.com",))
    assert x509.load_pem_x509_certificate(certificate).issuer.rfc4514_string() == "CN=fairway-ca"
    assert b"PRIVATE KEY" in key_pem


def _files(where: pki.Paths) -> list[Path]:
    return [where.ca, where.ca_key, where.server, where.server_key, where.admin, where.admin_key]
