"""What to do about a namespace on its way out, and what to tell about it."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from fairway.engine.controllers.conditions import Conditions, put
from fairway.kube.api.meta import Condition, ObjectMeta
from fairway.kube.api.resource import Resource

FINALIZER = "kubernetes"
_PODS_LAST_SECONDS = 1.0


class Contents(msgspec.Struct, frozen=True):
    """What is left in a namespace, by kind."""

    objects: Mapping[Resource, tuple[ObjectMeta, ...]]

    @property
    def left(self) -> dict[Resource, int]:
        return {kind: len(found) for kind, found in self.objects.items() if found}

    @property
    def finalizers(self) -> dict[str, int]:
        """How many objects wait for each finalizer."""
        counts: dict[str, int] = {}
        for found in self.objects.values():
            for metadata in found:
                for finalizer in metadata.finalizers:
                    counts[finalizer] = counts.get(finalizer, 0) + 1
        return counts


class Plan(msgspec.Struct, frozen=True):
    """What to delete now, whether the namespace itself may go, and when to look again."""

    delete: tuple[tuple[Resource, ObjectMeta], ...]
    finalize: bool
    again_seconds: float | None


def plan(contents: Contents) -> Plan:
    """Delete what is not on its way out already; an empty namespace is done."""
    if not contents.left:
        return Plan((), True, None)
    fresh = tuple(
        (kind, metadata)
        for kind, found in contents.objects.items()
        for metadata in found
        if metadata.deletion_timestamp is None
    )
    return Plan(fresh, False, _PODS_LAST_SECONDS)


def conditions(current: Conditions, contents: Contents, now: datetime) -> Conditions:
    """The conditions that upstream's namespace controller reports."""
    moment = now.replace(microsecond=0)
    for condition in (
        _condition("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", _DISCOVERED, failed=False),
        _condition("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", _PARSED, failed=False),
        _condition("NamespaceDeletionContentFailure", "ContentDeleted", _DELETED, failed=False),
        _remaining(contents),
        _finalizers(contents),
    ):
        current = put(current, msgspec.structs.replace(condition, last_transition_time=moment))
    return current


_DISCOVERED = "All resources successfully discovered"
_PARSED = "All legacy kube types successfully parsed"
_DELETED = "All content successfully deleted, may be waiting on finalization"


def _remaining(contents: Contents) -> Condition:
    parts = sorted(f"{_name(kind)} has {count} resource instances" for kind, count in contents.left.items())
    if not parts:
        return _condition(
            "NamespaceContentRemaining", "ContentRemoved", "All content successfully removed", failed=False
        )
    message = f"Some resources are remaining: {', '.join(parts)}"
    return _condition("NamespaceContentRemaining", "SomeResourcesRemain", message, failed=True)


def _finalizers(contents: Contents) -> Condition:
    parts = sorted(f"{name} in {count} resource instances" for name, count in contents.finalizers.items())
    if not parts:
        message = "All content-preserving finalizers finished"
        return _condition("NamespaceFinalizersRemaining", "ContentHasNoFinalizers", message, failed=False)
    message = f"Some content in the namespace has finalizers remaining: {', '.join(parts)}"
    return _condition("NamespaceFinalizersRemaining", "SomeFinalizersRemain", message, failed=True)


def _condition(type: str, reason: str, message: str, *, failed: bool) -> Condition:
    return Condition(type=type, status="True" if failed else "False", reason=reason, message=message)


def _name(kind: Resource) -> str:
    return f"{kind.plural}.{kind.group}"
