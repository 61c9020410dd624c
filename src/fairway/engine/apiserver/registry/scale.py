"""Workloads as autoscaling/v1 Scale objects and back."""

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.registry.kinds import subject_of
from fairway.engine.apiserver.resources import Cause, Kind
from fairway.engine.apiserver.store.entries import Object
from fairway.kube.api import selectors
from fairway.kube.api.meta import LabelSelector
from fairway.kube.api.noun import decode

API_VERSION, KIND = "autoscaling/v1", "Scale"
_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(obj: Object) -> Object:
    """How many replicas an object wants and has."""
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    shown: Object = {"replicas": int(status.get("replicas") or 0)}
    if selector := selector_text(spec.get("selector")):
        shown["selector"] = selector
    wanted = {"replicas": spec["replicas"]} if spec.get("replicas") else {}
    kept = {key: metadata[key] for key in _METADATA if key in metadata}
    return {"kind": KIND, "apiVersion": API_VERSION, "metadata": kept, "spec": wanted, "status": shown}


def scaled(kind: Kind, obj: Object, scale: Object) -> Object:
    """`obj` with the replicas of `scale`. Raises ApiError 422."""
    metadata = scale.get("metadata") or {}
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    name = obj["metadata"]["name"]
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise errors.bad_request("json: cannot unmarshal into Go struct field ScaleSpec.spec.replicas of type int32")
    if replicas < 0:
        why = f"Invalid value: {replicas}: must be greater than or equal to 0"
        subject = errors.Subject("autoscaling", "scales", name, KIND)
        raise errors.invalid(subject, [Cause("FieldValueInvalid", why, "spec.replicas")])
    if metadata.get("uid") and metadata["uid"] != obj["metadata"]["uid"]:
        raise errors.modified(subject_of(kind, name))
    obj["spec"] = {**(obj.get("spec") or {}), "replicas": replicas}
    obj["metadata"]["resourceVersion"] = metadata.get("resourceVersion") or ""
    return obj


def selector_text(selector: Object | None) -> str:
    """A selector as a query: of an object (`matchLabels` …), or of a ReplicationController (plain labels)."""
    if not selector:
        return ""
    if "matchLabels" in selector or "matchExpressions" in selector:
        return str(selectors.from_object(decode(LabelSelector, selector)))
    return str(selectors.from_labels(selector))
