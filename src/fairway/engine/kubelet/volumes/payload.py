"""ConfigMaps, Secrets and the downward API -> files (pure)."""

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from fairway.engine.kubelet.errors import StartRefused, VolumeProblem
from fairway.engine.kubelet.fields import field_text, resource_text
from fairway.kube.api.config import ConfigMap, Secret
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import ConfigMapVolume, DownwardFile, DownwardVolume, KeyToPath, Pod, SecretVolume, Volume


class File(msgspec.Struct, frozen=True):
    """A file below the volume; `path` is relative."""

    path: str
    data: bytes
    mode: int


class Objects(msgspec.Struct, frozen=True, kw_only=True):
    """What files are made from; ConfigMaps and Secrets by name, only those of the pod's namespace."""

    config_maps: Mapping[str, ConfigMap] = {}
    secrets: Mapping[str, Secret] = {}
    tokens: Mapping[str, str] = {}
    """By path in the volume."""
    allocatable: Mapping[str, str] = {}
    ip: str = ""
    host_ip: str = ""


def is_generated(volume: Volume) -> bool:
    """Whether the files of a volume are made here and follow their source."""
    sources = (volume.config_map, volume.secret, volume.downward_api, volume.projected)
    return any(source is not None for source in sources)


def files(pod: Pod, volume: Volume, objects: Objects) -> tuple[File, ...]:
    """The files of a generated volume.  Raises VolumeProblem with upstream's text when a source is missing."""
    try:
        return _files(pod, volume, objects)
    except StartRefused as refused:
        raise VolumeProblem(volume.name, refused.message) from refused


def config_map_names(volume: Volume) -> set[str]:
    """The ConfigMaps that a volume is made from."""
    names = {volume.config_map.name} if volume.config_map is not None else set()
    return names | {source["configMap"].get("name", "") for source in _projections(volume) if source.get("configMap")}


def secret_names(volume: Volume) -> set[str]:
    """The Secrets that a volume is made from."""
    names = {volume.secret.secret_name} if volume.secret is not None else set()
    return names | {source["secret"].get("name", "") for source in _projections(volume) if source.get("secret")}


def has_secrets(volume: Volume) -> bool:
    """Whether the files must not touch a disk."""
    tokens = any(source.get("serviceAccountToken") for source in _projections(volume))
    return tokens or bool(secret_names(volume))


def _projections(volume: Volume) -> list[Mapping[str, Any]]:
    return list((volume.projected or {}).get("sources") or ())


def _files(pod: Pod, volume: Volume, objects: Objects) -> tuple[File, ...]:
    if volume.config_map is not None:
        return _from_config_map(volume.name, volume.config_map, objects)
    if volume.secret is not None:
        return _from_secret(volume.name, volume.secret, objects)
    if volume.downward_api is not None:
        return _from_downward(pod, volume.downward_api.items, volume.downward_api.default_mode, objects)
    mode = (volume.projected or {}).get("defaultMode", 0o644)
    made = [file for source in _projections(volume) for file in _projected(pod, volume.name, source, mode, objects)]
    return tuple({file.path: file for file in made}.values())


def _projected(pod: Pod, volume: str, source: Mapping[str, Any], mode: int, objects: Objects) -> tuple[File, ...]:
    """One source of a projected volume."""
    if config_map := source.get("configMap"):
        return _from_config_map(volume, decode(ConfigMapVolume, {**config_map, "defaultMode": mode}), objects)
    if secret := source.get("secret"):
        renamed = {**secret, "secretName": secret.get("name", ""), "defaultMode": mode}
        return _from_secret(volume, decode(SecretVolume, renamed), objects)
    if downward := source.get("downwardAPI"):
        return _from_downward(pod, decode(DownwardVolume, downward).items, mode, objects)
    if token := source.get("serviceAccountToken"):
        return _from_token(pod, token.get("path", ""), mode, objects)
    return ()


def _from_token(pod: Pod, path: str, mode: int, objects: Objects) -> tuple[File, ...]:
    """Only the pod's group may read a token when it has one, as upstream does."""
    token = objects.tokens.get(path)
    if token is None:
        return ()
    return (File(path, token.encode(), 0o600 if pod.spec.security_context.fs_group is not None else mode),)


def _from_config_map(volume: str, source: ConfigMapVolume, objects: Objects) -> tuple[File, ...]:
    found = objects.config_maps.get(source.name)
    if found is None:
        if source.optional:
            return ()
        raise VolumeProblem(volume, f'configmap "{source.name}" not found')
    data = {key: value.encode() for key, value in found.data.items()}
    data |= {key: base64.b64decode(value) for key, value in found.binary_data.items()}
    return _pick(volume, "configmap", data, source.items, source.default_mode, optional=source.optional)


def _from_secret(volume: str, source: SecretVolume, objects: Objects) -> tuple[File, ...]:
    found = objects.secrets.get(source.secret_name)
    if found is None:
        if source.optional:
            return ()
        raise VolumeProblem(volume, f'secret "{source.secret_name}" not found')
    data = {key: base64.b64decode(value) for key, value in found.data.items()}
    return _pick(volume, "secret", data, source.items, source.default_mode, optional=source.optional)


def _pick(
    volume: str, noun: str, data: Mapping[str, bytes], items: tuple[KeyToPath, ...], mode: int, *, optional: bool
) -> tuple[File, ...]:
    """All keys, or those that are listed."""
    if not items:
        return tuple(File(key, value, mode) for key, value in sorted(data.items()))
    missing = [item.key for item in items if item.key not in data]
    if missing and not optional:
        raise VolumeProblem(volume, f"{noun} references non-existent {_noun_of_key(noun)} key: {missing[0]}")
    present = [item for item in items if item.key in data]
    return tuple(File(item.path, data[item.key], mode if item.mode is None else item.mode) for item in present)


def _noun_of_key(noun: str) -> str:
    return "config" if noun == "configmap" else noun


def _from_downward(pod: Pod, items: tuple[DownwardFile, ...], mode: int, objects: Objects) -> tuple[File, ...]:
    return tuple(
        File(item.path, _text(pod, item, objects).encode(), mode if item.mode is None else item.mode) for item in items
    )


def _text(pod: Pod, item: DownwardFile, objects: Objects) -> str:
    if item.field_ref is not None:
        return field_text(pod, item.field_ref.field_path, ip=objects.ip, host_ip=objects.host_ip)
    if item.resource_field_ref is not None:
        return resource_text(pod, None, item.resource_field_ref, objects.allocatable)
    return ""
