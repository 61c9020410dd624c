"""What one decision about a DaemonSet is made from."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property

import msgspec

from fairway.engine.controllers.availability import is_available
from fairway.engine.controllers.daemonset.nodes import Fit, fit
from fairway.engine.controllers.daemonset.pods import daemon_spec
from fairway.engine.controllers.revisions import REVISION_LABEL
from fairway.kube.api.config import Node
from fairway.kube.api.daemonsets import DaemonSet, DaemonSetSpec
from fairway.kube.api.pods import Pod

_LATEST = datetime(9999, 1, 1, tzinfo=UTC)


class Snapshot(msgspec.Struct, frozen=True, dict=True):
    """A DaemonSet, the pods it owns, all nodes, the hash of its template, and what is under way.

    `coming` has the nodes where a pod was made that the cache has not shown, `going` uids of pods that will go,
    `patient` the nodes where a failed pod stays for so many seconds more.
    """

    daemon_set: DaemonSet
    pods: tuple[Pod, ...]
    nodes: tuple[Node, ...]
    hash: str
    now: datetime
    coming: frozenset[str] = frozenset()
    going: frozenset[str] = frozenset()
    patient: Mapping[str, float] = {}

    @property
    def spec(self) -> DaemonSetSpec:
        return self.daemon_set.spec

    @cached_property
    def fits(self) -> Mapping[str, Fit]:
        """For every node whether a pod of this set should start, or go on, there."""
        spec = daemon_spec(self.daemon_set)
        return {node.metadata.name: fit(spec, node) for node in self.nodes}

    @cached_property
    def by_node(self) -> Mapping[str, tuple[Pod, ...]]:
        """The pods of each node, oldest first."""
        found: dict[str, list[Pod]] = {}
        for pod in self.pods:
            if name := node_of(pod):
                found.setdefault(name, []).append(pod)
        return {name: tuple(sorted(pods, key=_age_key)) for name, pods in found.items()}

    def is_new(self, pod: Pod) -> bool:
        """Whether it was made from the current template."""
        return pod.metadata.labels.get(REVISION_LABEL) == self.hash

    def is_leaving(self, pod: Pod) -> bool:
        return pod.metadata.deletion_timestamp is not None or pod.metadata.uid in self.going

    def is_available(self, pod: Pod) -> bool:
        """Ready, and so for long enough."""
        return is_available(pod, self.spec.min_ready_seconds, self.now)

    @cached_property
    def limits(self) -> tuple[int, int]:
        """(surge, unavailable): nodes that may have two pods, or none, during an update. Never both zero."""
        wanted = sum(fit.start for fit in self.fits.values())
        rolling = self.spec.update_strategy.rolling_update
        if self.spec.update_strategy.type != "RollingUpdate" or rolling is None:
            return 0, 1
        surge, unavailable = _resolved(rolling.max_surge, wanted), _resolved(rolling.max_unavailable, wanted)
        return (surge, unavailable) if surge or unavailable else (0, 1)

    @property
    def surges(self) -> bool:
        """Whether a new pod starts beside the old one."""
        rolling = self.spec.update_strategy.rolling_update
        return self.spec.update_strategy.type == "RollingUpdate" and rolling is not None and self.limits[0] > 0


def node_of(pod: Pod) -> str:
    """The node that it is on, or is made for."""
    return pod.spec.node_name or _named_node(pod)


def _named_node(pod: Pod) -> str:
    affinity = (pod.spec.affinity or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    fields: Iterable[Mapping[str, object]] = (
        field for term in required.get("nodeSelectorTerms") or () for field in term.get("matchFields") or ()
    )
    for field in fields:
        values = field.get("values")
        if field.get("key") == "metadata.name" and isinstance(values, list) and len(values) == 1:
            return str(values[0])
    return ""


def _resolved(value: int | str, total: int) -> int:
    """A count, or a percentage rounded up."""
    return value if isinstance(value, int) else -(-int(value.removesuffix("%")) * total // 100)


def _age_key(pod: Pod) -> tuple[bool, datetime, str]:
    return not pod.spec.node_name, pod.metadata.creation_timestamp or _LATEST, pod.metadata.name
