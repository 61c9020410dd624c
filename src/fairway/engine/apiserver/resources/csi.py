"""CSI drivers, their nodes, capacities and attachments: defaults and rules of storage.k8s.io/v1."""

from collections.abc import Iterable

from fairway.engine.apiserver.resources import causes, container_resources, names, selectors
from fairway.engine.apiserver.resources.defaulting import fill
from fairway.engine.apiserver.resources.kind import Cause, Object

_NAME_BYTES_MAX = 63
_NODE_ID_BYTES_MAX = 192
_TOKEN_SECONDS_MIN = 600
_PARAMETERS_MAX = 512
_GROUP_POLICIES = ("ReadWriteOnceWithFSType", "File", "None")
_MODES = ("Persistent", "Ephemeral")


def default_driver(driver: Object) -> None:
    """What a CSIDriver does not say."""
    spec = driver.get("spec")
    if spec is None:
        return
    flags = {"attachRequired": True, "podInfoOnMount": False, "storageCapacity": False}
    for key, value in {**flags, "requiresRepublish": False, "seLinuxMount": False}.items():
        if spec.get(key) is None:
            spec[key] = value
    fill(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType")
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def validate_driver(new: Object, old: Object | None) -> list[Cause]:
    """Rules of a CSIDriver; whether it attaches and when its volumes live never changes."""
    spec, name = new.get("spec") or {}, (new.get("metadata") or {}).get("name") or ""
    found = _driver_name(name, "metadata.name")
    found += causes.one_of("spec.fsGroupPolicy", spec.get("fsGroupPolicy"), _GROUP_POLICIES, needed=False)
    for index, mode in enumerate(spec.get("volumeLifecycleModes") or ()):
        found += causes.one_of(f"spec.volumeLifecycleModes[{index}]", mode, _MODES)
    found += _tokens(spec.get("tokenRequests") or (), "spec.tokenRequests")
    if old is not None:
        before = old.get("spec") or {}
        for key in ("attachRequired", "volumeLifecycleModes"):
            found += causes.immutable(f"spec.{key}", spec.get(key), before.get(key))
    return found


def _driver_name(name: str, field: str) -> list[Cause]:
    if not name:
        return [causes.required(field)]
    found = [causes.too_long(field, _NAME_BYTES_MAX)] if len(name) > _NAME_BYTES_MAX else []
    return found + causes.invalid_each(field, name, names.dns_subdomain(name.lower()))


def _tokens(requests: Iterable[Object], field: str) -> list[Cause]:
    found: list[Cause] = []
    seen: set[str] = set()
    for index, request in enumerate(requests):
        audience, seconds = request.get("audience") or "", request.get("expirationSeconds")
        if audience in seen:
            found.append(causes.duplicate(f"{field}[{index}].audience", audience))
        seen.add(audience)
        if seconds is not None and seconds < _TOKEN_SECONDS_MIN:
            says = "may not specify a duration less than 10 minutes"
            found.append(causes.invalid(f"{field}[{index}].expirationSeconds", seconds, says))
        if seconds is not None and seconds > 1 << 32:
            says = "may not specify a duration larger than 2^32 seconds"
            found.append(causes.invalid(f"{field}[{index}].expirationSeconds", seconds, says))
    return found


def validate_node(new: Object, old: Object | None) -> list[Cause]:
    """Rules of a CSINode; an entry of a driver never changes."""
    drivers = (new.get("spec") or {}).get("drivers") or []
    found: list[Cause] = []
    seen: set[str] = set()
    for index, driver in enumerate(drivers):
        name, field = driver.get("name") or "", f"spec.drivers[{index}]"
        if name in seen:
            found.append(causes.duplicate(f"{field}.name", name))
        seen.add(name)
        found += _node_driver(driver, field)
    known = {item.get("name"): item for item in ((old or {}).get("spec") or {}).get("drivers") or ()}
    for index, driver in enumerate(drivers):
        before = known.get(driver.get("name"))
        if before is not None:
            for key in ("nodeID", "topologyKeys"):
                found += causes.immutable(f"spec.drivers[{index}].{key}", driver.get(key), before.get(key))
    return found


def _node_driver(driver: Object, field: str) -> list[Cause]:
    found = _driver_name(driver.get("name") or "", f"{field}.name")
    node = driver.get("nodeID") or ""
    if not node:
        found.append(causes.required(f"{field}.nodeID"))
    elif len(node) > _NODE_ID_BYTES_MAX:
        found.append(causes.invalid(f"{field}.nodeID", node, f"must be {_NODE_ID_BYTES_MAX} characters or less"))
    found += causes.negative(f"{field}.allocatable.count", (driver.get("allocatable") or {}).get("count"))
    topology = driver.get("topologyKeys") or []
    for index, key in enumerate(topology):
        if not key:
            found.append(causes.required(f"{field}.topologyKeys"))
        elif key in topology[:index]:
            found.append(causes.duplicate(f"{field}.topologyKeys", key))
        else:
            found += causes.invalid_each(f"{field}.topologyKeys", key, names.qualified(key))
    return found


def validate_attachment(new: Object, old: Object | None) -> list[Cause]:
    """Rules of a VolumeAttachment; its specification never changes."""
    spec = new.get("spec") or {}
    found = _driver_name(spec.get("attacher") or "", "spec.attacher")
    source = spec.get("source") or {}
    by_name, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    if (by_name is None) == (inline is None):
        says = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        found.append(causes.required("spec.source") if by_name is None else causes.forbidden("spec.source", says))
    elif by_name is not None and not by_name:
        found.append(causes.required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName"))
    node = spec.get("nodeName") or ""
    if old is None:
        found += causes.invalid_each("spec.nodeName", node, names.dns_subdomain(node))
    else:
        found += causes.immutable("spec", spec, old.get("spec") or {})
    return found


def validate_capacity(new: Object, old: Object | None) -> list[Cause]:
    """Rules of a CSIStorageCapacity; where and of which class never changes."""
    name = new.get("storageClassName") or ""
    if name:
        found = causes.invalid_each("storageClassName", name, names.dns_subdomain(name))
    else:
        found = [causes.required("storageClassName")]
    for key in ("capacity", "maximumVolumeSize"):
        if new.get(key) is not None:
            found += container_resources.validate_quantity(new[key], key)
    found += selectors.validate_selector(new.get("nodeTopology"), "nodeTopology")
    if old is not None:
        for key in ("nodeTopology", "storageClassName"):
            found += causes.immutable(key, new.get(key), old.get(key))
    return found


def validate_attributes(new: Object, old: Object | None) -> list[Cause]:
    """Rules of a VolumeAttributesClass, which never changes."""
    parameters = new.get("parameters") or {}
    found = _driver_name(new.get("driverName") or "", "driverName")
    if len(parameters) > _PARAMETERS_MAX:
        found.append(causes.too_many("parameters", len(parameters), _PARAMETERS_MAX))
    if not parameters:
        found.append(causes.required("parameters", "must contain at least one key/value pair"))
    if "" in parameters:
        found.append(causes.invalid("parameters", "", "field can not be empty."))
    if old is not None:
        for key in ("driverName", "parameters"):
            found += causes.immutable(key, new.get(key), old.get(key))
    return found
