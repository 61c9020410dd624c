"""What is wrong with an object's metadata: labels, annotations, finalizers, owners."""

from collections.abc import Callable

from fairway.engine.apiserver.resources import causes, names, selectors
from fairway.engine.apiserver.resources.kind import Cause, Object

ANNOTATIONS_BYTES_MAX = 256 * 1024


def validate_metadata(
    obj: Object, name_rule: Callable[[str], list[str]], *, namespaced: bool, old: Object | None = None
) -> list[Cause]:
    """Everything about `metadata` that every kind shares; with `old`, also what may not change."""
    metadata = obj.get("metadata") or {}
    found = _name(metadata, name_rule) + _namespace(metadata, namespaced)
    found += _generation(metadata) + validate_maps(metadata, "metadata")
    found += _owners(metadata) + _finalizers(metadata)
    return found + _changes(metadata, old.get("metadata") or {}) if old is not None else found


def validate_maps(metadata: Object, field: str) -> list[Cause]:
    """Labels and annotations, of an object or of a template."""
    found = selectors.validate_labels(metadata.get("labels"), f"{field}.labels")
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        found += causes.invalid_each(f"{field}.annotations", key, names.qualified(key.lower()))
    if (
        sum(len(key.encode()) + len((value or "").encode()) for key, value in annotations.items())
        > ANNOTATIONS_BYTES_MAX
    ):
        found.append(causes.too_long(f"{field}.annotations", ANNOTATIONS_BYTES_MAX))
    return found


def _name(metadata: Object, name_rule: Callable[[str], list[str]]) -> list[Cause]:
    prefix, name = metadata.get("generateName") or "", metadata.get("name") or ""
    found: list[Cause] = []
    if prefix:
        found += causes.invalid_each("metadata.generateName", prefix, name_rule(_completed(prefix)))
    if not name:
        return [*found, causes.required("metadata.name", "name or generateName is required")]
    return found + causes.invalid_each("metadata.name", name, name_rule(name))


def _completed(prefix: str) -> str:
    """A prefix may end in dashes, because something will follow."""
    return prefix[:-1] + "a" if prefix.endswith("-") else prefix


def _namespace(metadata: Object, namespaced: bool) -> list[Cause]:
    namespace = metadata.get("namespace") or ""
    if not namespaced:
        return [causes.forbidden("metadata.namespace", "not allowed on this type")] if namespace else []
    if not namespace:
        return [causes.required("metadata.namespace")]
    return causes.invalid_each("metadata.namespace", namespace, names.dns_label(namespace))


def _generation(metadata: Object) -> list[Cause]:
    return causes.negative("metadata.generation", metadata.get("generation"))


def _owners(metadata: Object) -> list[Cause]:
    field, controllers = "metadata.ownerReferences", 0
    found: list[Cause] = []
    for index, owner in enumerate(metadata.get("ownerReferences") or ()):
        path = f"{field}[{index}]"
        if not owner.get("apiVersion"):
            found.append(causes.invalid(f"{path}.apiVersion", "", "version must not be empty"))
        found += [
            causes.invalid(f"{path}.{key}", "", "must not be empty")
            for key in ("kind", "name", "uid")
            if not owner.get(key)
        ]
        controllers += bool(owner.get("controller"))
    if controllers > 1:
        says = "Only one reference can have Controller set to true."
        found.append(causes.invalid(field, metadata["ownerReferences"], says))
    return found


def _finalizers(metadata: Object) -> list[Cause]:
    field = "metadata.finalizers"
    given = metadata.get("finalizers") or ()
    found: list[Cause] = []
    for index, name in enumerate(given):
        found += causes.invalid_each(f"{field}[{index}]", name, names.qualified(name))
        if not found and "/" not in name and name not in ("foregroundDeletion", "orphan", "kubernetes"):
            says = "name is neither a standard finalizer name nor is it fully qualified"
            found.append(causes.invalid(f"{field}[{index}]", name, says))
    if "orphan" in given and "foregroundDeletion" in given:
        says = "finalizer orphan and foregroundDeletion cannot be both set"
        found.append(causes.invalid(field, list(given), says))
    return found


def _changes(new: Object, old: Object) -> list[Cause]:
    found: list[Cause] = []
    for key in ("name", "namespace", "uid", "creationTimestamp"):
        found += causes.immutable(f"metadata.{key}", new.get(key), old.get(key))
    found += _deletion(new, old)
    if old.get("deletionTimestamp"):
        added = [name for name in new.get("finalizers") or () if name not in (old.get("finalizers") or ())]
        if added:
            says = "no new finalizers can be added if the object is being deleted, found new finalizers "
            listed = "[" + ", ".join(f'"{name}"' for name in added) + "]"
            found.append(causes.forbidden("metadata.finalizers", f"{says}{listed.replace(', ', ' ')}"))
    return found


def _deletion(new: Object, old: Object) -> list[Cause]:
    found: list[Cause] = []
    for key in ("deletionTimestamp", "deletionGracePeriodSeconds"):
        if new.get(key) is not None:
            found += causes.immutable(f"metadata.{key}", new.get(key), old.get(key))
    return found
