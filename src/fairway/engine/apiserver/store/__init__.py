"""Revisions, compare-and-swap, watch: objects in memory, made durable in SQLite.

Reads never touch the disk; a write is answered when it is durable; every change gets a revision of one global sequence.
"""

from fairway.engine.apiserver.store.entries import ADDED as ADDED
from fairway.engine.apiserver.store.entries import DELETED as DELETED
from fairway.engine.apiserver.store.entries import MODIFIED as MODIFIED
from fairway.engine.apiserver.store.entries import Entry as Entry
from fairway.engine.apiserver.store.entries import Event as Event
from fairway.engine.apiserver.store.entries import Key as Key
from fairway.engine.apiserver.store.entries import encode as encode
from fairway.engine.apiserver.store.errors import AlreadyOpen as AlreadyOpen
from fairway.engine.apiserver.store.errors import Broken as Broken
from fairway.engine.apiserver.store.errors import CommitFailed as CommitFailed
from fairway.engine.apiserver.store.errors import Conflict as Conflict
from fairway.engine.apiserver.store.errors import Corrupt as Corrupt
from fairway.engine.apiserver.store.errors import Expired as Expired
from fairway.engine.apiserver.store.errors import StoreError as StoreError
from fairway.engine.apiserver.store.store import MemoryStore as MemoryStore
from fairway.engine.apiserver.store.store import SqliteStore as SqliteStore
from fairway.engine.apiserver.store.store import Store as Store
