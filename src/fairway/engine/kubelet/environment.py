"""The environment and command line of a container (pure)."""

import base64
import re
from collections.abc import Iterable, Mapping

import msgspec

from fairway.engine.kubelet.errors import StartRefused
from fairway.engine.kubelet.fields import field_text, resource_text
from fairway.kube.api.config import ConfigMap, Secret
from fairway.kube.api.pods import Container, EnvFromSource, EnvVar, EnvVarSource, KeySelector, Pod
from fairway.kube.api.services import Service

_VARIABLE = re.compile(r"\$(\$|\(([^)]*)\))")
_NAME = re.compile(r"^[^=\0]+$")
_REFUSED = "CreateContainerConfigError"


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """What variables are made from; ConfigMaps and Secrets by name, only those of the pod's namespace."""

    config_maps: Mapping[str, ConfigMap] = {}
    secrets: Mapping[str, Secret] = {}
    services: tuple[Service, ...] = ()
    allocatable: Mapping[str, str] = {}
    ip: str = ""
    host_ip: str = ""


def environment(pod: Pod, container: Container, sources: Sources) -> dict[str, str]:
    """envFrom, then env, then the addresses of Services, which never hide the others.

    Raises StartRefused with upstream's text for a reference to something that is not there.
    """
    services = service_variables(pod, sources.services)
    made: dict[str, str] = {}
    for source in container.env_from:
        made |= _from_source(source, sources)
    for variable in container.env:
        value = _value(pod, container, variable, sources, {**services, **made})
        if value is not None:
            made[variable.name] = value
    return {**made, **{name: value for name, value in services.items() if name not in made}}


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)`; an unknown name stays as written and `$$(NAME)` means `$(NAME)`.

    Source: k8s.io/kubernetes/third_party/forked/golang/expansion.
    """

    def replace(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return variables.get(match[2], match[0])

    return _VARIABLE.sub(replace, text)


def command_line(
    container: Container, variables: Mapping[str, str], entrypoint: Iterable[str], cmd: Iterable[str]
) -> tuple[str, ...]:
    """What to run: `command` replaces the image's entrypoint and its arguments, `args` only the arguments.

    Raises StartRefused when nothing is left to run.
    """
    command = container.command or tuple(entrypoint)
    arguments = container.args or (() if container.command else tuple(cmd))
    line = tuple(expand(word, variables) for word in (*command, *arguments))
    if not line:
        message = (
            f'no command specified: set spec.containers[name="{container.name}"].command, or use an image with one'
        )
        raise StartRefused("CreateContainerError", message)
    return line


def config_map_names(container: Container) -> set[str]:
    """The ConfigMaps that the variables of a container refer to."""
    keys = {_source(each).config_map_key_ref for each in container.env}
    every = {source.config_map_ref for source in container.env_from}
    return {reference.name for reference in (*keys, *every) if reference is not None}


def secret_names(container: Container) -> set[str]:
    """The Secrets that the variables of a container refer to."""
    keys = {_source(each).secret_key_ref for each in container.env}
    every = {source.secret_ref for source in container.env_from}
    return {reference.name for reference in (*keys, *every) if reference is not None}


def service_variables(pod: Pod, services: Iterable[Service]) -> dict[str, str]:
    """`NAME_SERVICE_HOST` and the docker-links style ones; the API's own Service is always there."""
    made: dict[str, str] = {}
    for service in sorted(services, key=lambda each: each.metadata.key):
        address = service.spec.cluster_ip
        if address in ("", "None") or not service.spec.ports:
            continue
        key = service.metadata.key
        is_api = key == ("default", "kubernetes")
        if is_api or (pod.spec.enable_service_links and key.namespace == pod.metadata.namespace):
            made |= _links(service, address)
    return made


def _links(service: Service, address: str) -> dict[str, str]:
    prefix = service.metadata.name.upper().replace("-", "_")
    ports = service.spec.ports
    made = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0].port)}
    for port in ports:
        if port.name:
            made[f"{prefix}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(port.port)
    for index, port in enumerate(ports):
        url = f"{port.protocol.lower()}://{address}:{port.port}"
        link = f"{prefix}_PORT_{port.port}_{port.protocol.upper()}"
        if index == 0:
            made[f"{prefix}_PORT"] = url
        made |= {link: url, f"{link}_PROTO": port.protocol.lower(), f"{link}_PORT": str(port.port)}
        made[f"{link}_ADDR"] = address
    return made


def _source(variable: EnvVar) -> EnvVarSource:
    return variable.value_from or EnvVarSource()


def _from_source(source: EnvFromSource, sources: Sources) -> dict[str, str]:
    values: Mapping[str, str] = {}
    if reference := source.config_map_ref:
        config_map = sources.config_maps.get(reference.name)
        if config_map is None and not reference.optional:
            raise StartRefused(_REFUSED, f'configmap "{reference.name}" not found')
        values = config_map.data if config_map is not None else {}
    elif reference := source.secret_ref:
        secret = sources.secrets.get(reference.name)
        if secret is None and not reference.optional:
            raise StartRefused(_REFUSED, f'secret "{reference.name}" not found')
        values = {key: _plain(value) for key, value in secret.data.items()} if secret is not None else {}
    return {source.prefix + key: value for key, value in values.items() if _NAME.match(source.prefix + key)}


def _plain(value: str) -> str:
    return base64.b64decode(value).decode("utf-8", "surrogateescape")


def _value(pod: Pod, container: Container, variable: EnvVar, sources: Sources, known: Mapping[str, str]) -> str | None:
    """The value of one variable; None leaves it out (an optional reference to nothing)."""
    source = variable.value_from
    if source is None:
        return expand(variable.value, known)
    if source.field_ref is not None:
        return field_text(pod, source.field_ref.field_path, ip=sources.ip, host_ip=sources.host_ip)
    if source.resource_field_ref is not None:
        return resource_text(pod, container, source.resource_field_ref, sources.allocatable)
    if source.config_map_key_ref is not None:
        config_map = sources.config_maps.get(source.config_map_key_ref.name)
        return _key(pod, "configmap", "ConfigMap", source.config_map_key_ref, config_map.data if config_map else None)
    if source.secret_key_ref is not None:
        secret = sources.secrets.get(source.secret_key_ref.name)
        found = _key(pod, "secret", "Secret", source.secret_key_ref, secret.data if secret else None)
        return None if found is None else _plain(found)
    return ""


def _key(pod: Pod, noun: str, kind: str, reference: KeySelector, data: Mapping[str, str] | None) -> str | None:
    if data is not None and reference.key in data:
        return data[reference.key]
    if reference.optional:
        return None
    if data is None:
        raise StartRefused(_REFUSED, f'{noun} "{reference.name}" not found')
    where = f"{pod.metadata.namespace}/{reference.name}"
    raise StartRefused(_REFUSED, f"couldn't find key {reference.key} in {kind} {where}")
