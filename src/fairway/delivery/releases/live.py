"""Live objects as manifests: what people and tools wrote, without what the cluster added to it."""

from collections.abc import Iterator, Mapping
from typing import Any

from fairway.delivery.kinds.runs import ENDED, Change, PipelineRun
from fairway.delivery.releases.objects import ALLOWED, Manifest, Name, Place, pod_template
from fairway.kube.api.resource import JOBS, PERSISTENT_VOLUME_CLAIMS, SECRETS, SERVICE_ACCOUNTS, SERVICES, Resource

Raw = dict[str, Any]
# A Secret's values do not belong where whoever may read Releases sees them; a Job is something done, which is not
# done again when a Release is repeated.
KINDS = {(one.group, one.plural): one for one in ALLOWED.values() if one not in (SECRETS, JOBS)}

_METADATA = ("name", "namespace")
_ANNOTATIONS_OF_OTHERS = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/",
    "deprecated.daemonset.template.generation",
    "pv.kubernetes.io/",
    "volume.kubernetes.io/",
    "volume.beta.kubernetes.io/",
    "autoscaling.alpha.kubernetes.io/",
)
_GIVEN: Mapping[Resource, tuple[str, ...]] = {
    SERVICES: ("clusterIP", "clusterIPs", "healthCheckNodePort"),
    PERSISTENT_VOLUME_CLAIMS: ("volumeName",),
}


def changed(run: PipelineRun, environment: str) -> frozenset[Name]:
    """The objects of an environment that the jobs of a run changed and that a Release may hold."""
    return frozenset(name for one in run.status.changes if one.environment == environment and (name := _name(one)))


def deployed(run: PipelineRun, environment: str) -> bool:
    """Whether a run that is over is to be released there: its jobs have done so, well or not."""
    over = run.status.phase in ENDED and run.status.phase != "Superseded"
    return run.status.deploys and over and bool(changed(run, environment))


def manifest(resource: Resource, live: Mapping[str, Any], place: Place) -> Manifest:
    """The object of a place as it can be applied again, wherever it is gone or has changed meanwhile."""
    metadata = live["metadata"]
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if not key.startswith(_ANNOTATIONS_OF_OTHERS)
    }
    kept = {key: metadata[key] for key in _METADATA}
    labels = {**(metadata.get("labels") or {}), **place.labels}
    made: Raw = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {**kept, "labels": labels, **({"annotations": annotations} if annotations else {})},
    }
    top = ("apiVersion", "kind", "metadata", "status", *(("secrets",) if resource is SERVICE_ACCOUNTS else ()))
    made |= {key: value for key, value in live.items() if key not in top}
    if isinstance(made.get("spec"), dict):
        made["spec"] = {key: value for key, value in made["spec"].items() if not _is_given(resource, key, value)}
    return _without_times(made)


def images(manifests: tuple[Manifest, ...]) -> Iterator[str]:
    """The image of every container."""
    for one in manifests:
        for container in _containers(one):
            yield str(container.get("image", ""))


def pinned(manifests: tuple[Manifest, ...], digests: Mapping[str, str]) -> tuple[Manifest, ...]:
    """The same with `repository@sha256:…` where a name stands whose digest is known: names may be given anew."""
    return tuple(_pinned(one, digests) for one in manifests)


def _name(change: Change) -> Name | None:
    resource = KINDS.get((change.group, change.resource))
    return Name(resource, change.name) if resource is not None else None


def _pinned(one: Manifest, digests: Mapping[str, str]) -> Manifest:
    def walk(value: Any, key: str) -> Any:
        if isinstance(value, Mapping):
            return {name: walk(item, name) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [walk(item, "") for item in value]
        return digests.get(value, value) if key == "image" and isinstance(value, str) else value

    template = pod_template(one)
    if template is None or not digests:
        return one
    made: Manifest = walk(one, "")
    return made


def _containers(one: Manifest) -> Iterator[Mapping[str, Any]]:
    spec = (pod_template(one) or {}).get("spec") or {}
    for group in ("initContainers", "containers"):
        yield from spec.get(group) or ()


def _is_given(resource: Resource, key: str, value: Any) -> bool:
    """Whether the cluster chose it for this one object; `None` as the address of a Service is a wish."""
    return key in _GIVEN.get(resource, ()) and value not in ("None", ["None"])


def _without_times(made: Raw) -> Raw:
    """Templates come back with an empty time of creation."""
    for holder in (made.get("spec"), ((made.get("spec") or {}).get("jobTemplate") or {}).get("spec")):
        template = holder.get("template") if isinstance(holder, dict) else None
        if isinstance(template, dict) and isinstance(template.get("metadata"), dict):
            template["metadata"].pop("creationTimestamp", None)
    return made
