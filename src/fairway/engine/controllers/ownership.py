"""Which objects a controller may call its own: adopt what matches and has no owner, release what no longer matches."""

from collections.abc import Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from fairway.kube.api.meta import ObjectMeta, OwnerReference
from fairway.kube.api.noun import encode
from fairway.kube.api.selectors import Selector


class _Object(Protocol):
    @property
    def metadata(self) -> ObjectMeta: ...


T = TypeVar("T", bound=_Object)


class Claims(msgspec.Struct, Generic[T], frozen=True):
    """What is owned already, what should be, and what should not be any more."""

    owned: tuple[T, ...] = ()
    adopt: tuple[T, ...] = ()
    release: tuple[T, ...] = ()


def claim(owner: ObjectMeta, selector: Selector, candidates: Iterable[T]) -> Claims[T]:
    """Sort candidates of the owner's namespace. An owner that is being deleted adopts nothing."""
    owned: list[T] = []
    adopt: list[T] = []
    release: list[T] = []
    for candidate in candidates:
        metadata = candidate.metadata
        matches = selector.matches(metadata.labels)
        controller = metadata.controller
        if controller is not None:
            if controller.uid == owner.uid:
                (owned if matches or owner.deletion_timestamp else release).append(candidate)
        elif matches and metadata.deletion_timestamp is None and owner.deletion_timestamp is None:
            adopt.append(candidate)
    return Claims(tuple(owned), tuple(adopt), tuple(release))


def adoption(obj: ObjectMeta, owner: OwnerReference) -> Mapping[str, Any]:
    """The patch that adds an owner."""
    return _patch(obj, [*obj.owner_references, owner])


def disowning(obj: ObjectMeta, uids: frozenset[str]) -> Mapping[str, Any]:
    """The patch that takes owners away."""
    return _patch(obj, [owner for owner in obj.owner_references if owner.uid not in uids])


def _patch(obj: ObjectMeta, owners: list[OwnerReference]) -> Mapping[str, Any]:
    """Only if the object is still the one that was seen."""
    return {
        "metadata": {
            "uid": obj.uid,
            "resourceVersion": obj.resource_version,
            "ownerReferences": [encode(owner) for owner in owners] or None,
        }
    }
