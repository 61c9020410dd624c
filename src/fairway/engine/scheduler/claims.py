"""Whether the claims of a pod let it be scheduled (upstream's VolumeBinding filter, before any node is looked at)."""

from collections.abc import Iterable, Mapping

from fairway.kube.api.pods import Pod
from fairway.kube.api.statefulsets import PersistentVolumeClaim
from fairway.kube.api.storage import StorageClass, asked, claims_of

_LATE = "WaitForFirstConsumer"
_UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
_ALONE = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"


def obstacle(
    pod: Pod,
    claims: Mapping[str, PersistentVolumeClaim],
    classes: Mapping[str, StorageClass],
    neighbours: Iterable[Pod],
) -> str:
    """Why it must wait, "" when nothing is in the way; claims and neighbours are those of its namespace.

    A claim whose class waits for its first consumer is no obstacle: this pod is the consumer.
    """
    for name in sorted(claims_of(pod)):
        claim = claims.get(name)
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        if claim.metadata.deletion_timestamp is not None:
            return f'persistentvolumeclaim "{name}" is being deleted'
        spec = asked(claim)
        if claim.status.phase == "Lost":
            return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{spec.volume_name}"'
        storage_class = classes.get(spec.storage_class_name or "")
        if not spec.volume_name and (storage_class is None or storage_class.volume_binding_mode != _LATE):
            return _UNBOUND
        if "ReadWriteOncePod" in spec.access_modes and any(_uses(other, name, pod) for other in neighbours):
            return _ALONE
    return ""


def _uses(other: Pod, claim: str, pod: Pod) -> bool:
    placed = bool(other.spec.node_name) and not other.finished
    return placed and other.metadata.uid != pod.metadata.uid and claim in claims_of(other)


def message(why: str, nodes: int) -> str:
    """The words of an event for an obstacle that no node can lift."""
    head = f"0/{nodes} nodes are available: {why}."
    return f"{head} preemption: 0/{nodes} nodes are available: {nodes} Preemption is not helpful for scheduling."
