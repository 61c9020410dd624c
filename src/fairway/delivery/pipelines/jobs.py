"""The Kubernetes Jobs of all runs and their pods, as caches that know which run they are of."""

from collections.abc import Callable, Iterable
from typing import Any

from fairway.delivery.kinds.resources import RUN_LABEL
from fairway.delivery.kinds.runs import PipelineRun
from fairway.delivery.pipelines.bells import Bells
from fairway.kube.api.jobs import Job
from fairway.kube.api.meta import ObjectKey, ObjectMeta
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import JOBS, PODS
from fairway.kube.client.client import ApiClient
from fairway.kube.reconcile.reflector import Reflector
from fairway.toolkit.clock import Clock

_BY_RUN = "run"
_BY_JOB = "job"


class Jobs:
    """Reflects what carries the label of a run. `bells` ring with the uid of the Job whose pod changed."""

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        self.bells: Bells[str] = Bells()
        self._jobs = Reflector(client, JOBS, Job, clock, labels=RUN_LABEL, indexes={_BY_RUN: _owner})
        self._pods = Reflector(client, PODS, Pod, clock, labels=RUN_LABEL, indexes={_BY_JOB: _owner})
        self.reflectors: tuple[Reflector[Any], ...] = (self._jobs, self._pods)
        self._pods.cache.subscribe(self._pod_changed)

    def subscribe(self, told: Callable[[ObjectKey], None]) -> None:
        """Hear the key of each run around which something changed."""
        self._jobs.cache.subscribe(lambda key, old, new: _tell(told, old, new))
        self._pods.cache.subscribe(lambda key, old, new: _tell(told, old, new))

    def of_run(self, run: PipelineRun) -> tuple[Job, ...]:
        """The Jobs of this very run."""
        return self._jobs.cache.by_index(_BY_RUN, run.metadata.uid)

    def pods_of(self, jobs: Iterable[Job]) -> tuple[Pod, ...]:
        """All pods of some Jobs."""
        return tuple(pod for job in jobs for pod in self._pods.cache.by_index(_BY_JOB, job.metadata.uid))

    def pod_of(self, job: Job) -> Pod | None:
        """The newest pod of a Job."""
        pods = self.pods_of((job,))
        return max(pods, key=lambda pod: (_created(pod.metadata), pod.metadata.name), default=None)

    def _pod_changed(self, key: ObjectKey, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        for uid in _owner(pod) if pod else ():
            self.bells.ring(uid)


def _owner(thing: Job | Pod) -> tuple[str, ...]:
    """The uid of what controls it, as an index."""
    owner = thing.metadata.controller
    return (owner.uid,) if owner else ()


def _tell(told: Callable[[ObjectKey], None], old: Job | Pod | None, new: Job | Pod | None) -> None:
    thing = new or old
    if thing is not None:
        told(ObjectKey(thing.metadata.namespace, thing.metadata.labels.get(RUN_LABEL, "")))


def _created(metadata: ObjectMeta) -> str:
    return metadata.creation_timestamp.isoformat() if metadata.creation_timestamp else ""
