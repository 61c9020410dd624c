"""What the store holds: encoded objects, their keys, and the events that changed them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

Object = dict[str, Any]

ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"


class Key(NamedTuple):
    """Where an object lives. `resource` is `plural` or `group/plural`; `namespace` is empty for cluster-wide kinds."""

    resource: str
    namespace: str
    name: str


class Owner(msgspec.Struct, frozen=True):
    """The part of an owner reference that is looked up."""

    uid: str = ""


class Metadata(msgspec.Struct, frozen=True):
    """The part of an object's metadata that selecting and storing need."""

    uid: str = ""
    labels: Mapping[str, str] | None = None
    owners: tuple[Owner, ...] | None = msgspec.field(name="ownerReferences", default=None)


class _Envelope(msgspec.Struct, frozen=True):
    metadata: Metadata


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class Entry:
    """One version of one object as encoded JSON, its resourceVersion included. Never changed after it was made.

    Bytes take a fifth of the memory of the parsed tree; the few parsed fields are made when first asked for.
    """

    __slots__ = ("_fields", "_metadata", "data", "key", "revision")

    def __init__(self, key: Key, revision: int, data: bytes) -> None:
        self.key = key
        self.revision = revision
        self.data = data
        self._metadata: Metadata | None = None
        self._fields: Mapping[str, str] | None = None

    @property
    def metadata(self) -> Metadata:
        if self._metadata is None:
            self._metadata = _decode_envelope(self.data).metadata
        return self._metadata

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.labels or {}

    @property
    def uid(self) -> str:
        return self.metadata.uid

    @property
    def fields(self) -> Mapping[str, str] | None:
        """What field selectors see, once `index` was told."""
        return self._fields

    def index(self, fields: Mapping[str, str]) -> Mapping[str, str]:
        """Remember what field selectors see of this version."""
        self._fields = fields
        return fields

    def object(self) -> Object:
        """A fresh parsed tree that the caller may change."""
        return _decode(self.data)


class Event:
    """One committed change. For DELETED, `entry` is the last state with the deletion's revision.

    `lines` caches encodings while the event is handed out, so that each is made once for all watchers.
    """

    __slots__ = ("entry", "lines", "previous", "type")

    def __init__(self, type: str, entry: Entry, previous: Entry | None) -> None:
        self.type = type
        self.entry = entry
        self.previous = previous
        self.lines: dict[object, bytes] = {}

    @property
    def revision(self) -> int:
        return self.entry.revision

    @property
    def key(self) -> Key:
        return self.entry.key


def encode(obj: Object, revision: int) -> bytes:
    """The stored form of an object: `kind` and `apiVersion` first, metadata.resourceVersion set (in `obj`, too)."""
    obj["metadata"]["resourceVersion"] = str(revision)
    return _encode({"kind": obj.get("kind"), "apiVersion": obj.get("apiVersion"), **obj})


def at_revision(entry: Entry, revision: int) -> Entry:
    """The same object, said to be of another revision: how a deletion shows the last state."""
    return Entry(entry.key, revision, encode(entry.object(), revision))
