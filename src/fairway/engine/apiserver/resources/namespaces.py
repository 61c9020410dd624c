"""Namespaces: they go once everything in them is gone."""

from datetime import datetime

from fairway.engine.apiserver.resources import names
from fairway.engine.apiserver.resources.defaulting import child
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Column,
    Kind,
    Object,
    age_of,
    carry,
    keep_status,
    name_of,
)

FINALIZER = "kubernetes"


def default(namespace: Object) -> None:
    """Every namespace carries its own name as a label, so that selectors can name it."""
    metadata = child(namespace, "metadata")
    if metadata.get("name"):
        child(metadata, "labels")["kubernetes.io/metadata.name"] = metadata["name"]


def prepare_create(namespace: Object) -> None:
    """A new namespace is Active and waits for the namespace controller before it goes."""
    namespace["status"] = {"phase": "Active"}
    finalizers = child(namespace, "spec").get("finalizers") or []
    namespace["spec"]["finalizers"] = finalizers if FINALIZER in finalizers else [*finalizers, FINALIZER]


def prepare_update(new: Object, old: Object) -> None:
    """Finalizers change through `finalize` only, the phase through `status`."""
    carry(child(new, "spec"), old.get("spec") or {}, "finalizers")
    keep_status(new, old)


def row(namespace: Object, now: datetime) -> list[object]:
    """One cell per column."""
    return [name_of(namespace), (namespace.get("status") or {}).get("phase") or "", age_of(namespace, now)]


def selectable(namespace: Object) -> dict[str, str]:
    """The field selectors of namespaces."""
    return {"status.phase": (namespace.get("status") or {}).get("phase") or "", "name": name_of(namespace)}


NAMESPACES = Kind(
    group="",
    version="v1",
    kind="Namespace",
    plural="namespaces",
    singular="namespace",
    namespaced=False,
    list_kind="NamespaceList",
    short_names=("ns",),
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    subresources=("finalize", "status"),
    columns=(NAME, Column("Status", "string", "The status of the namespace"), AGE),
    row=row,
    default=default,
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    selectable=selectable,
    delete_returns_object=True,
    name_rule=names.dns_label,
)
