"""The cluster's own certificate authority and what it has signed, as files of the state directory.

Made once; the leaves are made anew when the server's names change or a month of validity is left.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from fairway.toolkit import files

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
    """For which names and until when the leaves were made."""

    names: tuple[str, ...]
    until: datetime


def paths(state_dir: Path) -> Paths:
    """The files of a state directory; they may not exist yet."""
    folder = state_dir / "pki"
    return Paths(*(folder / f"{name}.{part}" for name in ("ca", "server", "admin") for part in ("crt", "key")))


def ensure(state_dir: Path, names: tuple[str, ...], now: datetime) -> Paths:
    """Make what is missing, too old, or for other host names and addresses than `names`.  Raises OSError."""
    where = paths(state_dir)
    record = where.ca.parent / "made.json"
    if not _current(where, record, names, now):
        where.ca.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make(where, names, now)
        made = _Made(names, now + timedelta(days=_LEAF_DAYS))
        files.replace(record, msgspec.json.encode(made), mode=0o600, durable=True)
    return where


def _current(where: Paths, record: Path, names: tuple[str, ...], now: datetime) -> bool:
    try:
        made = msgspec.json.decode(record.read_bytes(), type=_Made)
    except (OSError, msgspec.DecodeError):
        return False
    present = all(path.exists() for path in (where.ca, where.ca_key, where.server, where.server_key, where.admin))
    return present and made.names == names and made.until - now > _RENEW_BEFORE


def _make(where: Paths, names: tuple[str, ...], now: datetime) -> None:
    from fairway.toolkit import signing  # cryptography takes 85 ms to import and is needed once a year

    if where.ca.exists() and where.ca_key.exists():
        authority = signing.Pair(where.ca.read_bytes(), where.ca_key.read_bytes())
    else:
        authority = signing.authority("fairway-ca", now)
        _save(where.ca, where.ca_key, authority.certificate, authority.key)
    server = signing.server(authority, names, now)
    _save(where.server, where.server_key, server.certificate, server.key)
    admin = signing.client(authority, "kubernetes-admin", "system:masters", now)
    _save(where.admin, where.admin_key, admin.certificate, admin.key)


def _save(path: Path, key_path: Path, certificate: bytes, key: bytes) -> None:
    files.replace(key_path, key, mode=0o600, durable=True)
    files.replace(path, certificate, durable=True)


def sign(where: Paths, names: tuple[str, ...]) -> tuple[bytes, bytes]:
    """A certificate and key (PEM) for host names, signed by the cluster's authority.  Raises OSError."""
    from fairway.toolkit import signing

    authority = signing.Pair(where.ca.read_bytes(), where.ca_key.read_bytes())
    pair = signing.server(authority, names, datetime.now(UTC))
    return pair.certificate, pair.key
