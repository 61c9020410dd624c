"""The store on disk: one SQLite file with the current objects and a log of changes."""

import fcntl
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from fairway.engine.apiserver.store.backend import Loaded, LogRow, StoredObject
from fairway.engine.apiserver.store.encryption import RESOURCES, GlassVault, Vault
from fairway.engine.apiserver.store.entries import DELETED, Event, Key
from fairway.engine.apiserver.store.errors import AlreadyOpen, Broken, CommitFailed, Corrupt, StoreError

_SCHEMA_VERSION = 2
"""2: some objects are encrypted."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS obj (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    revision INTEGER NOT NULL, uid TEXT NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (resource, namespace, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log (
    revision INTEGER PRIMARY KEY, resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    type TEXT NOT NULL, previous BLOB);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_PUT = "INSERT OR REPLACE INTO obj VALUES (?, ?, ?, ?, ?, ?)"
_RESEAL = "UPDATE obj SET data = ? WHERE resource = ? AND namespace = ? AND name = ?"
_DROP = "DELETE FROM obj WHERE resource = ? AND namespace = ? AND name = ?"
_LOG = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)"
_OBJECTS = "SELECT namespace, name, revision, data FROM obj WHERE resource = ? ORDER BY namespace, name"

Sealed = tuple[bytes, str, str, str]
"""A body to be written anew, and its key."""

_JUMP = 1000
"""Added to the revision at every start: more than can have been assigned to writes that never became durable."""
_COMPACT_SLICE_ROWS = 500
CHECK_BYTES_MAX = 16 * 1024 * 1024
"""Larger files are checked by the checkpointer in the background, so that the API still answers at once."""


class SqliteBackend:
    """`folder/objects.db`, held by one process at a time."""

    def __init__(self, folder: Path, vault: Vault | None = None) -> None:
        self.path = folder / "objects.db"
        self._folder = folder
        self._vault = vault or GlassVault()
        self._lock = -1
        self._database: sqlite3.Connection | None = None

    def load(self) -> Loaded:
        """Raises AlreadyOpen, Corrupt, StoreError."""
        self._take_lock()
        self._vault.open()
        try:
            self._database = self._open()
            self._check()
            self._migrate()
            return self._read()
        except sqlite3.OperationalError as error:
            raise StoreError(_advice(self.path, error)) from error
        except sqlite3.DatabaseError as error:
            raise Corrupt(f"{self.path} is damaged ({error}): restore a backup, or move the file away") from error

    def commit(self, batch: Sequence[Event]) -> None:
        database = self._connected()
        try:
            database.execute("BEGIN IMMEDIATE")
            for event in batch:
                self._write(database, event)
            database.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back(database)
            text = getattr(error, "sqlite_errorname", "")
            if text.startswith("SQLITE_IOERR") or text in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
                raise Broken(_advice(self.path, error)) from error
            raise CommitFailed(_advice(self.path, error)) from error

    def compact(self, revision: int) -> bool:
        """One slice, its own transaction, so that writers never wait long."""
        database = self._connected()
        slice_query = "SELECT revision FROM log WHERE revision <= ? ORDER BY revision LIMIT ?"
        try:
            database.execute("INSERT OR REPLACE INTO meta VALUES ('compacted', ?)", (revision,))
            deleted = database.execute(
                f"DELETE FROM log WHERE revision IN ({slice_query})", (revision, _COMPACT_SLICE_ROWS)
            )
            return deleted.rowcount == _COMPACT_SLICE_ROWS
        except sqlite3.Error as error:
            raise CommitFailed(_advice(self.path, error)) from error

    def backup(self, path: Path) -> None:
        self._connected().execute("VACUUM INTO ?", (str(path),))

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _take_lock(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._folder / "objects.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"cannot write to {self._folder}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            self._lock = -1
            raise AlreadyOpen(f"{self._folder} is used by another process") from error

    def _open(self) -> sqlite3.Connection:
        fresh = not self.path.exists()
        database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=60)
        if fresh:
            os.chmod(self.path, 0o600)
            database.execute("PRAGMA page_size = 8192")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA wal_autocheckpoint = 0")  # the checkpointer does it, outside the commit path
        return database

    def _check(self) -> None:
        if self.path.stat().st_size <= CHECK_BYTES_MAX:
            check(self._connected(), self.path)

    def _migrate(self) -> None:
        database = self._connected()
        version = int(database.execute("PRAGMA user_version").fetchone()[0])
        if version > _SCHEMA_VERSION:
            raise StoreError(f"{self.path} was written by a newer version ({version} > {_SCHEMA_VERSION})")
        database.executescript(_SCHEMA)
        database.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")

    def _read(self) -> Loaded:
        database = self._connected()
        objects = {resource: database.execute(_OBJECTS, (resource,)).fetchall() for resource in _resources(database)}
        log: list[LogRow] = database.execute("SELECT * FROM log ORDER BY revision").fetchall()
        self._unseal(database, objects, log)
        meta: dict[str, int] = dict(database.execute("SELECT key, value FROM meta"))
        newest = max((row[2] for rows in objects.values() for row in rows), default=0)
        revision = max(newest, log[-1][0] if log else 0, meta.get("revision", 0)) + _JUMP
        started = (("revision", revision), ("epoch", meta.get("epoch", 0) + 1))
        database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", started)
        return Loaded(objects, log, revision, meta.get("compacted", 0))

    def _unseal(self, database: sqlite3.Connection, objects: dict[str, list[StoredObject]], log: list[LogRow]) -> None:
        """Put what is encrypted in the clear; whatever another key (or none) had encrypted is written anew."""
        vault = self._vault
        stale: list[Sealed] = []
        for resource in RESOURCES & objects.keys():
            for at, (namespace, name, revision, data) in enumerate(objects[resource]):
                key = Key(resource, namespace, name)
                plain = vault.unseal(key, data)
                objects[resource][at] = (namespace, name, revision, plain)
                if not vault.is_current(key, data):
                    stale.append((vault.seal(key, plain), *key))
        stale_log: list[tuple[bytes, int]] = []
        for at, (revision, resource, namespace, name, change, previous) in enumerate(log):
            if previous is None or resource not in RESOURCES:
                continue
            key = Key(resource, namespace, name)
            plain = vault.unseal(key, previous)
            log[at] = (revision, resource, namespace, name, change, plain)
            if not vault.is_current(key, previous):
                stale_log.append((vault.seal(key, plain), revision))
        if stale or stale_log:
            self._reseal(database, stale, stale_log)

    def _reseal(
        self, database: sqlite3.Connection, objects: Sequence[Sealed], log: Sequence[tuple[bytes, int]]
    ) -> None:
        """In one transaction; what was there is overwritten, in the file and in its log, not only let go."""
        database.execute("PRAGMA secure_delete = ON")
        database.execute("BEGIN IMMEDIATE")
        database.executemany(_RESEAL, objects)
        database.executemany("UPDATE log SET previous = ? WHERE revision = ?", log)
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        database.execute("PRAGMA secure_delete = OFF")

    def _write(self, database: sqlite3.Connection, event: Event) -> None:
        key, previous = event.key, event.previous.data if event.previous else None
        if previous is not None:
            previous = self._vault.seal(key, previous)
        database.execute(_LOG, (event.revision, *key, event.type, previous))
        if event.type == DELETED:
            database.execute(_DROP, key)
        else:
            database.execute(_PUT, (*key, event.revision, event.entry.uid, self._vault.seal(key, event.entry.data)))

    def _roll_back(self, database: sqlite3.Connection) -> None:
        if database.in_transaction:
            try:
                database.execute("ROLLBACK")
            except sqlite3.Error:
                return  # SQLite has rolled back by itself, as it does on a full disk

    def _connected(self) -> sqlite3.Connection:
        if self._database is None:
            raise CommitFailed("the store is closed")
        return self._database


def _resources(database: sqlite3.Connection) -> list[str]:
    """Those that there are, by one search each: DISTINCT would read every row."""
    found: list[str] = []
    query = "SELECT resource FROM obj WHERE resource > ? ORDER BY resource LIMIT 1"
    while row := database.execute(query, (found[-1] if found else "",)).fetchone():
        found.append(row[0])
    return found


def check(database: sqlite3.Connection, path: Path) -> None:
    """Read every page. Raises Corrupt."""
    found = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
    if found != "ok":
        raise Corrupt(f"{path} is damaged ({found}): restore a backup, or move the file away")


def _advice(path: Path, error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_FULL":
        return f"no space left on the device of {path.parent}: free some"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
        return f"{path} cannot be written ({error}): check the folder's owner and mount options"
    return f"{path}: {error}"
