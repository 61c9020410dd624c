"""The token table: who may do what in which repositories. A file of the state directory, without the secrets."""

import fnmatch
import hashlib
import hmac
import re
import secrets
from datetime import datetime
from pathlib import Path

import msgspec

from fairway.toolkit import files

ACTIONS = ("pull", "push", "delete")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


class BadTable(ValueError):
    """A token table, or a wish for a token, that cannot be used; the message says why."""


class Scope(msgspec.Struct, frozen=True):
    """Actions in the repositories that a pattern matches: `team/app`, `team/*` (any depth), `*`."""

    repository: str
    actions: tuple[str, ...]

    def allows(self, repository: str, action: str) -> bool:
        return action in self.actions and fnmatch.fnmatchcase(repository, self.repository)


class Token(msgspec.Struct, frozen=True):
    """A name, the SHA-256 of a random secret in hex, what it is good for and until when."""

    name: str
    sha256: str
    scopes: tuple[Scope, ...]
    expires: datetime | None = None

    def allows(self, repository: str, action: str) -> bool:
        return any(scope.allows(repository, action) for scope in self.scopes)


class Table:
    """The file, read again whenever it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._tokens: tuple[Token, ...] = ()

    def find(self, secret: str, now: datetime) -> Token | None:
        """The token with that secret. Every entry is compared, each in constant time. Raises BadTable, OSError."""
        digest = hashlib.sha256(secret.encode()).hexdigest().encode()
        found = None
        for token in self._read():
            if hmac.compare_digest(token.sha256.encode(), digest):
                found = token
        if found is None or (found.expires is not None and now >= found.expires):
            return None
        return found

    def _read(self) -> tuple[Token, ...]:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            self._seen, self._tokens = None, ()
            return ()
        seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if seen != self._seen:
            self._tokens, self._seen = load(self._path), seen
        return self._tokens


def load(path: Path) -> tuple[Token, ...]:
    """The tokens in a file; none when there is no file. Raises BadTable, OSError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[Token, ...])
    except FileNotFoundError:
        return ()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadTable(f"{path}: {error}") from error


def issue(path: Path, name: str, scopes: tuple[Scope, ...], expires: datetime | None = None) -> str:
    """Add a token, or give the one of that name a new secret; returns the secret, which is nowhere else.

    Raises BadTable, OSError.
    """
    if not _NAME.match(name):
        raise BadTable(f"{name[:80]!r} is no name for a token: letters, digits, '.', '_' and '-', at most 63")
    if bad := sorted({action for scope in scopes for action in scope.actions} - set(ACTIONS)):
        raise BadTable(f"unknown action {bad[0]!r}; there are {', '.join(ACTIONS)}")
    secret = "fwr_" + secrets.token_urlsafe(32)
    fresh = Token(name, hashlib.sha256(secret.encode()).hexdigest(), scopes, expires)
    _save(path, (*(token for token in load(path) if token.name != name), fresh))
    return secret


def revoke(path: Path, name: str) -> bool:
    """Remove a token; whether there was one. Raises BadTable, OSError."""
    before = load(path)
    after = tuple(token for token in before if token.name != name)
    if after != before:
        _save(path, after)
    return after != before


def _save(path: Path, tokens: tuple[Token, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.replace(path, msgspec.json.format(msgspec.json.encode(tokens)), mode=0o600, durable=True)
