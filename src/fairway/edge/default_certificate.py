"""The certificate for hosts that have none: self-signed, made once and kept."""

from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fairway.toolkit import files

_NAME = "Fairway default"
_VALID = timedelta(days=3650)


def load_or_create(path: Path, now: datetime) -> str:
    """The PEM text of certificate and key at `path`; a new one when there is none or it expires within a month.

    Raises OSError.
    """
    try:
        text = path.read_text()
        if x509.load_pem_x509_certificate(text.encode()).not_valid_after_utc > now + timedelta(days=30):
            return text
    except (FileNotFoundError, ValueError):
        pass
    text = _create(now)
    files.replace(path, text.encode(), mode=0o600, durable=True)
    return text


def _create(now: datetime) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _VALID)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (certificate.public_bytes(encoding) + private).decode("ascii")
