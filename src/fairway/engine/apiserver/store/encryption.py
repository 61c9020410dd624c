"""Secrets are encrypted on disk: AES-256-GCM, with a key from a file that only the server reads.

The file lists keys, newest first, one per line: a name and 32 bytes in Base64. The first encrypts, all of them decrypt.
To rotate, put a new line on top and start the server: whatever another key had encrypted is written anew, and then the
old line may go. Losing the file loses the Secrets.
"""

import base64
import binascii
import os
import secrets
import stat
from pathlib import Path
from typing import Any, Protocol

from fairway.engine.apiserver.store.entries import Key
from fairway.engine.apiserver.store.errors import Corrupt, StoreError
from fairway.toolkit import files

RESOURCES = frozenset({"secrets"})
_PREFIX = b"enc:aesgcm:v1:"
"""Then the key's name, a colon, the nonce and the encrypted text. JSON never starts like this."""
_KEY_BYTES = 32
_NONCE_BYTES = 12


class Vault(Protocol):
    """Between the bytes of objects and the bytes on disk."""

    def open(self) -> None:
        """Read the keys. Raises StoreError."""
        ...

    def seal(self, key: Key, data: bytes) -> bytes:
        """What is written for an object."""
        ...

    def unseal(self, key: Key, stored: bytes) -> bytes:
        """The object again. Raises StoreError, Corrupt."""
        ...

    def is_current(self, key: Key, stored: bytes) -> bool:
        """Whether `seal` would use the same key today."""
        ...


class GlassVault:
    """Hides nothing."""

    def open(self) -> None:
        return

    def seal(self, key: Key, data: bytes) -> bytes:
        return data

    def unseal(self, key: Key, stored: bytes) -> bytes:
        return stored

    def is_current(self, key: Key, stored: bytes) -> bool:
        return True


class KeyFileVault:
    """Encrypts the resources of RESOURCES; what was stored in the clear before can still be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: dict[bytes, bytes] = {}
        self._ciphers: dict[bytes, Any] = {}
        self._prefix = b""

    def __repr__(self) -> str:
        return f"KeyFileVault({self._path})"  # never the keys

    def open(self) -> None:
        try:
            if not self._path.exists():
                files.replace(self._path, _fresh_line(), mode=0o600, durable=True)
            if stat.S_IMODE(self._path.stat().st_mode) & 0o077:
                raise StoreError(f"{self._path} must not be open to others: chmod 600 {self._path}")
            self._keys = _parse(self._path)
        except OSError as error:
            raise StoreError(f"cannot read {self._path}: {error.strerror}") from error
        self._prefix = _PREFIX + next(iter(self._keys)) + b":"

    def seal(self, key: Key, data: bytes) -> bytes:
        if key.resource not in RESOURCES:
            return data
        nonce = os.urandom(_NONCE_BYTES)
        cipher = self._cipher(next(iter(self._keys)))
        return self._prefix + nonce + bytes(cipher.encrypt(nonce, data, _place(key)))

    def unseal(self, key: Key, stored: bytes) -> bytes:
        if not stored.startswith(_PREFIX):
            return stored
        from cryptography.exceptions import InvalidTag

        name, _, sealed = stored.removeprefix(_PREFIX).partition(b":")
        if name not in self._keys:
            shown = name[:64].decode("ascii", "replace")
            raise StoreError(f'a Secret is encrypted with the key "{shown}", which {self._path} does not hold')
        try:
            cipher = self._cipher(name)
            return bytes(cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _place(key)))
        except InvalidTag as error:
            raise Corrupt(f"{key.resource} {key.namespace}/{key.name} cannot be decrypted: restore a backup") from error

    def is_current(self, key: Key, stored: bytes) -> bool:
        return key.resource not in RESOURCES or stored.startswith(self._prefix)

    def _cipher(self, name: bytes) -> Any:
        """Made when first needed: loading cryptography costs 20 ms, and a cluster may have no Secret."""
        if name not in self._ciphers:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            self._ciphers[name] = AESGCM(self._keys[name])
        return self._ciphers[name]


def _place(key: Key) -> bytes:
    """Bound to the encrypted text, so that nobody can put one Secret in another's place."""
    return "/".join(key).encode()


def _fresh_line() -> bytes:
    return f"key-{secrets.token_hex(4)} {base64.b64encode(os.urandom(_KEY_BYTES)).decode()}\n".encode()


def _parse(path: Path) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        if len(words) != 2 or b":" in words[0] or words[0] in found:
            raise StoreError(f"{path}, line {number}: write a name of its own (without a colon) and a key in Base64")
        found[words[0]] = _decoded(words[1], f"{path}, line {number}")
    if not found:
        raise StoreError(f"{path} holds no key: restore it from a backup")
    return found


def _decoded(text: bytes, place: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise StoreError(f"{place}: the key is not Base64") from error
    if len(key) != _KEY_BYTES:
        raise StoreError(f"{place}: the key must have {_KEY_BYTES} bytes, it has {len(key)}")
    return key
