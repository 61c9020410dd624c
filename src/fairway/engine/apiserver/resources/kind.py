"""What a resource kind is: data plus the few pure functions that are truly its own."""

import copy
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from fairway.engine.apiserver.resources import ages, names
from fairway.engine.apiserver.schema.custom import Compiled

Object = dict[str, Any]
"""An API object as decoded from JSON; types are already checked against the schema, fields may be absent or null."""

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


class Column(msgspec.Struct, frozen=True):
    """One column of a Table; those with priority 1 are shown by `-o wide` only."""

    name: str
    type: str
    description: str = ""
    format: str = ""
    priority: int = 0


class Cause(msgspec.Struct, frozen=True):
    """One reason why an object is refused: what a metav1.StatusCause holds."""

    reason: str
    message: str
    field: str


NAME = Column("Name", "string", "Name must be unique within a namespace.", "name")
AGE = Column("Age", "string", "CreationTimestamp is the time at which the object was created on the server.")


def name_and_age(obj: Object, now: datetime) -> list[object]:
    """The cells of a kind that shows nothing of its own."""
    return [name_of(obj), age_of(obj, now)]


def name_of(obj: Object) -> str:
    """metadata.name, or an empty string."""
    return str((obj.get("metadata") or {}).get("name") or "")


def age_of(obj: Object, now: datetime) -> str:
    """How long the object exists, as kubectl shows it."""
    return ages.since((obj.get("metadata") or {}).get("creationTimestamp"), now)


def nothing(obj: Object) -> None:
    """Leave the object as it is."""


def drop_status(obj: Object) -> None:
    """Before a create: status belongs to controllers."""
    obj["status"] = {}


def first_generation(obj: Object) -> None:
    """Before a create: status belongs to controllers, and the specification is its first."""
    obj["status"] = {}
    obj["metadata"]["generation"] = 1


def generation_only(obj: Object) -> None:
    """Before a create of a kind with a generation and no status."""
    obj["metadata"]["generation"] = 1


def keep_nothing(new: Object, old: Object) -> None:
    """Before an update of a kind whose every field may be written at once."""


def keep_status(new: Object, old: Object) -> None:
    """Before an update: the status comes from the stored object."""
    carry(new, old, "status")


def bump_generation(new: Object, old: Object) -> None:
    """Before an update: status is kept, and a changed specification is a new generation."""
    keep_status(new, old)
    count_generation(new, old)


def count_generation(new: Object, old: Object) -> None:
    """metadata.generation of the old object, plus one when anything but metadata and status differs."""
    generation = int(old["metadata"].get("generation") or 0)
    changed = _desired(new) != _desired(old)
    if generation or changed:
        new["metadata"]["generation"] = generation + 1 if changed else generation


def only_status(new: Object, old: Object) -> None:
    """Before an update through `status`: everything else, and most metadata, comes from the stored object."""
    for key in [key for key in (*new, *old) if key not in ("status", "metadata", "kind", "apiVersion")]:
        carry(new, old, key)
    for key in ("labels", "ownerReferences", "generation"):
        carry(new["metadata"], old["metadata"], key)


def carry(new: Object, old: Object, key: str) -> None:
    """Make `new[key]` what it is in `old`, absence included."""
    if key in old:
        new[key] = copy.deepcopy(old[key])
    else:
        new.pop(key, None)


def accept(new: Object, old: Object | None) -> list[Cause]:
    """No rule of its own."""
    return []


def no_fields(obj: Object) -> dict[str, str]:
    """No field selector beyond metadata.name and metadata.namespace."""
    return {}


def _desired(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status", "kind", "apiVersion")}


class Conversion(msgspec.Struct, frozen=True):
    """Between the form in which objects are stored and the form in which this kind shows them.

    `needed(revision, data)` says whether a stored version looks different; `read` and `write` may change what they get.
    """

    needed: Callable[[int, bytes], bool]
    read: Callable[[Object], Object]
    write: Callable[[Object], Object]


class ScalePaths(msgspec.Struct, frozen=True):
    """Where the `scale` subresource finds its numbers. A `selector` is a text; without one, spec.selector counts."""

    replicas: tuple[str, ...] = ("spec", "replicas")
    current: tuple[str, ...] = ("status", "replicas")
    selector: tuple[str, ...] = ()


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A resource: its names, what clients may do with it, and its own rules as pure functions.

    `default` fills an object in place, `prepare_*` runs before validation and storing, `validate(new, old)` returns all
    causes at once (old is None on create), `row(obj, now)` gives one cell per column.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    list_kind: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[str, ...] = ()
    columns: tuple[Column, ...] = (NAME, AGE)
    row: Callable[[Object, datetime], list[object]] = name_and_age
    default: Callable[[Object], None] = nothing
    prepare_create: Callable[[Object], None] = drop_status
    prepare_update: Callable[[Object, Object], None] = keep_status
    prepare_status: Callable[[Object, Object], None] = only_status
    prepare_parts: Mapping[str, Callable[[Object, Object], None]] = {}
    """By subresource: what of an update through it counts."""
    validate: Callable[[Object, Object | None], list[Cause]] = accept
    validate_parts: Mapping[str, Callable[[Object, Object], list[Cause]]] = {}
    """By subresource: what is checked of an update through it, where that differs from `validate`."""
    selectable: Callable[[Object], dict[str, str]] = no_fields
    delete_returns_object: bool = False
    default_grace_seconds: Callable[[Object], int] | None = None
    stored: bool = True
    """False for what is made up when asked for."""
    name_rule: Callable[[str], list[str]] = names.dns_subdomain
    create_on_update: bool = False
    """Whether a PUT of an object that is not there creates it."""
    prepare_delete: Callable[[Object], None] = nothing
    scale_paths: ScalePaths = ScalePaths()
    stored_as: str = ""
    """What store keys call it, where another kind stores the same objects."""
    conversion: Conversion | None = None
    custom: Compiled | None = None
    """The schema of a kind that a CRD defines."""
    warning: str = ""
    """Told to every client that uses the kind."""

    @property
    def api_version(self) -> str:
        """`v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version
