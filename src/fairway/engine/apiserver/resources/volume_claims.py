"""PersistentVolumes, the claims on them, and the classes that make them."""

from datetime import datetime

from fairway.engine.apiserver.resources import causes, names, selectors
from fairway.engine.apiserver.resources.container_resources import validate_quantity
from fairway.engine.apiserver.resources.defaulting import child, fill
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    age_of,
    keep_nothing,
    keep_status,
    name_of,
    nothing,
)
from fairway.kube.api import quantities

MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
VOLUME_MODES = ("Block", "Filesystem")
RECLAIM = ("Delete", "Recycle", "Retain")
BINDING = ("Immediate", "WaitForFirstConsumer")
UNSET = "<unset>"
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_CLAIM_SAYS = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)


def default_volume(volume: Object) -> None:
    """core/v1 SetDefaults_PersistentVolume."""
    spec = child(volume, "spec")
    fill(spec, "persistentVolumeReclaimPolicy", "Retain")
    fill(spec, "volumeMode", "Filesystem")
    fill(child(volume, "status"), "phase", "Pending")


def default_claim(claim: Object) -> None:
    """core/v1 SetDefaults_PersistentVolumeClaim."""
    fill(child(claim, "spec"), "volumeMode", "Filesystem")
    fill(child(claim, "status"), "phase", "Pending")


def default_class(storage_class: Object) -> None:
    """storage/v1 SetDefaults_StorageClass."""
    fill(storage_class, "reclaimPolicy", "Delete")
    fill(storage_class, "volumeBindingMode", "Immediate")


def pending(obj: Object) -> None:
    """A new volume or claim waits for its other half."""
    obj["status"] = {"phase": "Pending"}


def validate_volume(new: Object, old: Object | None) -> list[Cause]:
    """Capacity and access modes are needed; the mode never changes."""
    spec = new.get("spec") or {}
    found = _access(spec)
    capacity = spec.get("capacity") or {}
    if not capacity:
        found.append(causes.required("spec.capacity"))
    for name, amount in capacity.items():
        found += validate_quantity(amount, f"spec.capacity[{name}]")
    found += causes.one_of("spec.persistentVolumeReclaimPolicy", spec.get("persistentVolumeReclaimPolicy"), RECLAIM)
    found += causes.one_of("spec.volumeMode", spec.get("volumeMode"), VOLUME_MODES)
    if old is not None:
        found += causes.immutable("spec.volumeMode", spec.get("volumeMode"), (old.get("spec") or {}).get("volumeMode"))
    return found


def validate_claim(new: Object, old: Object | None) -> list[Cause]:
    """Access modes and a size are needed; afterwards only the size may change, upwards."""
    spec = new.get("spec") or {}
    found = _access(spec) + selectors.validate_selector(spec.get("selector"), "spec.selector")
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if size is None:
        found.append(causes.required("spec.resources[storage]"))
    else:
        found += validate_quantity(size, "spec.resources[storage]")
    name = spec.get("storageClassName")
    found += causes.invalid_each("spec.storageClassName", name, names.dns_subdomain(name)) if name else []
    if old is None or found or size is None:
        return found
    bound = (old.get("status") or {}).get("phase") == "Bound"
    return _claim_changes(spec, old.get("spec") or {}, size, bound=bound)


def validate_class(new: Object, old: Object | None) -> list[Cause]:
    """A provisioner is needed; nothing that volumes were made with changes."""
    found = [] if new.get("provisioner") else [causes.required("provisioner")]
    found += causes.one_of("reclaimPolicy", new.get("reclaimPolicy"), ("Delete", "Retain"))
    found += causes.one_of("volumeBindingMode", new.get("volumeBindingMode"), BINDING)
    if old is None:
        return found
    for key in ("parameters", "provisioner", "reclaimPolicy"):
        if new.get(key) != old.get(key):
            found.append(causes.forbidden(key, f"updates to {key} are forbidden."))
    return found + causes.immutable("volumeBindingMode", new.get("volumeBindingMode"), old.get("volumeBindingMode"))


def volume_row(volume: Object, now: datetime) -> list[object]:
    """One cell per column."""
    spec, status = volume.get("spec") or {}, volume.get("status") or {}
    claim = spec.get("claimRef") or {}
    return [
        name_of(volume),
        (spec.get("capacity") or {}).get("storage") or "",
        _modes(spec),
        spec.get("persistentVolumeReclaimPolicy") or "",
        _phase(volume, status),
        f"{claim.get('namespace')}/{claim.get('name')}" if claim else "",
        _class(volume),
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason") or "",
        age_of(volume, now),
        spec.get("volumeMode") or UNSET,
    ]


def claim_row(claim: Object, now: datetime) -> list[object]:
    """One cell per column."""
    spec, status = claim.get("spec") or {}, claim.get("status") or {}
    bound = bool(spec.get("volumeName"))
    return [
        name_of(claim),
        _phase(claim, status),
        spec.get("volumeName") or "",
        ((status.get("capacity") or {}).get("storage") or "") if bound else "",
        _modes(status) if bound else "",
        _class(claim),
        spec.get("volumeAttributesClassName") or UNSET,
        age_of(claim, now),
        spec.get("volumeMode") or UNSET,
    ]


def class_row(storage_class: Object, now: datetime) -> list[object]:
    """One cell per column."""
    annotations = (storage_class.get("metadata") or {}).get("annotations") or {}
    marked = " (default)" if annotations.get(_DEFAULT_CLASS) == "true" else ""
    return [
        name_of(storage_class) + marked,
        storage_class.get("provisioner") or "",
        storage_class.get("reclaimPolicy") or "Delete",
        storage_class.get("volumeBindingMode") or "Immediate",
        bool(storage_class.get("allowVolumeExpansion")),
        age_of(storage_class, now),
    ]


def _access(spec: Object) -> list[Cause]:
    given = spec.get("accessModes") or ()
    if not given:
        return [causes.required("spec.accessModes", "at least 1 access mode is required")]
    found: list[Cause] = []
    for mode in given:
        found += [] if mode in MODES else [causes.unsupported("spec.accessModes", mode, sorted(MODES))]
    if "ReadWriteOncePod" in given and len(given) > 1:
        says = "may not use ReadWriteOncePod with other access modes"
        found.append(causes.forbidden("spec.accessModes", says))
    return found


def _claim_changes(new: Object, old: Object, size: str | int, *, bound: bool) -> list[Cause]:
    free = ("resources", "volumeName", "volumeAttributesClassName") if bound else ("volumeName",)
    frozen = [{key: value for key, value in spec.items() if key not in free} for spec in (new, old)]
    if old.get("volumeName") and new.get("volumeName") != old["volumeName"]:
        return [causes.forbidden("spec", _CLAIM_SAYS)]
    if frozen[0] != frozen[1]:
        return [causes.forbidden("spec", _CLAIM_SAYS)]
    before = ((old.get("resources") or {}).get("requests") or {}).get("storage")
    if before is not None and quantities.parse(size) < quantities.parse(before):
        says = "field can not be less than status.capacity"
        return [causes.forbidden("spec.resources.requests.storage", says)]
    return []


def _modes(holder: Object) -> str:
    return ",".join(short for mode, short in MODES.items() if mode in (holder.get("accessModes") or ()))


def _phase(obj: Object, status: Object) -> str:
    return "Terminating" if (obj.get("metadata") or {}).get("deletionTimestamp") else status.get("phase") or ""


def _class(obj: Object) -> str:
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    return annotations.get(_CLASS_ANNOTATION) or (obj.get("spec") or {}).get("storageClassName") or ""


_ATTRIBUTES = Column("VolumeAttributesClass", "string", "The class of changeable attributes.")
_VOLUME_MODE = Column("VolumeMode", "string", "Whether a filesystem or a raw block device is meant.", priority=1)

PERSISTENT_VOLUMES = Kind(
    group="",
    version="v1",
    kind="PersistentVolume",
    plural="persistentvolumes",
    singular="persistentvolume",
    namespaced=False,
    list_kind="PersistentVolumeList",
    short_names=("pv",),
    subresources=("status",),
    columns=(
        NAME,
        Column("Capacity", "string", "The size of the volume."),
        Column("Access Modes", "string", "All ways in which the volume can be mounted."),
        Column("Reclaim Policy", "string", "What happens to the volume when its claim goes."),
        Column("Status", "string", "Whether a claim is bound to it."),
        Column("Claim", "string", "The claim that is bound to it."),
        Column("StorageClass", "string", "The class that this volume belongs to."),
        _ATTRIBUTES,
        Column("Reason", "string", "Why the volume is in its state."),
        AGE,
        _VOLUME_MODE,
    ),
    row=volume_row,
    default=default_volume,
    prepare_create=pending,
    prepare_update=keep_status,
    validate=validate_volume,
    delete_returns_object=True,
)
PERSISTENT_VOLUME_CLAIMS = Kind(
    group="",
    version="v1",
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    singular="persistentvolumeclaim",
    namespaced=True,
    list_kind="PersistentVolumeClaimList",
    short_names=("pvc",),
    subresources=("status",),
    columns=(
        NAME,
        Column("Status", "string", "Whether a volume is bound to it."),
        Column("Volume", "string", "The volume that backs this claim."),
        Column("Capacity", "string", "The size of the volume."),
        Column("Access Modes", "string", "The ways in which the volume is mounted."),
        Column("StorageClass", "string", "The class that the claim asks for."),
        _ATTRIBUTES,
        AGE,
        _VOLUME_MODE,
    ),
    row=claim_row,
    default=default_claim,
    prepare_create=pending,
    prepare_update=keep_status,
    validate=validate_claim,
    delete_returns_object=True,
)
STORAGE_CLASSES = Kind(
    group="storage.k8s.io",
    version="v1",
    kind="StorageClass",
    plural="storageclasses",
    singular="storageclass",
    namespaced=False,
    list_kind="StorageClassList",
    short_names=("sc",),
    columns=(
        NAME,
        Column("Provisioner", "string", "Who makes volumes of this class."),
        Column("ReclaimPolicy", "string", "What happens to volumes when their claims go."),
        Column("VolumeBindingMode", "string", "When a volume is made and bound."),
        Column("AllowVolumeExpansion", "boolean", "Whether volumes may grow."),
        AGE,
    ),
    row=class_row,
    default=default_class,
    prepare_create=nothing,
    prepare_update=keep_nothing,
    validate=validate_class,
    delete_returns_object=True,
)
