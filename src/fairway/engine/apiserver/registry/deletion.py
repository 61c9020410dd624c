"""What a delete does to an object: remove it, or mark it and wait for finalizers or a graceful end.

Follows the documentation of finalizers, garbage collection and pod termination.
"""

from datetime import datetime, timedelta
from enum import Enum

from fairway.engine.apiserver.registry.options import BACKGROUND, FOREGROUND, ORPHAN, DeleteOptions
from fairway.engine.apiserver.resources import Kind
from fairway.engine.apiserver.store.entries import Object
from fairway.kube.api.meta import timestamp

_FOREGROUND_FINALIZER = "foregroundDeletion"
_ORPHAN_FINALIZER = "orphan"


class Outcome(Enum):
    """`MARK`: the changed object has to be stored. `WAIT`: it is on its way out already, nothing changes."""

    REMOVE = "remove"
    MARK = "mark"
    WAIT = "wait"


def plan(kind: Kind, obj: Object, options: DeleteOptions, now: datetime) -> Outcome:
    """Decide, and change `obj` accordingly."""
    kind.prepare_delete(obj)
    metadata = obj["metadata"]
    before = list(metadata.get("finalizers") or ())
    finalizers = _finalizers(before, options.propagation_policy)
    grace = _grace_seconds(kind, obj, options)
    if not metadata.get("deletionTimestamp"):
        if grace == 0 and not finalizers and not spec_finalizers(kind, obj):
            return Outcome.REMOVE
        _mark(metadata, now, grace)
        if spec_finalizers(kind, obj):
            obj.setdefault("status", {})["phase"] = "Terminating"
    else:
        grace, shortened = _shorten(metadata, grace)
        if grace == 0 and not finalizers and not spec_finalizers(kind, obj):
            return Outcome.REMOVE
        if not shortened and finalizers == before:
            return Outcome.WAIT
    _set_finalizers(metadata, finalizers)
    return Outcome.MARK


def is_over(kind: Kind, obj: Object) -> bool:
    """Whether an update took away the last thing that kept a deleted object."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers") or spec_finalizers(kind, obj):
        return False
    return not metadata.get("deletionGracePeriodSeconds")


def spec_finalizers(kind: Kind, obj: Object) -> bool:
    """Namespaces have finalizers of a second sort, which `/finalize` takes away."""
    return kind.plural == "namespaces" and not kind.group and bool((obj.get("spec") or {}).get("finalizers"))


def _finalizers(current: list[str], policy: str | None) -> list[str]:
    if policy is None:
        return current
    kept = [name for name in current if name not in (_FOREGROUND_FINALIZER, _ORPHAN_FINALIZER)]
    added = {ORPHAN: [_ORPHAN_FINALIZER], FOREGROUND: [_FOREGROUND_FINALIZER], BACKGROUND: []}[policy]
    return current if sorted(kept + added) == sorted(current) else kept + added


def _grace_seconds(kind: Kind, obj: Object, options: DeleteOptions) -> int | None:
    """None: a second delete that says nothing about the time leaves it as it is."""
    if kind.default_grace_seconds is None:
        return 0
    default = kind.default_grace_seconds(obj)
    if default == 0:
        return 0  # nobody runs it (any more), so there is nothing to wait for
    if options.grace_period_seconds is not None:
        return options.grace_period_seconds if options.grace_period_seconds >= 0 else 1
    return None if obj["metadata"].get("deletionTimestamp") else default


def _mark(metadata: Object, now: datetime, grace: int | None) -> None:
    metadata["deletionTimestamp"] = timestamp(now + timedelta(seconds=grace or 0))
    metadata["deletionGracePeriodSeconds"] = grace or 0
    if metadata.get("generation"):
        metadata["generation"] += 1


def _shorten(metadata: Object, grace: int | None) -> tuple[int, bool]:
    """The time left may only become shorter. Gives the grace period that holds, and whether it changed."""
    former = int(metadata.get("deletionGracePeriodSeconds") or 0)
    if grace is None or grace >= former:
        return former, False
    until = datetime.fromisoformat(metadata["deletionTimestamp"])
    metadata["deletionTimestamp"] = timestamp(until - timedelta(seconds=former - grace))
    metadata["deletionGracePeriodSeconds"] = grace
    return grace, True


def _set_finalizers(metadata: Object, finalizers: list[str]) -> None:
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
