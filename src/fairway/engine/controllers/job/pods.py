"""The pods of a Job: its template with a finalizer, and for Indexed jobs a number that the program can read."""

from typing import Any

from fairway.engine.controllers.job import indexes
from fairway.engine.controllers.job.snapshot import FINALIZER
from fairway.engine.controllers.pod_drafts import draft, unique_name
from fairway.engine.controllers.references import owner_reference
from fairway.kube.api.jobs import Job
from fairway.kube.api.resource import JOBS

_VARIABLE = "JOB_COMPLETION_INDEX"


def new_pod(job: Job, suffix: str) -> dict[str, Any]:
    """A pod of a NonIndexed job, in raw JSON."""
    return _pod(job, f"{job.metadata.name}-", suffix)


def new_indexed_pod(job: Job, index: int, failures: int | None, suffix: str) -> dict[str, Any]:
    """A pod for one index; `failures` of the same index came before it (None when that is not counted)."""
    pod = _pod(job, f"{job.metadata.name}-{index}-", suffix)
    metadata, spec = pod["metadata"], pod["spec"]
    metadata["annotations"][indexes.INDEX] = metadata["labels"][indexes.INDEX] = str(index)
    if failures is not None:
        metadata["annotations"][indexes.FAILURES] = str(failures)
    spec["hostname"] = f"{job.metadata.name}-{index}"
    for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
        if all(variable["name"] != _VARIABLE for variable in container.get("env", ())):
            source = {"fieldRef": {"fieldPath": f"metadata.labels['{indexes.INDEX}']"}}
            container["env"] = [*container.get("env", ()), {"name": _VARIABLE, "valueFrom": source}]
    return pod


def _pod(job: Job, prefix: str, suffix: str) -> dict[str, Any]:
    owner = owner_reference(JOBS, job.metadata)
    pod = draft(job.spec.template, job.metadata.namespace, unique_name(prefix, suffix), owner)
    pod["metadata"]["generateName"] = prefix
    finalizers = pod["metadata"]["finalizers"]
    pod["metadata"]["finalizers"] = [*(name for name in finalizers if name != FINALIZER), FINALIZER]
    return pod
