"""ConfigMaps: text and bytes by key."""

from datetime import datetime

from fairway.engine.apiserver.resources import causes, names
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    age_of,
    keep_nothing,
    name_of,
    nothing,
)

BYTES_MAX = 1024 * 1024
_FROZEN = "field is immutable when `immutable` is set"


def validate(new: Object, old: Object | None) -> list[Cause]:
    """Keys are file names; everything together is at most a mebibyte."""
    data, binary = new.get("data") or {}, new.get("binaryData") or {}
    found: list[Cause] = []
    size = 0
    for field, entries in (("data", data), ("binaryData", binary)):
        for key, value in entries.items():
            found += causes.invalid_each(f"{field}[{key}]", key, names.config_key(key))
            size += len((value or "").encode()) if field == "data" else _decoded_bytes(value or "")
    for key in data.keys() & binary.keys():
        found.append(causes.invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
    if size > BYTES_MAX:
        found.append(causes.too_long("[]", BYTES_MAX))
    return found if old is None else found + validate_frozen(new, old, ("data", "binaryData"))


def validate_frozen(new: Object, old: Object, fields: tuple[str, ...]) -> list[Cause]:
    """Once `immutable` is set, neither it nor the content changes."""
    if not old.get("immutable"):
        return []
    found = [] if new.get("immutable") else [causes.forbidden("immutable", _FROZEN)]
    changed = [field for field in fields if (new.get(field) or {}) != (old.get(field) or {})]
    return found + [causes.forbidden(field, _FROZEN) for field in changed]


def row(config_map: Object, now: datetime) -> list[object]:
    """One cell per column."""
    count = len(config_map.get("data") or ()) + len(config_map.get("binaryData") or ())
    return [name_of(config_map), count, age_of(config_map, now)]


def _decoded_bytes(text: str) -> int:
    return len(text) * 3 // 4


CONFIG_MAPS = Kind(
    group="",
    version="v1",
    kind="ConfigMap",
    plural="configmaps",
    singular="configmap",
    namespaced=True,
    list_kind="ConfigMapList",
    short_names=("cm",),
    columns=(NAME, Column("Data", "integer", "How many keys there are."), AGE),
    row=row,
    prepare_create=nothing,
    prepare_update=keep_nothing,
    validate=validate,
)
