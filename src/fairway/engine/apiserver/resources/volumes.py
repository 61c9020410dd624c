"""What is wrong with the volumes of a pod."""

from typing import Any

from fairway.engine.apiserver.resources import causes, names
from fairway.engine.apiserver.resources.container_resources import validate_quantity
from fairway.engine.apiserver.resources.containers import (
    validate_field_reference,
    validate_relative_path,
    validate_resource_reference,
)
from fairway.engine.apiserver.resources.kind import Cause, Object

SOURCES = (
    "emptyDir", "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "secret", "nfs", "iscsi",
    "glusterfs", "persistentVolumeClaim", "rbd", "cinder", "cephfs", "flocker", "downwardAPI", "fc", "azureFile",
    "configMap", "vsphereVolume", "quobyte", "azureDisk", "photonPersistentDisk", "projected", "portworxVolume",
    "scaleIO", "storageos", "csi", "ephemeral", "image",
)  # fmt: skip
HOST_PATH_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")
DOWNWARD_PATHS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_MODE_SAYS = "must be a number between 0 and 0777 (octal), both inclusive"
_PROJECTIONS = ("secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate")


def validate_volumes(volumes: Any, field: str) -> list[Cause]:
    """Names, exactly one source each, and the sources that Fairway mounts in detail."""
    found: list[Cause] = []
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        path, name = f"{field}[{index}]", volume.get("name") or ""
        found += _sources(volume, path)
        if not name:
            found.append(causes.required(f"{path}.name"))
            continue
        found += causes.invalid_each(f"{path}.name", name, names.dns_label(name))
        if name in seen:
            found.append(causes.duplicate(f"{path}.name", name))
        seen.add(name)
    return found


def _sources(volume: Object, path: str) -> list[Cause]:
    given = [source for source in SOURCES if volume.get(source) is not None]
    if not given:
        return [causes.required(path, "must specify a volume type")]
    found = [causes.forbidden(f"{path}.{extra}", "may not specify more than 1 volume type") for extra in given[1:]]
    check = _CHECKS.get(given[0])
    return (check(volume[given[0]], f"{path}.{given[0]}") if check else []) + found


def _empty_dir(source: Object, path: str) -> list[Cause]:
    size = source.get("sizeLimit")
    return validate_quantity(size, f"{path}.sizeLimit") if size is not None else []


def _host_path(source: Object, path: str) -> list[Cause]:
    target = source.get("path") or ""
    if not target:
        return [causes.required(f"{path}.path")]
    found: list[Cause] = []
    if ".." in target.split("/"):
        found.append(causes.invalid(f"{path}.path", target, "must not contain '..'"))
    return found + causes.one_of(f"{path}.type", source.get("type"), HOST_PATH_TYPES, needed=False)


def _config_map(source: Object, path: str) -> list[Cause]:
    found = [] if source.get("name") else [causes.required(f"{path}.name")]
    return found + _mode(source, path) + _items(source, path)


def _secret(source: Object, path: str) -> list[Cause]:
    found = [] if source.get("secretName") else [causes.required(f"{path}.secretName")]
    return found + _mode(source, path) + _items(source, path)


def _items(source: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for index, item in enumerate(source.get("items") or ()):
        at = f"{path}.items[{index}]"
        if not item.get("key"):
            found.append(causes.required(f"{at}.key"))
        found += _file(item.get("path") or "", f"{at}.path") + _item_mode(item, at)
    return found


def _downward(source: Object, path: str) -> list[Cause]:
    found = _mode(source, path)
    for index, item in enumerate(source.get("items") or ()):
        at = f"{path}.items[{index}]"
        found += _file(item.get("path") or "", f"{at}.path") + _item_mode(item, at)
        field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
        if field is None and resource is None:
            found.append(causes.required(f"{at}.fieldRef", "one of fieldRef and resourceFieldRef is required"))
        elif field is not None and resource is not None:
            found.append(
                causes.invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
            )
        elif field is not None:
            found += validate_field_reference(field, f"{at}.fieldRef", DOWNWARD_PATHS)
        elif resource is not None:
            found += validate_resource_reference(resource, f"{at}.resourceFieldRef", of_volume=True)
    return found


def _projected(source: Object, path: str) -> list[Cause]:
    found = _mode(source, path)
    for index, part in enumerate(source.get("sources") or ()):
        at = f"{path}.sources[{index}]"
        given = [name for name in _PROJECTIONS if part.get(name) is not None]
        if not given:
            found.append(causes.required(at, "must specify a volume type"))
        found += [causes.forbidden(f"{at}.{name}", "may not specify more than 1 volume type") for name in given[1:]]
        for name in given[:1]:
            found += _projection(name, part[name], f"{at}.{name}")
    return found


def _projection(name: str, part: Object, path: str) -> list[Cause]:
    if name == "downwardAPI":
        return _downward(part, path)
    if name == "serviceAccountToken":
        return _token(part, path)
    if name in ("secret", "configMap"):
        found = [] if part.get("name") else [causes.required(f"{path}.name")]
        return found + _items(part, path)
    return []


def _token(part: Object, path: str) -> list[Cause]:
    seconds = part.get("expirationSeconds") or 3600
    found: list[Cause] = []
    if seconds < 600:
        says = "may not specify a duration less than 10 minutes"
        found.append(causes.invalid(f"{path}.expirationSeconds", seconds, says))
    if seconds > 1 << 32:
        says = "may not specify a duration larger than 2^32 seconds"
        found.append(causes.invalid(f"{path}.expirationSeconds", seconds, says))
    return found + _file(part.get("path") or "", f"{path}.path")


def _claim(source: Object, path: str) -> list[Cause]:
    return [] if source.get("claimName") else [causes.required(f"{path}.claimName")]


def _nfs(source: Object, path: str) -> list[Cause]:
    found = [causes.required(f"{path}.{name}") for name in ("server", "path") if not source.get(name)]
    if source.get("path") and not source["path"].startswith("/"):
        found.append(causes.invalid(f"{path}.path", source["path"], "must be an absolute path"))
    return found


def _csi(source: Object, path: str) -> list[Cause]:
    return [] if source.get("driver") else [causes.required(f"{path}.driver")]


def _file(target: str, field: str) -> list[Cause]:
    if not target:
        return [causes.required(field)]
    found = validate_relative_path(target, field)
    if not found and target.startswith(".."):
        found.append(causes.invalid(field, target, "must not start with '..'"))
    return found


def _mode(source: Object, path: str) -> list[Cause]:
    return _bits(source.get("defaultMode"), f"{path}.defaultMode")


def _item_mode(item: Object, path: str) -> list[Cause]:
    return _bits(item.get("mode"), f"{path}.mode")


def _bits(mode: int | None, field: str) -> list[Cause]:
    return [causes.invalid(field, mode, _MODE_SAYS)] if mode is not None and not 0 <= mode <= 0o777 else []


_CHECKS = {
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "configMap": _config_map,
    "secret": _secret,
    "downwardAPI": _downward,
    "projected": _projected,
    "persistentVolumeClaim": _claim,
    "nfs": _nfs,
    "csi": _csi,
}
