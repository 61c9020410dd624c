"""CustomResourceDefinitions: kinds that people bring (apiextensions.k8s.io/v1)."""

from collections.abc import Iterator
from datetime import datetime

from fairway.engine.apiserver.resources import causes, json_paths, names
from fairway.engine.apiserver.resources.kind import NAME, Cause, Column, Kind, Object, bump_generation, name_of
from fairway.engine.apiserver.schema import custom
from fairway.kube.api.meta import timestamp

FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_VERSIONS = "spec.versions"
_APPROVAL = "api-approved.kubernetes.io"
_PROTECTED = (".k8s.io", ".kubernetes.io")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_CREATED_AT = Column(
    "Created At",
    "date",
    "CreationTimestamp is a timestamp representing the server time when this object was created.",
)


def _row(obj: Object, now: datetime) -> list[object]:
    return [name_of(obj), obj["metadata"].get("creationTimestamp")]


def _default(obj: Object) -> None:
    spec = obj["spec"] = obj.get("spec") or {}
    given = spec["names"] = spec.get("names") or {}
    kind = given.get("kind") or ""
    if not given.get("singular"):
        given["singular"] = kind.lower()
    if not given.get("listKind") and kind:
        given["listKind"] = f"{kind}List"
    if not spec.get("conversion"):
        spec["conversion"] = {"strategy": "None"}
    if spec.get("preserveUnknownFields") is False:
        del spec["preserveUnknownFields"]
    for version in spec.get("versions") or ():
        scale = (version.get("subresources") or {}).get("scale")
        if scale is not None and not scale.get("labelSelectorPath"):
            scale.pop("labelSelectorPath", None)


def storage_versions(obj: Object) -> list[str]:
    """The version that objects are stored in, as a list."""
    versions = (obj.get("spec") or {}).get("versions") or ()
    return [str(version.get("name") or "") for version in versions if version.get("storage")]


def _prepare_create(obj: Object) -> None:
    obj["metadata"]["generation"] = 1
    accepted = {"plural": "", "kind": ""}
    obj["status"] = {"conditions": None, "acceptedNames": accepted, "storedVersions": storage_versions(obj)[:1]}


def _prepare_update(new: Object, old: Object) -> None:
    bump_generation(new, old)
    status = new["status"] = new.get("status") or {}
    stored = status["storedVersions"] = list(status.get("storedVersions") or ())
    stored += [name for name in storage_versions(new) if name not in stored]


def _prepare_delete(obj: Object) -> None:
    """The definition stays until its objects are gone."""
    if obj["metadata"].get("deletionTimestamp"):
        return
    finalizers = obj["metadata"].setdefault("finalizers", [])
    if FINALIZER not in finalizers:
        finalizers.append(FINALIZER)
    says = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    condition(obj, "Terminating", "True", "InstanceDeletionPending", says, "")


def condition(obj: Object, type: str, status: str, reason: str, message: str, now: str) -> None:
    """Set one condition; its time stays where the status stays."""
    current = obj["status"] = obj.get("status") or {}
    listed = current.get("conditions") or []
    known = next((item for item in listed if item.get("type") == type), None)
    moment = known["lastTransitionTime"] if known and known.get("status") == status else now
    new = {"type": type, "status": status, "lastTransitionTime": moment or _now(), "reason": reason, "message": message}
    current["conditions"] = [item for item in listed if item.get("type") != type] + [new]


def _now() -> str:
    return timestamp(datetime.now().astimezone())


def is_established(obj: Object) -> bool:
    """Whether its objects are served."""
    listed = (obj.get("status") or {}).get("conditions") or ()
    return any(item.get("type") == "Established" and item.get("status") == "True" for item in listed)


# --- rules


def _validate(new: Object, old: Object | None) -> list[Cause]:
    spec = new.get("spec") or {}
    found = [*_name(new), *_group(new, spec), *_names(spec.get("names") or {}), *_scope(spec)]
    before = (old.get("spec") or {}) if old is not None else {}
    found += [*_versions(spec, before), *_conversion(spec)]
    if spec.get("preserveUnknownFields"):
        says = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        found.append(causes.invalid("spec.preserveUnknownFields", True, says))
    if old is not None:
        found += [*_stored(new, spec), *_changes(spec, old)]
    return found


def _name(obj: Object) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    wanted = f"{(spec.get('names') or {}).get('plural') or ''}.{spec.get('group') or ''}"
    if name_of(obj) != wanted:
        yield causes.invalid("metadata.name", name_of(obj), 'must be spec.names.plural+"."+spec.group')


def _group(obj: Object, spec: Object) -> Iterator[Cause]:
    group = spec.get("group") or ""
    if not group:
        yield causes.required("spec.group")
        return
    yield from causes.invalid_each("spec.group", group, names.dns_subdomain(group))
    if "." not in group:
        yield causes.invalid("spec.group", group, "should be a domain with at least one dot")
    annotations = obj["metadata"].get("annotations") or {}
    if group.endswith(_PROTECTED) and not annotations.get(_APPROVAL):
        says = f'protected groups must have approval annotation "{_APPROVAL}", '
        says += "see https://github.com/kubernetes/enhancements/pull/1111"
        yield causes.required(f"metadata.annotations[{_APPROVAL}]", says)


def _names(given: Object) -> Iterator[Cause]:
    for key in ("plural", "singular", "kind", "listKind"):
        value = given.get(key) or ""
        if not value:
            yield causes.required(f"spec.names.{key}")
            continue
        rule = names.dns_1035_label(value.lower() if key in ("kind", "listKind") else value)
        yield from causes.invalid_each(f"spec.names.{key}", value, rule)
    for key in ("shortNames", "categories"):
        for index, value in enumerate(given.get(key) or ()):
            yield from causes.invalid_each(f"spec.names.{key}[{index}]", value, names.dns_1035_label(value))
    if given.get("kind") and given.get("kind") == given.get("listKind"):
        yield causes.invalid("spec.names.listKind", given["listKind"], "kind and listKind may not be the same")


def _scope(spec: Object) -> Iterator[Cause]:
    yield from causes.one_of("spec.scope", spec.get("scope"), ("Cluster", "Namespaced"))


def _versions(spec: Object, before: Object) -> Iterator[Cause]:
    given = spec.get("versions") or []
    known = {version.get("name"): _schema(version) for version in before.get("versions") or ()}
    if not given:
        yield causes.required(_VERSIONS)
    seen: set[str] = set()
    for index, version in enumerate(given):
        path, name = f"{_VERSIONS}[{index}]", version.get("name") or ""
        yield from causes.invalid_each(f"{path}.name", name, names.dns_1035_label(name))
        if name in seen:
            yield causes.invalid(_VERSIONS, name, "must contain unique version names")
        seen.add(name)
        yield from _version(version, path, known.get(name))
    if given and sum(bool(version.get("storage")) for version in given) != 1:
        yield causes.invalid(
            _VERSIONS, [v.get("name") for v in given], "must have exactly one version marked as storage version"
        )


def _schema(version: Object) -> Object | None:
    found: Object | None = (version.get("schema") or {}).get("openAPIV3Schema")
    return found


def _version(version: Object, path: str, before: Object | None) -> Iterator[Cause]:
    """Rules that were there `before` may cost what they cost."""
    schema, where = _schema(version), f"{path}.schema.openAPIV3Schema"
    if schema is None:
        yield causes.required(where, "schemas are required")
    else:
        found = custom.faults(schema, where)
        if not found and schema != before:
            found = custom.over_budget(schema, where)
        yield from (Cause(cause.reason, cause.message, cause.field) for cause in found)
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        yield from _column(column, f"{path}.additionalPrinterColumns[{index}]")
    for index, field in enumerate(version.get("selectableFields") or ()):
        yield from _path(field.get("jsonPath") or "", f"{path}.selectableFields[{index}].jsonPath")
    if version.get("deprecationWarning") and not version.get("deprecated"):
        says = "can only be set for deprecated versions"
        yield causes.invalid(f"{path}.deprecationWarning", version["deprecationWarning"], says)
    scale = (version.get("subresources") or {}).get("scale")
    if scale is not None:
        yield from _scale(scale, f"{path}.subresources.scale")


def _column(column: Object, path: str) -> Iterator[Cause]:
    if not column.get("name"):
        yield causes.required(f"{path}.name")
    if not column.get("type"):
        yield causes.required(f"{path}.type", f"must be one of {','.join(_COLUMN_TYPES)}")
    elif column["type"] not in _COLUMN_TYPES:
        yield causes.invalid(f"{path}.type", column["type"], f"must be one of {','.join(_COLUMN_TYPES)}")
    yield from _path(column.get("jsonPath") or "", f"{path}.jsonPath")


def _path(text: str, path: str) -> Iterator[Cause]:
    if not text:
        yield causes.required(path)
    elif not text.startswith("."):
        yield causes.invalid(path, text, "must be a simple json path starting with .")
    else:
        try:
            json_paths.parse(text)
        except ValueError as error:
            yield causes.invalid(path, text, str(error))


def _scale(scale: Object, path: str) -> Iterator[Cause]:
    for key, start in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        text = scale.get(key) or ""
        if not text:
            yield causes.required(f"{path}.{key}")
        elif not text.startswith(start):
            yield causes.invalid(f"{path}.{key}", text, f"should be a json path under {start[:-1]}")
    selector = scale.get("labelSelectorPath") or ""
    if selector and not selector.startswith((".spec.", ".status.")):
        yield causes.invalid(
            f"{path}.labelSelectorPath", selector, "should be a json path under either .spec or .status"
        )


def _conversion(spec: Object) -> Iterator[Cause]:
    strategy = (spec.get("conversion") or {}).get("strategy") or ""
    if strategy not in ("None", "Webhook"):
        yield from causes.one_of("spec.conversion.strategy", strategy, ("None", "Webhook"))
    elif strategy == "Webhook" and sum(bool(version.get("served")) for version in spec.get("versions") or ()) > 1:
        says = "conversion webhooks are not supported: serve one version, or versions that need no conversion"
        yield causes.invalid("spec.conversion.strategy", strategy, says)


def _stored(obj: Object, spec: Object) -> Iterator[Cause]:
    known = [version.get("name") for version in spec.get("versions") or ()]
    for index, name in enumerate((obj.get("status") or {}).get("storedVersions") or ()):
        if name not in known:
            yield causes.invalid(f"status.storedVersions[{index}]", name, "must appear in spec.versions")


def _changes(spec: Object, old: Object) -> Iterator[Cause]:
    if not is_established(old):
        return
    before = old.get("spec") or {}
    for key in ("group", "scope"):
        yield from causes.immutable(f"spec.{key}", spec.get(key), before.get(key))
    for key in ("kind", "plural"):
        new, was = (spec.get("names") or {}).get(key), (before.get("names") or {}).get(key)
        yield from causes.immutable(f"spec.names.{key}", new, was)


CUSTOM_RESOURCE_DEFINITIONS = Kind(
    group="apiextensions.k8s.io",
    version="v1",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    singular="customresourcedefinition",
    namespaced=False,
    list_kind="CustomResourceDefinitionList",
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    subresources=("status",),
    columns=(NAME, _CREATED_AT),
    row=_row,
    default=_default,
    prepare_create=_prepare_create,
    prepare_update=_prepare_update,
    prepare_delete=_prepare_delete,
    validate=_validate,
    delete_returns_object=False,
)
