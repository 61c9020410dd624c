"""Pods: defaults at create, quality of service, and the little that may change later."""

import copy
from typing import Any

from fairway.engine.apiserver.resources import causes, ephemeral_containers, pod_row, resizing
from fairway.engine.apiserver.resources.defaulting import child, fill
from fairway.engine.apiserver.resources.kind import Cause, Kind, Object, count_generation, keep_status, only_status
from fairway.engine.apiserver.resources.pod_defaults import containers, default_pod_spec, default_requests
from fairway.engine.apiserver.resources.pod_spec import surroundings, validate_pod_spec
from fairway.kube.api import quantities

_UNREACHABLE = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_CHANGEABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_ADDITIONS = "existing toleration can not be modified except its tolerationSeconds"


def default(pod: Object) -> None:
    """core/v1 SetDefaults_Pod."""
    spec = child(pod, "spec")
    default_pod_spec(spec)
    default_requests(spec)
    if spec.get("enableServiceLinks") is None:
        spec["enableServiceLinks"] = True


def prepare_create(pod: Object) -> None:
    """A new pod is Pending; service account and tolerations are what upstream's admission gives."""
    spec = pod["spec"]
    pod["metadata"]["generation"] = 1
    pod["status"] = {"phase": "Pending", "qosClass": quality_of_service(spec)}
    if spec.get("schedulingGates"):
        pod["status"]["conditions"] = [_gated()]
    fill(spec, "serviceAccountName", "default")
    spec["serviceAccount"] = spec["serviceAccountName"]
    _tolerate_lost_nodes(spec)


def prepare_update(new: Object, old: Object) -> None:
    """The status is the kubelet's; a changed specification is a new generation."""
    keep_status(new, old)
    ephemeral_containers.keep(new, old)
    count_generation(new, old)


def prepare_status(new: Object, old: Object) -> None:
    """Specification and owners are kept; the quality of service never changes."""
    only_status(new, old)
    quality = (old.get("status") or {}).get("qosClass")
    if quality:
        new.setdefault("status", {}).setdefault("qosClass", quality)


def validate(new: Object, old: Object | None) -> list[Cause]:
    """A pod specification; once created, only a few fields of it may change."""
    spec = new.get("spec") or {}
    found = validate_pod_spec(spec, "spec")
    if old is None:
        return found + _only_later(spec)
    found += ephemeral_containers.validate(spec, old.get("spec") or {}, surroundings(spec))
    return found + _changes(spec, old.get("spec") or {})


def validate_resize(new: Object, old: Object) -> list[Cause]:
    """Through `resize`: a pod specification in which only amounts of processor and memory differ."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    found = validate_pod_spec(spec, "spec")
    if found:
        return found
    quality = (old.get("status") or {}).get("qosClass") or quality_of_service(before)
    if quality_of_service(spec) != quality:
        found.append(causes.invalid("spec", quality, "Pod QOS Class may not change as a result of resizing"))
    return found + resizing.validate(new, old)


def quality_of_service(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort, from cpu and memory alone."""
    requests, limits, complete = False, False, True
    for container in containers(spec):
        resources = container.get("resources") or {}
        asked, most = _counted(resources.get("requests")), _counted(resources.get("limits"))
        requests, limits = requests or bool(asked), limits or bool(most)
        complete = complete and set(most) == {"cpu", "memory"} and (asked or most) == most
    if not requests and not limits:
        return "BestEffort"
    return "Guaranteed" if complete else "Burstable"


def selectable(pod: Object) -> dict[str, str]:
    """The field selectors of pods."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    addresses = status.get("podIPs") or ()
    return {
        "spec.nodeName": spec.get("nodeName") or "",
        "spec.restartPolicy": spec.get("restartPolicy") or "",
        "spec.schedulerName": spec.get("schedulerName") or "",
        "spec.serviceAccountName": spec.get("serviceAccountName") or "",
        "spec.hostNetwork": str(bool(spec.get("hostNetwork"))).lower(),
        "status.phase": status.get("phase") or "",
        "status.podIP": (addresses[0].get("ip") if addresses else status.get("podIP")) or "",
        "status.nominatedNodeName": status.get("nominatedNodeName") or "",
    }


def grace_seconds(pod: Object) -> int:
    """How long a deleted pod may take; nothing when no kubelet has it or it is over."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    given = spec.get("terminationGracePeriodSeconds")
    return 30 if given is None else max(int(given), 1 if given < 0 else 0)


def _counted(resources: Object | None) -> dict[str, Any]:
    amounts = {name: quantities.parse(amount) for name, amount in (resources or {}).items()}
    return {name: amount for name, amount in amounts.items() if name in ("cpu", "memory") and amount > 0}


def _gated() -> Object:
    return {
        "type": "PodScheduled",
        "status": "False",
        "reason": "SchedulingGated",
        "message": "Scheduling is blocked due to non-empty scheduling gates",
        "lastProbeTime": None,
        "lastTransitionTime": None,
    }


def _tolerate_lost_nodes(spec: Object) -> None:
    """A pod stays five minutes on a node that is not ready, unless it says otherwise."""
    tolerations = spec.setdefault("tolerations", [])
    if tolerations is None:
        tolerations = spec["tolerations"] = []
    for key in _UNREACHABLE:
        if not any(_tolerates(toleration, key) for toleration in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})


def _tolerates(toleration: Object, key: str) -> bool:
    same_key = toleration.get("key") == key or (not toleration.get("key") and toleration.get("operator") == "Exists")
    return same_key and (toleration.get("effect") or "NoExecute") == "NoExecute"


def _only_later(spec: Object) -> list[Cause]:
    if not spec.get("ephemeralContainers"):
        return []
    return [causes.forbidden("spec.ephemeralContainers", "cannot be set on create")]


def _changes(new: Object, old: Object) -> list[Cause]:
    found = _container_counts(new, old) + _deadline(new, old) + _toleration_changes(new, old)
    if found or _frozen(new) == _frozen(old):
        return found
    changed = sorted(key for key in {*_frozen(new), *_frozen(old)} if _frozen(new).get(key) != _frozen(old).get(key))
    return [causes.forbidden("spec", f"{_CHANGEABLE}\nchanged: {', '.join(changed)}")]


def _container_counts(new: Object, old: Object) -> list[Cause]:
    return [
        causes.forbidden(f"spec.{key}", "pod updates may not add or remove containers")
        for key in ("containers", "initContainers")
        if len(new.get(key) or ()) != len(old.get(key) or ())
    ]


def _deadline(new: Object, old: Object) -> list[Cause]:
    after, before = new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds")
    if before is None or after == before:
        return []
    if after is None:
        says = "must not update from a positive integer to nil value"
        return [causes.invalid("spec.activeDeadlineSeconds", after, says)]
    if after > before:
        return [causes.invalid("spec.activeDeadlineSeconds", after, "must be less than or equal to previous value")]
    return []


def _toleration_changes(new: Object, old: Object) -> list[Cause]:
    after = [_without_seconds(toleration) for toleration in new.get("tolerations") or ()]
    kept = all(_without_seconds(toleration) in after for toleration in old.get("tolerations") or ())
    return [] if kept else [causes.forbidden("spec.tolerations", _ADDITIONS)]


def _without_seconds(toleration: Object) -> Object:
    return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}


def _frozen(spec: Object) -> Object:
    """The part of a specification that an update may not change."""
    rest = {
        key: value
        for key, value in spec.items()
        if key not in ("activeDeadlineSeconds", "tolerations", "ephemeralContainers", "schedulingGates")
        and value not in (None, "", [], {})
    }
    for key in ("containers", "initContainers"):
        rest[key] = [_without_image(container) for container in rest.get(key) or ()]
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        rest["terminationGracePeriodSeconds"] = 1
    return copy.deepcopy(rest)


def _without_image(container: Object) -> Object:
    return {key: value for key, value in container.items() if key != "image" and value not in (None, "", [], {})}


PODS = Kind(
    group="",
    version="v1",
    kind="Pod",
    plural="pods",
    singular="pod",
    namespaced=True,
    list_kind="PodList",
    short_names=("po",),
    categories=("all",),
    subresources=(
        "attach",
        "binding",
        "ephemeralcontainers",
        "eviction",
        "exec",
        "log",
        "portforward",
        "proxy",
        "resize",
        "status",
    ),
    columns=pod_row.COLUMNS,
    row=pod_row.row,
    default=default,
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    prepare_status=prepare_status,
    prepare_parts={"ephemeralcontainers": ephemeral_containers.prepare, "resize": resizing.prepare},
    validate=validate,
    validate_parts={"resize": validate_resize},
    selectable=selectable,
    delete_returns_object=True,
    default_grace_seconds=grace_seconds,
)
