"""Workloads as autoscaling/v1 Scale objects and back."""

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.registry.kinds import subject_of
from fairway.engine.apiserver.resources import Cause, Kind
from fairway.engine.apiserver.resources.core_views import SCALES as SCALES
from fairway.engine.apiserver.resources.custom import at
from fairway.engine.apiserver.resources.kind import ScalePaths
from fairway.engine.apiserver.store.entries import Object
from fairway.kube.api import selectors
from fairway.kube.api.meta import LabelSelector
from fairway.kube.api.noun import decode

API_VERSION, KIND = "autoscaling/v1", "Scale"
_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(obj: Object, paths: ScalePaths) -> Object:
    """How many replicas an object wants and has."""
    metadata, replicas = obj["metadata"], at(obj, paths.replicas)
    shown: Object = {"replicas": int(at(obj, paths.current) or 0)}
    if selector := _selector(obj, paths):
        shown["selector"] = selector
    wanted = {"replicas": replicas} if replicas else {}
    kept = {key: metadata[key] for key in _METADATA if key in metadata}
    return {"kind": KIND, "apiVersion": API_VERSION, "metadata": kept, "spec": wanted, "status": shown}


def scaled(kind: Kind, obj: Object, scale: Object) -> Object:
    """`obj` with the replicas of `scale`. Raises ApiError 422."""
    metadata = scale.get("metadata") or {}
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    name = obj["metadata"]["name"]
    if (metadata.get("name") or name) != name:
        given = metadata["name"]
        raise errors.bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")
    if replicas < 0:
        why = f"Invalid value: {replicas}: must be greater than or equal to 0"
        subject = errors.Subject("autoscaling", "scales", name, KIND)
        raise errors.invalid(subject, [Cause("FieldValueInvalid", why, "spec.replicas")])
    if metadata.get("uid") and metadata["uid"] != obj["metadata"]["uid"]:
        raise errors.modified(subject_of(kind, name))
    _put(obj, kind.scale_paths.replicas, replicas)
    obj["metadata"]["resourceVersion"] = metadata.get("resourceVersion") or ""
    return obj


def configuration(kind: Kind, name: str, applied: object) -> Object:
    """An applied Scale as an apply configuration of the object itself. Raises ApiError 400."""
    if not isinstance(applied, dict) or (applied.get("apiVersion"), applied.get("kind")) != (API_VERSION, KIND):
        raise errors.bad_request(f"the body of an apply to scale must be a {KIND} of {API_VERSION}")
    metadata, spec = applied.get("metadata") or {}, applied.get("spec") or {}
    if not isinstance(metadata, dict) or not isinstance(spec, dict):
        raise errors.bad_request("json: cannot unmarshal into Go value of type Scale")
    kept = {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion") if metadata.get(key)}
    obj: Object = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name, **kept}}
    if "replicas" in spec:
        _put(obj, kind.scale_paths.replicas, spec["replicas"])
    return obj


def _put(obj: Object, path: tuple[str, ...], value: object) -> None:
    inner = obj
    for key in path[:-1]:
        inner = inner.setdefault(key, {})
    inner[path[-1]] = value


def _selector(obj: Object, paths: ScalePaths) -> str:
    if paths.selector:
        return str(at(obj, paths.selector) or "")
    return selector_text((obj.get("spec") or {}).get("selector"))


def selector_text(selector: Object | None) -> str:
    """A selector as a query: of an object (`matchLabels` …), or of a ReplicationController (plain labels)."""
    if not selector:
        return ""
    if "matchLabels" in selector or "matchExpressions" in selector:
        return str(selectors.from_object(decode(LabelSelector, selector)))
    return str(selectors.from_labels(selector))
