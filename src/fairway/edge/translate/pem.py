"""The content of a kubernetes.io/tls Secret, judged before HAProxy has to."""

import base64
import binascii
import functools

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from fairway.edge.translate.checks import Refused

_RSA_BITS_MIN = 2048  # OpenSSL's security level 2, the default of Debian, refuses less; so would HAProxy
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
_WEAK_HASHES = (hashes.MD5, hashes.SHA1)


@functools.lru_cache(maxsize=8192)
def bundle(certificate_base64: str, key_base64: str) -> str:
    """Chain and key as one PEM text in canonical form. Pure; remembered, because a snapshot is read often.

    Raises Refused with what is wrong.
    """
    chain = _chain(_decode("tls.crt", certificate_base64))
    key = _key(_decode("tls.key", key_base64))
    if key.public_key() != chain[0].public_key():
        raise Refused("tls.key is not the key of the first certificate in tls.crt")
    for certificate in chain:
        _check_strength(certificate)
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (b"".join(certificate.public_bytes(encoding) for certificate in chain) + private).decode("ascii")


def _decode(field: str, text: str) -> bytes:
    if not text:
        raise Refused(f"{field} is missing")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Refused(f"{field} is not base64") from None


def _chain(data: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise Refused("tls.crt holds no certificate in PEM form") from None


def _key(
    data: bytes,
) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey:
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Refused("tls.key holds no unencrypted private key in PEM form") from None
    if not isinstance(key, PrivateKey):
        raise Refused("tls.key is neither RSA nor an elliptic-curve key")
    return key


def _check_strength(certificate: x509.Certificate) -> None:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _RSA_BITS_MIN:
        raise Refused(f"a certificate in tls.crt has an RSA key of {key.key_size} bits; {_RSA_BITS_MIN} is the least")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size < 224:
        raise Refused(f"a certificate in tls.crt uses the weak curve {key.curve.name}")
    self_signed = certificate.issuer == certificate.subject
    if not self_signed and isinstance(certificate.signature_hash_algorithm, _WEAK_HASHES):
        raise Refused(f"a certificate in tls.crt is signed with {certificate.signature_hash_algorithm.name}")
