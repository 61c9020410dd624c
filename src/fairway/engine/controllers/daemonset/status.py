"""What a DaemonSet reports."""

from fairway.engine.controllers.daemonset.snapshot import Snapshot
from fairway.kube.api.daemonsets import DaemonSetStatus


def status(seen: Snapshot) -> DaemonSetStatus:
    """The counts of nodes, and of what runs there."""
    before = seen.daemon_set.status
    wanted = [name for name, fit in seen.fits.items() if fit.start]
    first = [seen.by_node[name][0] for name in wanted if seen.by_node.get(name)]
    available = sum(seen.is_available(pod) for pod in first)
    return DaemonSetStatus(
        observed_generation=seen.daemon_set.metadata.generation,
        desired_number_scheduled=len(wanted),
        current_number_scheduled=len(first),
        number_misscheduled=sum(not fit.start and bool(seen.by_node.get(name)) for name, fit in seen.fits.items()),
        number_ready=sum(pod.ready for pod in first),
        updated_number_scheduled=sum(seen.is_new(pod) for pod in first),
        number_available=available,
        number_unavailable=len(wanted) - available,
        collision_count=before.collision_count,
        conditions=before.conditions,
    )
