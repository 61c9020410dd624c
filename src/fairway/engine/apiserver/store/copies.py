"""Copies of a database file: taken while its server runs, and made ready to take its place."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from fairway.engine.apiserver.store.errors import Corrupt, StoreError
from fairway.engine.apiserver.store.sqlite import check

_LEAP = 1_000_000
"""A restored store goes on this far beyond what it knows, past every revision that was given out after the copy."""


class Contents(msgspec.Struct, frozen=True):
    """What a database holds."""

    objects: int
    revision: int


def copy(database: Path, target: Path) -> Contents:
    """Write a consistent copy to a new file; its server, if there is one, goes on. Raises StoreError."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=rw", uri=True, timeout=60)) as source:
            source.execute("VACUUM INTO ?", (str(target),))
        with closing(_open(target)) as made:
            check(made, target)
            return _contents(made)
    except sqlite3.Error as error:
        raise StoreError(f"cannot copy {database}: {error}") from error


def make_successor(database: Path) -> Contents:
    """Have a copy stand in for what came after it: no revision is used twice, and watches of the past start anew.

    Raises StoreError; Corrupt when the file is damaged or no copy of a store.
    """
    try:
        with closing(_open(database)) as made:
            check(made, database)
            contents = _contents(made)
            revision = contents.revision + _LEAP
            made.execute("BEGIN IMMEDIATE")
            made.execute("DELETE FROM log")
            values = (("revision", revision), ("compacted", revision))
            made.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values)
            made.execute("COMMIT")
            return msgspec.structs.replace(contents, revision=revision)
    except sqlite3.DatabaseError as error:
        raise Corrupt(f"{database} is damaged or no store ({error})") from error


def _open(path: Path) -> sqlite3.Connection:
    made = sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None)
    made.execute("PRAGMA synchronous = FULL")
    return made


def _contents(database: sqlite3.Connection) -> Contents:
    objects, newest = database.execute("SELECT COUNT(*), COALESCE(MAX(revision), 0) FROM obj").fetchone()
    logged = database.execute("SELECT COALESCE(MAX(revision), 0) FROM log").fetchone()[0]
    known = database.execute("SELECT COALESCE(MAX(value), 0) FROM meta WHERE key = 'revision'").fetchone()[0]
    return Contents(objects, max(newest, logged, known))
