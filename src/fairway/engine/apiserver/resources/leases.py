"""Leases: who holds what, and until when."""

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


def validate(new: Object, old: Object | None) -> list[Cause]:
    """coordination.k8s.io validation."""
    spec = new.get("spec") or {}
    found: list[Cause] = []
    duration, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if duration is not None and duration <= 0:
        found.append(causes.invalid("spec.leaseDurationSeconds", duration, "must be greater than 0"))
    return found + causes.negative("spec.leaseTransitions", transitions)


def row(lease: Object, now: datetime) -> list[object]:
    """One cell per column."""
    return [name_of(lease), (lease.get("spec") or {}).get("holderIdentity") or "", age_of(lease, now)]


LEASES = Kind(
    group="coordination.k8s.io",
    version="v1",
    kind="Lease",
    plural="leases",
    singular="lease",
    namespaced=True,
    list_kind="LeaseList",
    create_on_update=True,
    columns=(NAME, Column("Holder", "string", "The identity of the holder of a current lease."), AGE),
    row=row,
    prepare_create=nothing,
    prepare_update=keep_nothing,
    validate=validate,
)
