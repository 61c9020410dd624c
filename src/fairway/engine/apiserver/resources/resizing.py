"""Resources of a pod's containers changed in place, through the `resize` subresource (KEP-1287)."""

from collections.abc import Iterable, Iterator

from fairway.engine.apiserver.resources import causes
from fairway.engine.apiserver.resources.kind import Cause, Object, carry, count_generation
from fairway.kube.api import quantities

_RESIZABLE = frozenset({"cpu", "memory"})
_LISTS = ("containers", "initContainers")
_RESTART = "RestartContainer"


def prepare(new: Object, old: Object) -> None:
    """Only `resources` and `resizePolicy` of containers count; containers that do not match are left to validation."""
    wanted = {key: (new.get("spec") or {}).get(key) or [] for key in _LISTS}
    carry(new, old, "spec")
    carry(new, old, "status")
    for key in ("labels", "annotations", "ownerReferences", "finalizers", "generation"):
        carry(new["metadata"], old["metadata"], key)
    for key, containers in wanted.items():
        if _names(containers) != _names(new["spec"].get(key) or ()):
            new["spec"][key] = containers
            continue
        for container, given in zip(new["spec"].get(key) or (), containers, strict=True):
            carry(container, given, "resources")
            carry(container, given, "resizePolicy")
    count_generation(new, old)


def validate(new: Object, old: Object) -> list[Cause]:
    """core/v1 ValidatePodResize, after the specification itself was found valid.

    The quality of service is the caller's to compare: it is computed from both specifications.
    """
    found = [cause for key in _LISTS for cause in _renamed(new["spec"].get(key), old["spec"].get(key), f"spec.{key}")]
    if found:
        return found
    if not _supported(old):
        found.append(causes.forbidden("spec", "Pod running on node without support for resize"))
    pairs = [*_pairs(new, old, "containers"), *_pairs(new, old, "initContainers")]
    for path, after, before in pairs:
        if path.startswith("spec.containers") or before.get("restartPolicy") == "Always":
            found += _change(after, before, f"{path}.resources")
    return [*found, *dict.fromkeys(_others(pairs))]


def _names(containers: Iterable[Object]) -> list[object]:
    return [container.get("name") for container in containers]


def _renamed(new: list[Object] | None, old: list[Object] | None, path: str) -> list[Cause]:
    after, before = _names(new or ()), _names(old or ())
    if len(after) != len(before):
        return [causes.forbidden(path, "containers may not be added or removed on resize")]
    says = "containers may not be renamed or reordered on resize"
    return [
        causes.forbidden(f"{path}[{index}].name", says)
        for index, (name, was) in enumerate(zip(after, before, strict=True))
        if name != was
    ]


def _pairs(new: Object, old: Object, key: str) -> Iterator[tuple[str, Object, Object]]:
    both = zip(new["spec"].get(key) or (), old["spec"].get(key) or (), strict=True)
    for index, (after, before) in enumerate(both):
        yield f"spec.{key}[{index}]", after, before


def _supported(pod: Object) -> bool:
    """Whether the node says what its running containers were given, which those do that can resize."""
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if (status.get("state") or {}).get("running"):
            return status.get("resources") is not None
    return True


def _change(new: Object, old: Object, path: str) -> Iterator[Cause]:
    after, before = new.get("resources") or {}, old.get("resources") or {}
    for key in ("requests", "limits"):
        if (before.get(key) or {}).keys() - (after.get(key) or {}).keys():
            yield causes.forbidden(f"{path}.{key}", f"resource {key} cannot be removed")
    if _policy(new, "memory") == _RESTART:
        return
    limit, was = (after.get("limits") or {}).get("memory"), (before.get("limits") or {}).get("memory")
    says = f"unless resizePolicy is {_RESTART}"
    if limit is None:
        return
    if was is None:
        yield causes.forbidden(f"{path}.limits[memory]", f"memory limits cannot be added {says}")
    elif quantities.parse(limit) < quantities.parse(was):
        yield causes.forbidden(f"{path}.limits[memory]", f"memory limits cannot be decreased {says}")


def _policy(container: Object, resource: str) -> str:
    for policy in container.get("resizePolicy") or ():
        if policy.get("resourceName") == resource:
            return str(policy.get("restartPolicy"))
    return ""


def _others(pairs: Iterable[tuple[str, Object, Object]]) -> Iterator[Cause]:
    """What changes besides processor and memory."""
    for path, after, before in pairs:
        main = path.startswith("spec.containers")
        sidecar = before.get("restartPolicy") == "Always"
        if main or sidecar:
            if _fixed(after) != _fixed(before):
                which = "resources" if main else "resources for sidecar containers"
                yield causes.forbidden("spec", f"only cpu and memory {which} are mutable")
        elif _given(after) != _given(before):
            yield causes.forbidden("spec", "resources for non-sidecar init containers are immutable")


def _fixed(container: Object) -> Object:
    """A container without its amounts of processor and memory."""
    resources = container.get("resources") or {}
    rest = {
        key: {name: amount for name, amount in value.items() if name not in _RESIZABLE}
        if key in ("requests", "limits")
        else value
        for key, value in _given(resources).items()
    }
    return {**_given(container), "resources": _given(rest)}


def _given(value: Object) -> Object:
    return {key: inner for key, inner in value.items() if inner not in (None, "", [], {})}
