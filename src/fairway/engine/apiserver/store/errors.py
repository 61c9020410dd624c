"""The store's failures.

StoreError
├── AlreadyOpen      another process holds the database
├── Corrupt          the database cannot be read
├── Conflict         the object is not the version the caller thinks it is
├── Expired          the history asked for is compacted away
└── CommitFailed     a batch of writes could not be stored; nothing of it is visible
    └── Broken       the disk lied once; the store takes no more writes
"""


class StoreError(Exception):
    """Something the store could not do."""


class AlreadyOpen(StoreError):
    """Another process holds the database."""


class Corrupt(StoreError):
    """The database cannot be read."""


class Conflict(StoreError):
    """The object is not the version the caller thinks it is."""


class Expired(StoreError):
    """Changes since `revision` are no longer known; those since `oldest` are."""

    def __init__(self, revision: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {revision} ({oldest})")
        self.revision = revision
        self.oldest = oldest


class CommitFailed(StoreError):
    """Nothing of the write is visible; trying again later may work (a full disk, for example)."""


class Broken(CommitFailed):
    """The disk failed in a way after which nothing can be promised until the process starts again."""
