"""Kinds without behaviour of their own here: they are stored, checked by their schema, shown and selected.

Nothing in this cluster acts on them (no CSI drivers, no admission webhooks); tools that install them keep working.
"""

from collections.abc import Callable
from datetime import datetime

from fairway.engine.apiserver.resources import causes
from fairway.engine.apiserver.resources.kind import (
    AGE,
    ALL_VERBS,
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    age_of,
    bump_generation,
    count_generation,
    drop_status,
    generation_only,
    keep_nothing,
    keep_status,
    name_of,
    nothing,
)

Cell = Callable[[Object], object]


def _at(*path: str) -> Cell:
    """The text at a path."""

    def cell(obj: Object) -> object:
        value: object = obj
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return "" if value is None else value

    return cell


def _count(*path: str) -> Cell:
    """How many there are at a path."""
    at = _at(*path)

    def cell(obj: Object) -> object:
        found = at(obj)
        return len(found) if isinstance(found, list | dict) else 0

    return cell


def _flag(*path: str) -> Cell:
    at = _at(*path)
    return lambda obj: bool(at(obj))


def _row(cells: tuple[Cell, ...]) -> Callable[[Object, datetime], list[object]]:
    return lambda obj, now: [name_of(obj), *(cell(obj) for cell in cells), age_of(obj, now)]


def _kind(
    group: str,
    kind: str,
    plural: str,
    *columns: tuple[str, Cell],
    namespaced: bool = False,
    status: bool = False,
    spec: bool = True,
    short_names: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    validate: Callable[[Object, Object | None], list[Cause]] | None = None,
    version: str = "v1",
    returns_object: bool = False,
) -> Kind:
    """With `spec`, its changes are counted in metadata.generation."""
    create = generation_only if spec and not status else drop_status if status else nothing
    update = (bump_generation if status else count_generation) if spec else keep_status if status else keep_nothing
    return Kind(
        group=group,
        version=version,
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        namespaced=namespaced,
        list_kind=f"{kind}List",
        short_names=short_names,
        categories=categories,
        verbs=ALL_VERBS,
        subresources=("status",) if status else (),
        columns=(NAME, *(Column(name, "string", f"{name} of the {kind}.") for name, _ in columns), AGE),
        row=_row(tuple(cell for _, cell in columns)),
        prepare_create=create,
        prepare_update=update,
        validate=validate or _nothing_wrong,
        delete_returns_object=returns_object,
    )


def _nothing_wrong(new: Object, old: Object | None) -> list[Cause]:
    return []


def _handler_stays(new: Object, old: Object | None) -> list[Cause]:
    """A RuntimeClass is what it is."""
    if not new.get("handler"):
        return [causes.required("handler")]
    return [] if old is None else causes.immutable("handler", new.get("handler"), old.get("handler"))


def _spec_stays(new: Object, old: Object | None) -> list[Cause]:
    return [] if old is None else causes.immutable("spec", new.get("spec"), old.get("spec"))


_ADMISSION = "admissionregistration.k8s.io"
_STORAGE = "storage.k8s.io"
_API = ("api-extensions",)

PLAIN_KINDS: tuple[Kind, ...] = (
    _kind(_ADMISSION, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations",
          ("Webhooks", _count("webhooks")), categories=_API),
    _kind(_ADMISSION, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations",
          ("Webhooks", _count("webhooks")), categories=_API),
    _kind(_ADMISSION, "ValidatingAdmissionPolicy", "validatingadmissionpolicies",
          ("Validations", _count("spec", "validations")), ("ParamKind", _at("spec", "paramKind", "kind")),
          status=True, categories=_API),
    _kind(_ADMISSION, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings",
          ("PolicyName", _at("spec", "policyName")), categories=_API),
    _kind("networking.k8s.io", "IPAddress", "ipaddresses",
          ("ParentRef", _at("spec", "parentRef", "name")), short_names=("ip",)),
    _kind("networking.k8s.io", "ServiceCIDR", "servicecidrs", ("CIDRs", lambda obj: ",".join(
        (obj.get("spec") or {}).get("cidrs") or ())), status=True, validate=_spec_stays),
    _kind("node.k8s.io", "RuntimeClass", "runtimeclasses",
          ("Handler", _at("handler")), spec=False, validate=_handler_stays),
    _kind(_STORAGE, "CSIDriver", "csidrivers",
          ("AttachRequired", _flag("spec", "attachRequired")), ("PodInfoOnMount", _flag("spec", "podInfoOnMount")),
          returns_object=True),
    _kind(_STORAGE, "CSINode", "csinodes", ("Drivers", _count("spec", "drivers")), spec=False, returns_object=True),
    _kind(_STORAGE, "CSIStorageCapacity", "csistoragecapacities",
          ("StorageClassName", _at("storageClassName")), ("Capacity", _at("capacity")), namespaced=True, spec=False,
          returns_object=True),
    _kind(_STORAGE, "VolumeAttachment", "volumeattachments",
          ("Attacher", _at("spec", "attacher")), ("PV", _at("spec", "source", "persistentVolumeName")),
          ("Node", _at("spec", "nodeName")), ("Attached", _flag("status", "attached")), status=True, spec=False,
          returns_object=True),
    _kind(_STORAGE, "VolumeAttributesClass", "volumeattributesclasses",
          ("DriverName", _at("driverName")), short_names=("vac",), spec=False, returns_object=True),
    _kind("flowcontrol.apiserver.k8s.io", "FlowSchema", "flowschemas",
          ("PriorityLevel", _at("spec", "priorityLevelConfiguration", "name")),
          ("MatchingPrecedence", _at("spec", "matchingPrecedence")), status=True),
    _kind("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", "prioritylevelconfigurations",
          ("Type", _at("spec", "type")), status=True),
)  # fmt: skip
