"""What garbage collection does with one object (documentation "Garbage Collection", "Owners and Dependents")."""

from collections.abc import Mapping, Sequence
from enum import Enum

import msgspec

from fairway.kube.api.meta import ObjectMeta

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


class Owner(Enum):
    """The state of an owner that an object names."""

    PRESENT = "present"
    ABSENT = "absent"
    WAITING = "waiting for its dependents to go"


class Keep(msgspec.Struct, frozen=True):
    """Nothing to do."""


class Delete(msgspec.Struct, frozen=True):
    """Nobody owns it any more: delete it with this propagation policy."""

    policy: str


class Disown(msgspec.Struct, frozen=True):
    """Some owner is left: drop the references to those that are not."""

    uids: frozenset[str]


class FreeDependents(msgspec.Struct, frozen=True):
    """It is deleted with its dependents left behind: drop their references, then the finalizer."""


class Finish(msgspec.Struct, frozen=True):
    """No dependent holds it any more: drop this finalizer."""

    finalizer: str


class WaitForDependents(msgspec.Struct, frozen=True):
    """Its dependents go first: look at them."""


Action = Keep | Delete | Disown | FreeDependents | Finish | WaitForDependents


class Snapshot(msgspec.Struct, frozen=True):
    """An object, the state of each owner by uid, and its dependents."""

    metadata: ObjectMeta
    owners: Mapping[str, Owner]
    dependents: Sequence[ObjectMeta] = ()


def plan(seen: Snapshot) -> Action:
    """Decide."""
    metadata = seen.metadata
    if metadata.deletion_timestamp is not None:
        if ORPHAN in metadata.finalizers:
            return FreeDependents() if seen.dependents else Finish(ORPHAN)
        if FOREGROUND in metadata.finalizers:
            return WaitForDependents() if _blocking(seen) else Finish(FOREGROUND)
        return Keep()
    return _owned(seen)


def _owned(seen: Snapshot) -> Action:
    states = {owner.uid: seen.owners[owner.uid] for owner in seen.metadata.owner_references}
    gone = frozenset(uid for uid, state in states.items() if state is not Owner.PRESENT)
    if not states or not gone:
        return Keep()
    if len(gone) < len(states):
        return Disown(gone)
    if Owner.WAITING in states.values() and seen.dependents:
        return Delete("Foreground")
    return Delete(_policy(seen.metadata))


def _policy(metadata: ObjectMeta) -> str:
    """As the object's own finalizers say, or in the background."""
    if ORPHAN in metadata.finalizers:
        return "Orphan"
    return "Foreground" if FOREGROUND in metadata.finalizers else "Background"


def _blocking(seen: Snapshot) -> bool:
    references = (owner for dependent in seen.dependents for owner in dependent.owner_references)
    return any(owner.uid == seen.metadata.uid and owner.block_owner_deletion for owner in references)
