"""Keys and certificates: an authority, and leaves signed by it. EC P-256, made in about a millisecond each."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY_DAYS = 3650
LEAF_DAYS = 365
_COMMON_NAME_MAX = 64  # X.520; a longer host name is only among the alternatives


class Pair(msgspec.Struct, frozen=True):
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Pair(…)"  # never the key


def authority(common_name: str, now: datetime) -> Pair:
    """A new certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(common_name)
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    certificate = (
        _builder(subject, subject, now, now + timedelta(days=_AUTHORITY_DAYS))
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pem(certificate, key)


def server(issuer: Pair, names: Sequence[str], now: datetime, valid: timedelta = timedelta(days=LEAF_DAYS)) -> Pair:
    """A certificate for host names (ASCII, perhaps a wildcard) and addresses; it never outlives its issuer."""
    alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
    subject = _name(next((name for name in names if len(name) <= _COMMON_NAME_MAX), "server"))
    return _leaf(issuer, subject, ExtendedKeyUsageOID.SERVER_AUTH, now, valid, alternatives)


def client(issuer: Pair, user: str, group: str, now: datetime) -> Pair:
    """A certificate that says who a user is: CN is the user, O the group."""
    return _leaf(issuer, _name(user, group), ExtendedKeyUsageOID.CLIENT_AUTH, now, timedelta(days=LEAF_DAYS))


def not_after(certificate: bytes) -> datetime:
    """Until when a PEM certificate is valid.  Raises ValueError when it is none."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc


def names(certificate: bytes) -> set[str]:
    """The host names and addresses that a PEM certificate is for.  Raises ValueError when it is none."""
    extensions = x509.load_pem_x509_certificate(certificate).extensions
    try:
        found = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))}


def fits(pair: Pair) -> bool:
    """Whether the key is that of the certificate.  Raises ValueError when one of them cannot be read."""
    key = serialization.load_pem_private_key(pair.key, None)
    return key.public_key() == x509.load_pem_x509_certificate(pair.certificate).public_key()


def fingerprint(certificate: bytes) -> str:
    """The SHA-256 of a PEM certificate's DER form, in hex.  Raises ValueError when it is none."""
    return x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256()).hex()


def issued_by(certificate: bytes, issuer: bytes) -> bool:
    """Whether one PEM certificate is signed by the other.  What is no certificate is not."""
    try:
        x509.load_pem_x509_certificate(certificate).verify_directly_issued_by(x509.load_pem_x509_certificate(issuer))
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _leaf(
    issuer: Pair,
    subject: x509.Name,
    purpose: x509.ObjectIdentifier,
    now: datetime,
    valid: timedelta,
    alternatives: x509.SubjectAlternativeName | None = None,
) -> Pair:
    issuer_key = serialization.load_pem_private_key(issuer.key, None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    parent = x509.load_pem_x509_certificate(issuer.certificate)
    until = min(now + valid, parent.not_valid_after_utc)
    key = ec.generate_private_key(ec.SECP256R1())
    fresh = (
        _builder(subject, parent.subject, now, until)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if alternatives is not None:
        fresh = fresh.add_extension(alternatives, critical=False)
    return _pem(fresh.sign(issuer_key, hashes.SHA256()), key)


def _builder(subject: x509.Name, issuer: x509.Name, now: datetime, until: datetime) -> x509.CertificateBuilder:
    start = now - timedelta(minutes=5)  # clocks of clients may be a little behind
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(until)
    )


def _name(common: str, organization: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternative(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Pair(certificate.public_bytes(pem), secret)


def openssl_name(certificate: bytes) -> str:
    """The file name by which OpenSSL looks for a root in a folder: X509_NAME_hash of its subject, and `.0`.

    The hash is over the subject in a canonical form: every value as UTF-8, in lower case, with single spaces
    (OpenSSL, crypto/x509/x_name.c).
    """
    names = x509.load_pem_x509_certificate(certificate).subject.rdns
    canonical = b"".join(_der(0x31, b"".join(map(_canonical, name))) for name in names)
    number = int.from_bytes(hashlib.sha1(canonical, usedforsecurity=False).digest()[:4], "little")
    return f"{number:08x}.0"


def _canonical(attribute: "x509.NameAttribute[str | bytes]") -> bytes:
    value = attribute.value if isinstance(attribute.value, str) else attribute.value.decode("utf-8", "replace")
    return _der(
        0x30, _object_identifier(attribute.oid.dotted_string) + _der(0x0C, " ".join(value.lower().split()).encode())
    )


def _object_identifier(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    data = bytes((first * 40 + second,))
    for number in rest:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.insert(0, 0x80 | (number & 0x7F))
        data += bytes(groups)
    return _der(0x06, data)


def _der(tag: int, data: bytes) -> bytes:
    length = len(data)
    if length < 0x80:
        return bytes((tag, length)) + data
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size, "big") + data
