"""What one decision about a StatefulSet is made from."""

from datetime import datetime

import msgspec

from fairway.engine.controllers.availability import is_available
from fairway.engine.controllers.revisions import REVISION_LABEL
from fairway.kube.api.pods import Pod
from fairway.kube.api.statefulsets import ControllerRevision, PersistentVolumeClaim, StatefulSet, StatefulSetSpec


class Snapshot(msgspec.Struct, frozen=True):
    """A StatefulSet, the pods and revisions it owns, and all claims of its namespace.

    `current` is the revision that was rolled out last, `update` that of the template.
    """

    stateful_set: StatefulSet
    pods: tuple[Pod, ...]
    current: ControllerRevision
    update: ControllerRevision
    now: datetime
    claims: tuple[PersistentVolumeClaim, ...] = ()

    @property
    def spec(self) -> StatefulSetSpec:
        return self.stateful_set.spec

    @property
    def start(self) -> int:
        """The first ordinal."""
        return self.spec.ordinals.start

    @property
    def ordinals(self) -> range:
        return range(self.start, self.start + self.spec.replicas)

    @property
    def ordered(self) -> bool:
        """Whether one pod waits for the one before it."""
        return self.spec.pod_management_policy != "Parallel"

    @property
    def wanted(self) -> dict[int, Pod | None]:
        """The pods that there should be, by ordinal; None for one that is missing."""
        known = self._by_ordinal
        return {ordinal: known.get(ordinal) for ordinal in self.ordinals}

    @property
    def condemned(self) -> tuple[Pod, ...]:
        """Pods beyond the wanted ones, the highest ordinal first."""
        beyond = {ordinal: pod for ordinal, pod in self._by_ordinal.items() if ordinal not in self.ordinals}
        return tuple(beyond[ordinal] for ordinal in sorted(beyond, reverse=True))

    @property
    def _by_ordinal(self) -> dict[int, Pod]:
        numbered = ((ordinal_of(self.stateful_set, pod), pod) for pod in self.pods)
        return {ordinal: pod for ordinal, pod in numbered if ordinal is not None}

    def is_available(self, pod: Pod) -> bool:
        """Running, ready, and so for long enough."""
        return serves(pod) and is_available(pod, self.spec.min_ready_seconds, self.now)


def ordinal_of(stateful_set: StatefulSet, pod: Pod) -> int | None:
    """The number at the end of its name; None when the name is not of this set."""
    name, _, number = pod.metadata.name.rpartition("-")
    fits = name == stateful_set.metadata.name and number.isdecimal() and str(int(number)) == number
    return int(number) if fits else None


def revision_of(pod: Pod) -> str:
    """The name of the revision that it was made from."""
    return pod.metadata.labels.get(REVISION_LABEL, "")


def exists(pod: Pod) -> bool:
    return pod.status.phase != ""


def is_leaving(pod: Pod) -> bool:
    return pod.metadata.deletion_timestamp is not None


def serves(pod: Pod) -> bool:
    """Running and ready, whether it is leaving or not."""
    return pod.status.phase == "Running" and pod.ready
