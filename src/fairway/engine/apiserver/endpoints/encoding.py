"""Objects, lists and events as bytes, in each form; stored bytes are joined, not parsed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from fairway.engine.apiserver.endpoints.forms import METADATA, TABLE, Form
from fairway.engine.apiserver.registry import versions
from fairway.engine.apiserver.resources import Kind
from fairway.engine.apiserver.store import Entry

encode = msgspec.json.Encoder().encode


class _Envelope(msgspec.Struct, frozen=True):
    metadata: msgspec.Raw


_envelope = msgspec.json.Decoder(_Envelope).decode


class ListMeta(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The metadata of a list."""

    resource_version: str
    continue_: str = msgspec.field(name="continue", default="")
    remaining_item_count: int | None = None


def one(kind: Kind, entry: Entry, form: Form, now: datetime, *, columns: bool = True) -> bytes:
    """One object. A Table without `columns` leaves out their definitions, as all but the first event of a watch do."""
    if kind.conversion is not None:
        entry = versions.shown(kind, entry)
    if form.style == TABLE:
        meta = ListMeta(str(entry.revision))
        return _table(kind, [entry], form, meta, now, columns=columns)
    return _metadata(entry, form) if form.style == METADATA else entry.data


def many(kind: Kind, entries: Sequence[Entry], form: Form, meta: ListMeta, now: datetime) -> bytes:
    """A list."""
    if kind.conversion is not None:
        entries = [versions.shown(kind, entry) for entry in entries]
    if form.style == TABLE:
        return _table(kind, entries, form, meta, now, columns=True) + b"\n"
    if form.style == METADATA:
        head = _list_head("PartialObjectMetadataList", f"meta.k8s.io/{form.version}", meta)
        return head + b",".join([_metadata(entry, form) for entry in entries]) + b"]}\n"
    head = _list_head(kind.list_kind, kind.api_version, meta)
    return head + b",".join([entry.data for entry in entries]) + b"]}\n"


def event(type: str, payload: bytes) -> bytes:
    """One line of a watch."""
    return b'{"type":"%b","object":%b}\n' % (type.encode(), payload)


def bookmark(kind: Kind, form: Form, revision: int, *, initial_end: bool = False) -> bytes:
    """A line that only says how far the client has come; `initial_end` ends the initial objects of a streaming list."""
    metadata: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
    if initial_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    if form.style == TABLE:
        row = {"cells": [], "object": {**_kind_of_metadata(form), "metadata": metadata}}
        table = {
            "kind": "Table",
            "apiVersion": f"meta.k8s.io/{form.version}",
            "metadata": {"resourceVersion": str(revision)},
        }
        return event("BOOKMARK", encode({**table, "columnDefinitions": None, "rows": [row] if initial_end else []}))
    shown = _kind_of_metadata(form) if form.style == METADATA else {"kind": kind.kind, "apiVersion": kind.api_version}
    return event("BOOKMARK", encode({**shown, "metadata": metadata}))


def _list_head(kind: str, api_version: str, meta: ListMeta) -> bytes:
    return b'{"kind":%b,"apiVersion":%b,"metadata":%b,"items":[' % (encode(kind), encode(api_version), encode(meta))


def _kind_of_metadata(form: Form) -> dict[str, str]:
    return {"kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{form.version}"}


def _metadata(entry: Entry, form: Form) -> bytes:
    raw = bytes(_envelope(entry.data).metadata)
    head = b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/%b","metadata":' % form.version.encode()
    return head + raw + b"}"


def _table(kind: Kind, entries: Sequence[Entry], form: Form, meta: ListMeta, now: datetime, *, columns: bool) -> bytes:
    definitions = encode([_definition(column) for column in kind.columns]) if columns else b"null"
    head = b'{"kind":"Table","apiVersion":"meta.k8s.io/%b","metadata":%b,"columnDefinitions":%b,"rows":[' % (
        form.version.encode(),
        encode(meta),
        definitions,
    )
    return head + b",".join([_row(kind, entry, form, now) for entry in entries]) + b"]}"


def _row(kind: Kind, entry: Entry, form: Form, now: datetime) -> bytes:
    cells = encode(kind.row(entry.object(), now))
    match form.include:
        case "None":
            shown = b"null"
        case "Object":
            shown = entry.data
        case _:
            shown = _metadata(entry, form)
    return b'{"cells":%b,"object":%b}' % (cells, shown)


def _definition(column: Any) -> dict[str, object]:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }
