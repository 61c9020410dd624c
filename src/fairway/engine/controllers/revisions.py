"""ControllerRevisions: what a StatefulSet or DaemonSet was, so that it can be rolled back."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from fairway.engine.controllers.deployment.template import template_hash
from fairway.kube.api.meta import ObjectMeta, OwnerReference
from fairway.kube.api.noun import encode, without_nulls
from fairway.kube.api.statefulsets import ControllerRevision

REVISION_LABEL = "controller-revision-hash"
HASH_LABEL = "controller.kubernetes.io/hash"
_NAME_LENGTH_MAX = 223
_NOT_COPIED = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})


class Create(msgspec.Struct, frozen=True):
    """Record this state (raw JSON)."""

    revision: Mapping[str, Any]


class Renumber(msgspec.Struct, frozen=True):
    """The owner was rolled back to this state: it is the newest again."""

    revision: ControllerRevision
    number: int


def data_of(template: Mapping[str, Any]) -> dict[str, Any]:
    """What is recorded: a strategic merge patch that replaces the template (what `kubectl rollout undo` sends)."""
    return {"spec": {"template": {**without_nulls(template), "$patch": "replace"}}}


def by_number(revisions: Iterable[ControllerRevision]) -> tuple[ControllerRevision, ...]:
    """Oldest first."""
    return tuple(
        sorted(revisions, key=lambda item: (item.revision, str(item.metadata.creation_timestamp), item.metadata.name))
    )


def find(revisions: Iterable[ControllerRevision], template: Mapping[str, Any]) -> ControllerRevision | None:
    """The newest that recorded this template."""
    data = data_of(template)
    matching = (item for item in reversed(by_number(revisions)) if without_nulls(item.data) == data)
    return next(matching, None)


def record(
    owner: ObjectMeta,
    reference: OwnerReference,
    template: Mapping[str, Any],
    revisions: Iterable[ControllerRevision],
    collision_count: int,
) -> Create | Renumber | None:
    """What has to be done so that the template is the newest recorded state; None when it is."""
    known = by_number(revisions)
    number = (known[-1].revision if known else 0) + 1
    found = find(known, template)
    if found is None:
        return Create(_draft(owner, reference, template, number, collision_count))
    return None if found is known[-1] else Renumber(found, number)


def surplus(
    revisions: Iterable[ControllerRevision], live: frozenset[str], limit: int
) -> tuple[ControllerRevision, ...]:
    """The oldest that nothing uses (`live` has names), beyond the limit."""
    idle = [item for item in by_number(revisions) if item.metadata.name not in live]
    return tuple(idle[: max(0, len(idle) - limit)])


def _draft(
    owner: ObjectMeta,
    reference: OwnerReference,
    template: Mapping[str, Any],
    number: int,
    collision_count: int,
) -> dict[str, Any]:
    data = data_of(template)
    tag = template_hash(data, collision_count)
    labels = without_nulls(template).get("metadata", {}).get("labels", {})
    annotations = {key: value for key, value in owner.annotations.items() if key not in _NOT_COPIED}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{owner.name[:_NAME_LENGTH_MAX]}-{tag}",
            "namespace": owner.namespace,
            "labels": {**labels, HASH_LABEL: tag, REVISION_LABEL: tag},
            "annotations": annotations,
            "ownerReferences": [encode(reference)],
        },
        "data": data,
        "revision": number,
    }
