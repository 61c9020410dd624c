"""Kinds without behaviour of their own here: they are filled in, checked, stored, shown and selected.

Nothing in this cluster acts on them (no CSI drivers, no admission webhooks); tools that install them keep working.
"""

from collections.abc import Callable
from datetime import datetime

from fairway.engine.apiserver.resources import (
    causes,
    csi,
    flow_control,
    names,
    placement,
    selectors,
    service_addresses,
    webhooks,
)
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


def _row(cells: tuple[Cell, ...], last: tuple[Cell, ...]) -> Callable[[Object, datetime], list[object]]:
    return lambda obj, now: [
        name_of(obj),
        *(cell(obj) for cell in cells),
        age_of(obj, now),
        *(cell(obj) for cell in last),
    ]


def _columns(kind: str, named: tuple[tuple[str, Cell], ...]) -> tuple[Column, ...]:
    return tuple(Column(name, "string", f"{name} of the {kind}.") for name, _ in named)


def _kind(
    group: str,
    kind: str,
    plural: str,
    *columns: tuple[str, Cell],
    last: tuple[str, Cell] | None = None,
    namespaced: bool = False,
    status: bool = False,
    spec: bool = True,
    short_names: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    default: Callable[[Object], None] = nothing,
    validate: Callable[[Object, Object | None], list[Cause]] | None = None,
    name_rule: Callable[[str], list[str]] = names.dns_subdomain,
    returns_object: bool = False,
) -> Kind:
    """With `spec`, its changes are counted in metadata.generation; the `last` column comes after the age."""
    after = (last,) if last else ()
    create = generation_only if spec and not status else drop_status if status else nothing
    update = (bump_generation if status else count_generation) if spec else keep_status if status else keep_nothing
    return Kind(
        group=group,
        version="v1",
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        namespaced=namespaced,
        list_kind=f"{kind}List",
        short_names=short_names,
        categories=categories,
        verbs=ALL_VERBS,
        subresources=("status",) if status else (),
        columns=(NAME, *_columns(kind, columns), AGE, *_columns(kind, after)),
        row=_row(tuple(cell for _, cell in columns), tuple(cell for _, cell in after)),
        prepare_create=create,
        prepare_update=update,
        default=default,
        validate=validate or _nothing_wrong,
        name_rule=name_rule,
        delete_returns_object=returns_object,
    )


def _nothing_wrong(new: Object, old: Object | None) -> list[Cause]:
    return []


def _runtime_class(new: Object, old: Object | None) -> list[Cause]:
    """A RuntimeClass names a handler, for good."""
    handler, scheduling = new.get("handler") or "", new.get("scheduling") or {}
    found = causes.invalid_each("handler", handler, names.dns_label(handler))
    found += selectors.validate_labels(scheduling.get("nodeSelector"), "scheduling.nodeSelector")
    found += placement.validate_tolerations(scheduling.get("tolerations") or (), "scheduling.tolerations")
    return found if old is None else found + causes.immutable("handler", handler, old.get("handler") or "")


def _names(*path: str) -> Cell:
    """Texts in a list, `<none>` without any."""
    at = _at(*path)

    def cell(obj: Object) -> object:
        found = at(obj)
        return ",".join(map(str, found)) if isinstance(found, list) and found else "<none>"

    return cell


def _audiences(obj: Object) -> object:
    requests = (obj.get("spec") or {}).get("tokenRequests") or ()
    return ",".join(str(request.get("audience") or "") for request in requests) or "<unset>"


def _parent(obj: Object) -> object:
    """`services/default/kubernetes`, with the group where there is one."""
    parent = (obj.get("spec") or {}).get("parentRef") or {}
    resource = ".".join(str(parent[key]) for key in ("resource", "group") if parent.get(key))
    return "/".join(str(part) for part in (resource, parent.get("namespace"), parent.get("name")) if part)


def _parameters(obj: Object) -> object:
    reference = (obj.get("spec") or {}).get("paramRef")
    if not reference:
        return "<unset>"
    name, namespace = reference.get("name"), reference.get("namespace")
    if not name:
        return "*"
    return f"{namespace}/{name}" if namespace else name


def _queuing(key: str) -> Cell:
    at = _at("spec", "limited", "limitResponse", "queuing", key)
    return lambda obj: at(obj) if at(obj) != "" else "<none>"


def _shares(obj: Object) -> object:
    spec = obj.get("spec") or {}
    shares = (spec.get("limited") or spec.get("exempt") or {}).get("nominalConcurrencyShares")
    return "<none>" if shares is None else shares


def _method(obj: Object) -> object:
    return ((obj.get("spec") or {}).get("distinguisherMethod") or {}).get("type") or "<none>"


def _kind_of_parameters(obj: Object) -> object:
    kind = (obj.get("spec") or {}).get("paramKind")
    return f"{kind.get('apiVersion')}/{kind.get('kind')}" if kind else "<unset>"


def _missing_level(obj: Object) -> object:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    dangling = [condition.get("status") for condition in conditions if condition.get("type") == "Dangling"]
    return dangling[0] if dangling else "?"


_ADMISSION = "admissionregistration.k8s.io"
_STORAGE = "storage.k8s.io"
_API = ("api-extensions",)

PLAIN_KINDS: tuple[Kind, ...] = (
    _kind(_ADMISSION, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations",
          ("Webhooks", _count("webhooks")), categories=_API, default=webhooks.default_mutating,
          validate=webhooks.validate),
    _kind(_ADMISSION, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations",
          ("Webhooks", _count("webhooks")), categories=_API, default=webhooks.default_validating,
          validate=webhooks.validate),
    _kind(_ADMISSION, "ValidatingAdmissionPolicy", "validatingadmissionpolicies",
          ("Validations", _count("spec", "validations")), ("ParamKind", _kind_of_parameters),
          status=True, categories=_API, default=webhooks.default_policy, validate=webhooks.validate_policy),
    _kind(_ADMISSION, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings",
          ("PolicyName", _at("spec", "policyName")), ("ParamRef", _parameters), categories=_API,
          default=webhooks.default_binding, validate=webhooks.validate_binding),
    _kind("networking.k8s.io", "IPAddress", "ipaddresses",
          ("ParentRef", _parent), short_names=("ip",), validate=service_addresses.validate_address,
          name_rule=service_addresses.address_name),
    _kind("networking.k8s.io", "ServiceCIDR", "servicecidrs", ("CIDRs", lambda obj: ",".join(
        (obj.get("spec") or {}).get("cidrs") or ())), status=True, validate=service_addresses.validate_cidrs),
    _kind("node.k8s.io", "RuntimeClass", "runtimeclasses",
          ("Handler", _at("handler")), spec=False, validate=_runtime_class),
    _kind(_STORAGE, "CSIDriver", "csidrivers",
          ("AttachRequired", _flag("spec", "attachRequired")), ("PodInfoOnMount", _flag("spec", "podInfoOnMount")),
          ("StorageCapacity", _flag("spec", "storageCapacity")), ("TokenRequests", _audiences),
          ("RequiresRepublish", _flag("spec", "requiresRepublish")), ("Modes", _names("spec", "volumeLifecycleModes")),
          returns_object=True, default=csi.default_driver, validate=csi.validate_driver),
    _kind(_STORAGE, "CSINode", "csinodes", ("Drivers", _count("spec", "drivers")), spec=False, returns_object=True,
          validate=csi.validate_node),
    _kind(_STORAGE, "CSIStorageCapacity", "csistoragecapacities",
          ("StorageClassName", _at("storageClassName")), ("Capacity", _at("capacity")), namespaced=True, spec=False,
          returns_object=True, validate=csi.validate_capacity),
    _kind(_STORAGE, "VolumeAttachment", "volumeattachments",
          ("Attacher", _at("spec", "attacher")), ("PV", _at("spec", "source", "persistentVolumeName")),
          ("Node", _at("spec", "nodeName")), ("Attached", _flag("status", "attached")), status=True, spec=False,
          returns_object=True, validate=csi.validate_attachment),
    _kind(_STORAGE, "VolumeAttributesClass", "volumeattributesclasses",
          ("DriverName", _at("driverName")), short_names=("vac",), spec=False, returns_object=True,
          validate=csi.validate_attributes),
    _kind("flowcontrol.apiserver.k8s.io", "FlowSchema", "flowschemas",
          ("PriorityLevel", _at("spec", "priorityLevelConfiguration", "name")),
          ("MatchingPrecedence", _at("spec", "matchingPrecedence")),
          ("DistinguisherMethod", _method), last=("MissingPL", _missing_level), status=True,
          default=flow_control.default_schema, validate=flow_control.validate_schema),
    _kind("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", "prioritylevelconfigurations",
          ("Type", _at("spec", "type")), ("NominalConcurrencyShares", _shares), ("Queues", _queuing("queues")),
          ("HandSize", _queuing("handSize")), ("QueueLengthLimit", _queuing("queueLengthLimit")), status=True,
          default=flow_control.default_level, validate=flow_control.validate_level),
)  # fmt: skip
