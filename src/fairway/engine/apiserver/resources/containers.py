"""What is wrong with a container: names, images, ports, environment, mounts, resources."""

from collections.abc import Mapping
from typing import Any

import msgspec

from fairway.engine.apiserver.resources import causes, names, probes
from fairway.engine.apiserver.resources.container_resources import validate_resources
from fairway.engine.apiserver.resources.kind import Cause, Object
from fairway.engine.apiserver.resources.security import validate_container_security

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
PROTOCOLS = ("SCTP", "TCP", "UDP")
PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
FIELD_PATHS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
RESOURCE_PATHS = tuple(
    f"{kind}.{name}" for kind in ("limits", "requests") for name in ("cpu", "ephemeral-storage", "memory")
)
_ENV_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef")
_ONLY_ONE = "may not have more than one field specified at a time"
_INIT_ONLY = "may not be set for init containers without restartPolicy=Always"


class Surroundings(msgspec.Struct, frozen=True):
    """What a container's rules need to know of its pod: volume names to sources, and two settings."""

    volumes: Mapping[str, Any]
    grace_seconds: int
    host_network: bool


def validate_containers(spec: Object, field: str, around: Surroundings) -> list[Cause]:
    """Init containers and containers of a pod specification."""
    found: list[Cause] = []
    seen: set[str] = set()
    for index, container in enumerate(spec.get("initContainers") or ()):
        path = f"{field}.initContainers[{index}]"
        found += _name(container, path, seen) + _container(container, path, around) + _init(container, path)
    if not spec.get("containers"):
        return [*found, causes.required(f"{field}.containers")]
    for index, container in enumerate(spec["containers"]):
        path = f"{field}.containers[{index}]"
        found += _name(container, path, seen) + _container(container, path, around)
        found += probes.validate_lifecycle(container.get("lifecycle"), f"{path}.lifecycle", around.grace_seconds)
        found += probes.validate_probes(container, path)
    return found + _host_port_conflicts(spec, field)


def validate_one(container: Object, path: str, seen: set[str], around: Surroundings) -> list[Cause]:
    """What every container must fulfil; `seen` are the names that are taken."""
    return _name(container, path, seen) + _container(container, path, around)


def _name(container: Object, path: str, seen: set[str]) -> list[Cause]:
    name = container.get("name") or ""
    if not name:
        return [causes.required(f"{path}.name")]
    found = causes.invalid_each(f"{path}.name", name, names.dns_label(name))
    if name in seen:
        found.append(causes.duplicate(f"{path}.name", name))
    seen.add(name)
    return found


def _container(container: Object, path: str, around: Surroundings) -> list[Cause]:
    return [
        *_image(container, path),
        *_ports(container.get("ports") or (), f"{path}.ports", around.host_network),
        *_environment(container.get("env") or (), f"{path}.env"),
        *_environment_from(container.get("envFrom") or (), f"{path}.envFrom"),
        *_mounts(container.get("volumeMounts") or (), f"{path}.volumeMounts", around.volumes),
        *causes.one_of(f"{path}.imagePullPolicy", container.get("imagePullPolicy"), PULL_POLICIES),
        *validate_resources(container.get("resources") or {}, f"{path}.resources"),
        *validate_container_security(container.get("securityContext"), f"{path}.securityContext"),
        *_termination(container.get("terminationMessagePolicy") or "", f"{path}.terminationMessagePolicy"),
    ]


def _init(container: Object, path: str) -> list[Cause]:
    policy = container.get("restartPolicy")
    if policy == "Always":
        return probes.validate_probes(container, path)
    found = [
        causes.forbidden(f"{path}.{key}", _INIT_ONLY)
        for key in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
        if container.get(key)
    ]
    return found + causes.one_of(f"{path}.restartPolicy", policy, ("Always",), needed=False)


def _image(container: Object, path: str) -> list[Cause]:
    image = container.get("image") or ""
    if not image:
        return [causes.required(f"{path}.image")]
    if image != image.strip():
        return [causes.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")]
    return []


def _termination(policy: str, field: str) -> list[Cause]:
    if not policy:
        return [causes.required(field)]
    if policy in ("File", "FallbackToLogsOnError"):
        return []
    return [causes.invalid(field, policy, "must be 'File' or 'FallbackToLogsOnError'")]


def _ports(ports: Any, field: str, host_network: bool) -> list[Cause]:
    found: list[Cause] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        path, name = f"{field}[{index}]", port.get("name") or ""
        if name:
            found += causes.invalid_each(f"{path}.name", name, names.port_name(name))
        if name in seen:
            found.append(causes.duplicate(f"{path}.name", name))
        if name:
            seen.add(name)
        found += _port_numbers(port, path, host_network)
        found += causes.one_of(f"{path}.protocol", port.get("protocol"), PROTOCOLS)
    return found


def _port_numbers(port: Object, path: str, host_network: bool) -> list[Cause]:
    inside, outside = port.get("containerPort"), port.get("hostPort")
    found: list[Cause] = []
    if not inside:
        found.append(causes.required(f"{path}.containerPort"))
    else:
        found += causes.invalid_each(f"{path}.containerPort", inside, names.port_number(inside))
    if outside:
        found += causes.invalid_each(f"{path}.hostPort", outside, names.port_number(outside))
    if host_network and inside != outside:
        says = "must match `hostPort` when `hostNetwork` is true"
        found.append(causes.invalid(f"{path}.containerPort", inside, says))
    return found


def _host_port_conflicts(spec: Object, field: str) -> list[Cause]:
    found: list[Cause] = []
    seen: set[str] = set()
    for index, container in enumerate(spec["containers"]):
        for number, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            key = f"{port.get('protocol')}/{port.get('hostIP') or ''}/{port['hostPort']}"
            if key in seen:
                found.append(causes.duplicate(f"{field}.containers[{index}].ports[{number}].hostPort", key))
            seen.add(key)
    return found


def _environment(variables: Any, field: str) -> list[Cause]:
    found: list[Cause] = []
    for index, variable in enumerate(variables):
        path, name = f"{field}[{index}]", variable.get("name") or ""
        if not name:
            found.append(causes.required(f"{path}.name"))
        else:
            found += causes.invalid_each(f"{path}.name", name, names.environment_name(name))
        if variable.get("valueFrom") is not None:
            found += _value_from(variable["valueFrom"], variable.get("value"), f"{path}.valueFrom")
    return found


def _value_from(source: Object, value: str | None, path: str) -> list[Cause]:
    given = [name for name in _ENV_SOURCES if source.get(name) is not None]
    if not given:
        options = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        return [causes.invalid(path, "", f"must specify one of: {options}")]
    if value:
        return [causes.invalid(path, "", "may not be specified when `value` is not empty")]
    if len(given) > 1:
        return [causes.invalid(path, "", _ONLY_ONE)]
    name, reference = given[0], source[given[0]]
    if name == "fieldRef":
        return validate_field_reference(reference, f"{path}.fieldRef")
    if name == "resourceFieldRef":
        return validate_resource_reference(reference, f"{path}.resourceFieldRef")
    found = [] if reference.get("name") else [causes.required(f"{path}.{name}.name")]
    key = reference.get("key") or ""
    if not key:
        return [*found, causes.required(f"{path}.{name}.key")]
    return found + causes.invalid_each(f"{path}.{name}.key", key, names.config_key(key))


def validate_field_reference(reference: Object, path: str, options: tuple[str, ...] = FIELD_PATHS) -> list[Cause]:
    """A reference to a field of the pod: one of a few, or one label or annotation."""
    chosen = reference.get("fieldPath") or ""
    if not chosen:
        return [causes.required(f"{path}.fieldPath")]
    root, bracket, rest = chosen.partition("['")
    if bracket and rest.endswith("']") and root in ("metadata.labels", "metadata.annotations"):
        return causes.invalid_each(path, rest[:-2], names.qualified(rest[:-2]))
    return [] if chosen in options else [causes.unsupported(f"{path}.fieldPath", chosen, options)]


def validate_resource_reference(reference: Object, path: str, *, of_volume: bool = False) -> list[Cause]:
    """A reference to a limit or request of a container; a volume belongs to none and has to name it."""
    resource = reference.get("resource") or ""
    if of_volume and not reference.get("containerName"):
        return [causes.required(f"{path}.containerName")]
    if not resource:
        return [causes.required(f"{path}.resource")]
    known = resource in RESOURCE_PATHS or resource.partition(".")[2].startswith("hugepages-")
    return [] if known else [causes.unsupported(f"{path}.resource", resource, RESOURCE_PATHS)]


def _environment_from(sources: Any, field: str) -> list[Cause]:
    found: list[Cause] = []
    for index, source in enumerate(sources):
        path, prefix = f"{field}[{index}]", source.get("prefix")
        if prefix:
            found += causes.invalid_each(f"{path}.prefix", prefix, names.environment_name(prefix))
        given = [name for name in ("configMapRef", "secretRef") if source.get(name) is not None]
        if not given:
            found.append(causes.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            found.append(causes.invalid(path, "", _ONLY_ONE))
        found += [causes.required(f"{path}.{name}.name") for name in given if not source[name].get("name")]
    return found


def _mounts(mounts: Any, field: str, volumes: Mapping[str, Any]) -> list[Cause]:
    found: list[Cause] = []
    seen: set[str] = set()
    for index, mount in enumerate(mounts):
        path, name, target = f"{field}[{index}]", mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            found.append(causes.required(f"{path}.name"))
        elif name not in volumes:
            found.append(causes.not_found(f"{path}.name", name))
        if not target:
            found.append(causes.required(f"{path}.mountPath"))
        if target in seen:
            found.append(causes.invalid(f"{path}.mountPath", target, "must be unique"))
        seen.add(target)
        found += _sub_paths(mount, path)
        found += causes.one_of(f"{path}.mountPropagation", mount.get("mountPropagation"), PROPAGATIONS, needed=False)
    return found


def _sub_paths(mount: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    if mount.get("subPath") and mount.get("subPathExpr"):
        says = "subPathExpr and subPath are mutually exclusive"
        found.append(causes.invalid(f"{path}.subPathExpr", mount["subPathExpr"], says))
    for key in ("subPath", "subPathExpr"):
        if mount.get(key):
            found += validate_relative_path(mount[key], f"{path}.{key}")
    return found


def validate_relative_path(text: str, field: str) -> list[Cause]:
    """A path that stays inside where it starts."""
    found = [causes.invalid(field, text, "must be a relative path")] if text.startswith("/") else []
    if ".." in text.split("/"):
        found.append(causes.invalid(field, text, "must not contain '..'"))
    return found
