"""The keys that sign ServiceAccount tokens: ECDSA on P-256, kept as PEM in a file that only the server reads.

The file may hold several keys: the first signs, all of them verify, so that a key can be replaced without logging
anybody out.
"""

import base64
import hashlib
from pathlib import Path
from typing import Any

import msgspec

from fairway.toolkit import files

_BEGIN = "-----BEGIN "
_SIZE = 32
"""Bytes of one coordinate, and of each half of a signature."""


class Jwk(msgspec.Struct, frozen=True):
    """A public key as RFC 7517 shows it."""

    use: str
    kty: str
    kid: str
    alg: str
    crv: str
    x: str
    y: str


class SigningKeys:
    """Made by `load` or `generate`."""

    def __init__(self, keys: list[Any]) -> None:
        self._signer = keys[0]
        self._verifiers = {_key_id(key.public_key()): key.public_key() for key in keys}
        self.key_id = _key_id(keys[0].public_key())

    def __repr__(self) -> str:
        return f"SigningKeys({', '.join(self._verifiers)})"  # never the keys

    def sign(self, data: bytes) -> bytes:
        """An ES256 signature in the form that RFC 7518 wants: both numbers, 32 bytes each."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        first, second = utils.decode_dss_signature(self._signer.sign(data, ec.ECDSA(hashes.SHA256())))
        return first.to_bytes(_SIZE, "big") + second.to_bytes(_SIZE, "big")

    def verify(self, key_id: str, signature: bytes, data: bytes) -> bool:
        """Whether one of the keys made the signature."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        key = self._verifiers.get(key_id)
        if key is None or len(signature) != 2 * _SIZE:
            return False
        first, second = (int.from_bytes(part, "big") for part in (signature[:_SIZE], signature[_SIZE:]))
        try:
            key.verify(utils.encode_dss_signature(first, second), data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    def public(self) -> list[Jwk]:
        """The keys that others need to verify tokens."""
        return [_jwk(key_id, key.public_numbers()) for key_id, key in self._verifiers.items()]


def generate() -> SigningKeys:
    """A key that lives as long as the process."""
    return SigningKeys([_fresh()])


def load(path: Path) -> SigningKeys:
    """Read the keys, or make the first one. Raises OSError; ValueError when the file holds something else."""
    from cryptography.hazmat.primitives import serialization

    if not path.exists():
        pem = serialization.Encoding.PEM
        plain = serialization.NoEncryption()
        fresh = _fresh().private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        files.replace(path, fresh, mode=0o600, durable=True)
    blocks = [_BEGIN + block for block in path.read_text().split(_BEGIN)[1:]]
    keys = [serialization.load_pem_private_key(block.encode(), None) for block in blocks]
    if not keys or any(getattr(getattr(key, "curve", None), "name", "") != "secp256r1" for key in keys):
        raise ValueError(f"{path} must hold EC keys on P-256 in PEM")
    return SigningKeys(keys)


class LazyKeys:
    """Keys that are read when a token is first made or checked: loading cryptography takes a tenth of the start."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._keys: SigningKeys | None = None

    def get(self) -> SigningKeys:
        """Raises OSError, ValueError."""
        if self._keys is None:
            self._keys = generate() if self._path is None else load(self._path)
        return self._keys


def encode64(data: bytes) -> str:
    """Base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode64(text: str) -> bytes:
    """Raises ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _fresh() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _key_id(public: Any) -> str:
    """As upstream: the hash of the DER form."""
    from cryptography.hazmat.primitives import serialization

    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encode64(hashlib.sha256(der).digest())


def _jwk(key_id: str, numbers: Any) -> Jwk:
    x, y = (encode64(number.to_bytes(_SIZE, "big")) for number in (numbers.x, numbers.y))
    return Jwk(use="sig", kty="EC", kid=key_id, alg="ES256", crv="P-256", x=x, y=y)
