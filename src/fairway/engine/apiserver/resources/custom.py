"""The kinds that a CustomResourceDefinition defines: one per served version, from its data alone."""

import copy
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

from fairway.engine.apiserver.resources import ages, json_paths
from fairway.engine.apiserver.resources.kind import (
    ALL_VERBS,
    NAME,
    Cause,
    Column,
    Conversion,
    Kind,
    Object,
    ScalePaths,
    age_of,
    carry,
    name_of,
)
from fairway.engine.apiserver.schema import Type
from fairway.engine.apiserver.schema.custom import Compiled, compile_schema

_AGE: Final = Column(
    "Age",
    "date",
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed "
    "to be set in happens-before order across separate operations. Clients may not set this value. It is represented "
    "in RFC3339 form and is in UTC.",
)
_VERSION: Final = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
_STAGES: Final = {"": 2, "beta": 1, "alpha": 0}

Row = Callable[[Object, datetime], list[object]]


def kinds_of(definition: Object, metadata: Type, revision: int, names: Object) -> list[Kind]:
    """The served versions, the most stable and newest first; `names` are those that were accepted.

    Objects stored before `revision` are completed by the schema when they are read.  Raises ValueError.
    """
    versions = definition["spec"]["versions"]
    served = sorted((version for version in versions if version.get("served")), key=lambda v: priority(v["name"]))
    return [_kind(definition, version, metadata, revision, names) for version in served]


def priority(version: str) -> tuple[int, int, int, str]:
    """Sorts versions as discovery does: stable before beta before alpha, newer before older, others last by name."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return (1, 0, 0, version)
    stage, number = match[2] or "", int(match[3] or 0)
    return (0, -_STAGES[stage], -int(match[1]) * 1000 - number, version)


def _kind(definition: Object, version: Object, metadata: Type, revision: int, names: Object) -> Kind:
    spec = definition["spec"]
    compiled = compile_schema((version.get("schema") or {}).get("openAPIV3Schema") or {}, metadata)
    parts = version.get("subresources") or {}
    has_status = parts.get("status") is not None
    columns = tuple(version.get("additionalPrinterColumns") or ())
    ending = bool(definition["metadata"].get("deletionTimestamp"))
    return Kind(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or "",
        namespaced=spec["scope"] == "Namespaced",
        list_kind=names.get("listKind") or f"{names['kind']}List",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        verbs=tuple(verb for verb in ALL_VERBS if verb != "create") if ending else ALL_VERBS,
        subresources=tuple(name for name in ("status", "scale") if parts.get(name) is not None),
        columns=_columns(columns),
        row=_row(columns),
        prepare_create=_create_with_status if has_status else _create,
        prepare_update=_update_with_status if has_status else _update,
        prepare_status=_update_status,
        validate=_validator(compiled, parts),
        selectable=_selectable(version.get("selectableFields") or ()),
        scale_paths=_scale_paths(parts.get("scale") or {}),
        conversion=_conversion(spec, version["name"], compiled, revision),
        custom=compiled,
        warning=_warning(spec, version),
    )


def _warning(spec: Object, version: Object) -> str:
    if not version.get("deprecated"):
        return ""
    return (
        version.get("deprecationWarning") or f"{spec['group']}/{version['name']} {spec['names']['kind']} is deprecated"
    )


# --- rules


def _create(obj: Object) -> None:
    obj["metadata"]["generation"] = 1


def _create_with_status(obj: Object) -> None:
    obj.pop("status", None)
    _create(obj)


def _update(new: Object, old: Object) -> None:
    """Without a status subresource a changed status is a new generation, too."""
    _count(new, old, ("metadata", "kind", "apiVersion"))


def _update_with_status(new: Object, old: Object) -> None:
    carry(new, old, "status")
    _count(new, old, ("metadata", "kind", "apiVersion", "status"))


def _count(new: Object, old: Object, without: tuple[str, ...]) -> None:
    changed = any(new.get(key) != old.get(key) for key in (*new, *old) if key not in without)
    new["metadata"]["generation"] = int(old["metadata"].get("generation") or 0) + changed


def _update_status(new: Object, old: Object) -> None:
    """Everything but the status, metadata included, comes from the stored object."""
    metadata = {**copy.deepcopy(old["metadata"])}
    for key in ("managedFields", "resourceVersion"):
        metadata.pop(key, None)
        if key in new["metadata"]:
            metadata[key] = new["metadata"][key]
    for key in [key for key in (*new, *old) if key not in ("status", "metadata", "kind", "apiVersion")]:
        carry(new, old, key)
    new["metadata"] = metadata


def _validator(compiled: Compiled, parts: Object) -> Callable[[Object, Object | None], list[Cause]]:
    paths = _scale_paths(parts["scale"]) if parts.get("scale") is not None else None

    def validate(new: Object, old: Object | None) -> list[Cause]:
        found = [Cause(cause.reason, cause.message, cause.field) for cause in compiled.validate(new, old)]
        return found + (_negative(new, paths) if paths else [])

    return validate


def _negative(obj: Object, paths: ScalePaths) -> list[Cause]:
    found = []
    for path in (paths.replicas, paths.current):
        value = at(obj, path)
        if isinstance(value, int) and value < 0:
            says = f"Invalid value: {value}: should be a non-negative integer"
            found.append(Cause("FieldValueInvalid", says, ".".join(path)))
    return found


def at(obj: Object, path: Iterable[str]) -> Any:
    """The value at a path of member names, or None."""
    value: Any = obj
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _scale_paths(scale: Object) -> ScalePaths:
    def parts(path: str) -> tuple[str, ...]:
        return tuple(part for part in path.split(".") if part)

    return ScalePaths(
        parts(scale.get("specReplicasPath") or ".spec.replicas"),
        parts(scale.get("statusReplicasPath") or ".status.replicas"),
        parts(scale.get("labelSelectorPath") or ".") or ("",),
    )


def _selectable(fields: Iterable[Object]) -> Callable[[Object], dict[str, str]]:
    paths = tuple(str(field["jsonPath"]) for field in fields)

    def selectable(obj: Object) -> dict[str, str]:
        found = {path.removeprefix("."): json_paths.find(path, obj) for path in paths}
        return {path: _text(values[0]) if values else "" for path, values in found.items()}

    return selectable


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- versions


def _conversion(spec: Object, version: str, compiled: Compiled, revision: int) -> Conversion:
    """Versions differ in nothing but their name; what was stored before the schema changed is completed by it."""
    api_version = f"{spec['group']}/{version}"
    storage = next(item["name"] for item in spec["versions"] if item.get("storage"))
    head = f'{{"kind":"{spec["names"]["kind"]}","apiVersion":"{api_version}",'.encode()

    def needed(stored_at: int, data: bytes) -> bool:
        return stored_at < revision or not data.startswith(head)

    def read(obj: Object) -> Object:
        obj["apiVersion"] = api_version
        compiled.fit(obj)
        return obj

    def write(obj: Object) -> Object:
        return {**obj, "apiVersion": f"{spec['group']}/{storage}"}

    return Conversion(needed, read, write)


# --- tables


def _columns(columns: tuple[Object, ...]) -> tuple[Column, ...]:
    if not columns:
        return (NAME, _AGE)
    return (NAME, *(_column(column) for column in columns))


def _column(column: Object) -> Column:
    path = column["jsonPath"]
    says = column.get("description") or f"Custom resource definition column (in JSONPath format): {path}"
    return Column(column["name"], column["type"], says, column.get("format") or "", int(column.get("priority") or 0))


def _row(columns: tuple[Object, ...]) -> Row:
    if not columns:
        return lambda obj, now: [name_of(obj), age_of(obj, now)]
    return lambda obj, now: [name_of(obj), *(_cell(column, obj, now) for column in columns)]


def _cell(column: Object, obj: Object, now: datetime) -> object:
    try:
        found = json_paths.find(column["jsonPath"], obj)
    except ValueError:
        return "<error>"
    if not found:
        return None
    value = found[0]
    match column["type"]:
        case "integer":
            return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
        case "number":
            return value if isinstance(value, int | float) and not isinstance(value, bool) else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "date":
            return ages.since(value, now) if isinstance(value, str) else None
    return " ".join(_shown(item) for item in found)


def _shown(value: object) -> str:
    """As a JSONPath printer writes it: JSON for what is not a scalar."""
    if isinstance(value, dict | list):
        return json_paths.text(value)
    return "" if value is None else _text(value)
