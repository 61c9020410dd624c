"""Ephemeral containers of a pod: added later through their own subresource, never changed, never removed."""

from fairway.engine.apiserver.resources import causes
from fairway.engine.apiserver.resources.containers import Surroundings, validate_one
from fairway.engine.apiserver.resources.kind import Cause, Object, carry, count_generation

_NOT_ALLOWED = (
    "ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources", "resizePolicy",
    "restartPolicy",
)  # fmt: skip
_FIELD = "spec.ephemeralContainers"


def prepare(new: Object, old: Object) -> None:
    """An update through `ephemeralcontainers` changes these and nothing else."""
    wanted = (new.get("spec") or {}).get("ephemeralContainers")
    carry(new, old, "spec")
    carry(new, old, "status")
    for key in ("labels", "annotations", "ownerReferences", "finalizers", "generation"):
        carry(new["metadata"], old["metadata"], key)
    if wanted:
        new["spec"]["ephemeralContainers"] = wanted
    else:
        new["spec"].pop("ephemeralContainers", None)
    count_generation(new, old)


def keep(new: Object, old: Object) -> None:
    """Any other update leaves them as they are."""
    if isinstance(new.get("spec"), dict):
        carry(new["spec"], old.get("spec") or {}, "ephemeralContainers")


def validate(spec: Object, old: Object | None, around: Surroundings) -> list[Cause]:
    """core/v1 validateEphemeralContainers, and that those of the `old` specification stay what they are."""
    seen = {str(each.get("name")) for key in ("initContainers", "containers") for each in spec.get(key) or ()}
    targets = {str(each.get("name")) for each in spec.get("containers") or ()}
    found: list[Cause] = []
    for index, container in enumerate(spec.get("ephemeralContainers") or ()):
        path = f"{_FIELD}[{index}]"
        found += validate_one(container, path, seen, around)
        found += [
            causes.forbidden(f"{path}.{key}", "cannot be set for an Ephemeral Container")
            for key in _NOT_ALLOWED
            if container.get(key)
        ]
        target = container.get("targetContainerName")
        if target and target not in targets | {each.get("name") for each in spec.get("initContainers") or ()}:
            found.append(causes.not_found(f"{path}.targetContainerName", target))
    return found + (_changes(spec, old) if old is not None else [])


def _changes(new: Object, old: Object) -> list[Cause]:
    after = {each.get("name"): each for each in new.get("ephemeralContainers") or ()}
    found = []
    for before in old.get("ephemeralContainers") or ():
        name = before.get("name")
        if name not in after:
            found.append(causes.forbidden(_FIELD, f'existing ephemeral containers "{name}" may not be removed\n'))
        elif _given(after[name]) != _given(before):
            found.append(causes.forbidden(_FIELD, f'existing ephemeral containers "{name}" may not be changed\n'))
    return found


def _given(container: Object) -> Object:
    return {key: value for key, value in container.items() if value not in (None, "", [], {})}
