"""Between the form in which objects are stored and the form in which a kind shows them."""

import msgspec

from fairway.engine.apiserver.resources import Kind
from fairway.engine.apiserver.store import Entry
from fairway.engine.apiserver.store.entries import Object


def current(kind: Kind, entry: Entry) -> Object:
    """A fresh parsed tree in the kind's form."""
    obj = entry.object()
    conversion = kind.conversion
    if conversion is None or not conversion.needed(entry.revision, entry.data):
        return obj
    return conversion.read(obj)


def shown(kind: Kind, entry: Entry) -> Entry:
    """The same version in the kind's form."""
    conversion = kind.conversion
    if conversion is None or not conversion.needed(entry.revision, entry.data):
        return entry
    obj = conversion.read(entry.object())
    head = {"kind": kind.kind, "apiVersion": kind.api_version}
    return Entry(entry.key, entry.revision, msgspec.json.encode({**head, **obj, **head}))


def stored(kind: Kind, obj: Object) -> Object:
    """An object of the kind as it is stored."""
    return obj if kind.conversion is None else kind.conversion.write(obj)
