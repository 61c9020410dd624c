"""ControllerRevisions: what StatefulSets and DaemonSets were."""

from datetime import datetime

from fairway.engine.apiserver.resources import causes
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

_NONE = "<none>"


def validate(new: Object, old: Object | None) -> list[Cause]:
    """apps validation; the recorded state never changes, only its number does."""
    found = causes.negative("revision", new.get("revision"))
    if new.get("data") is None:
        found.append(causes.required("data", "data is mandatory"))
    if old is not None:
        found += causes.immutable("data", new.get("data"), old.get("data"))
    return found


def row(revision: Object, now: datetime) -> list[object]:
    """One cell per column."""
    owners = (revision.get("metadata") or {}).get("ownerReferences") or ()
    owner = next((owner for owner in owners if owner.get("controller")), None)
    return [name_of(revision), _owner_text(owner), revision.get("revision") or 0, age_of(revision, now)]


def _owner_text(owner: Object | None) -> str:
    if owner is None:
        return _NONE
    group = owner["apiVersion"].partition("/")[0]
    return f"{owner['kind'].lower()}.{group}/{owner['name']}"


CONTROLLER_REVISIONS = Kind(
    group="apps",
    version="v1",
    kind="ControllerRevision",
    plural="controllerrevisions",
    singular="controllerrevision",
    namespaced=True,
    list_kind="ControllerRevisionList",
    columns=(
        NAME,
        Column("Controller", "string", "The controller that owns the revision."),
        Column("Revision", "integer", "The number of the recorded state."),
        AGE,
    ),
    row=row,
    prepare_create=nothing,
    prepare_update=keep_nothing,
    validate=validate,
)
