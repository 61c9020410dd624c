"""Variables as they are now, in a Secret that never changes: going back to a Release brings them back."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fairway.delivery.kinds.apps import App, Environment, Variable, object_name
from fairway.delivery.kinds.resources import FIELD_MANAGER
from fairway.delivery.releases.objects import Place
from fairway.delivery.releases.world import Problem, ReleaseWorld
from fairway.kube.api.config import ConfigMap, Secret
from fairway.kube.api.meta import timestamp
from fairway.kube.api.noun import decode
from fairway.kube.api.resource import CONFIG_MAPS, SECRETS, Resource
from fairway.kube.client.errors import NotFound

CONFIGURATION_LABEL = "fairway.dev/configuration"
SECRET_NAMES = "fairway.dev/secret-variables"
"""Which of the variables came from a Secret: they are masked in logs and never shown."""
FROZEN_AT = "fairway.dev/frozen-at"
_BYTES_MAX = 900_000
_REFERENCE = re.compile(r"\$(?:\$|\(([-._A-Za-z][-._A-Za-z0-9]*)\))")


class Frozen(msgspec.Struct, frozen=True):
    """Values by name; which of them are secret; and variables that only a running pod can know."""

    values: Mapping[str, bytes] = {}
    secret: tuple[str, ...] = ()
    pod_variables: tuple[Mapping[str, Any], ...] = ()

    def name(self, prefix: str) -> str:
        """The name of the Secret that holds it, told from its content; "" when there is nothing to hold."""
        if not self.values:
            return ""
        content = msgspec.json.encode(
            {"values": {name: base64.b64encode(self.values[name]).decode() for name in sorted(self.values)}}
        )
        return f"{prefix}-env-{hashlib.sha256(content).hexdigest()[:8]}"


async def resolve(world: ReleaseWorld, app: App, environment: Environment) -> Frozen | Problem:
    """Read everything that the variables refer to. Later ones win: whole Secrets first, then `env` in its order."""
    reader = _Reader(world, app.metadata.namespace)
    values: dict[str, bytes] = {}
    secret: set[str] = set()
    left: list[Mapping[str, Any]] = []
    for name in environment.secrets:
        data = await reader.read(SECRETS, name)
        if data is None:
            return Problem(f'Secret "{name}" of spec.secrets does not exist in {app.metadata.namespace}; create it')
        values |= data
        secret |= data.keys()
    for variable in environment.env:
        found = await _value(reader, variable, values)
        match found:
            case Problem():
                return found
            case bytes():
                values[variable.name] = found
                secret = secret | {variable.name} if _is_secret(variable) else secret - {variable.name}
            case Mapping():
                left.append(found)
    if sum(len(value) for value in values.values()) > _BYTES_MAX:
        return Problem(
            f"the variables of {environment.name} are larger than {_BYTES_MAX} bytes; mount a volume instead"
        )
    return Frozen(values, tuple(sorted(secret)), tuple(left))


async def store(world: ReleaseWorld, app: App, environment: Environment, frozen: Frozen) -> str:
    """Write the Secret and return its name. The time on it keeps it from being cleared away before its Release is."""
    name = frozen.name(object_name(app.metadata.name, environment.name))
    if not name:
        return ""
    metadata = app.metadata
    place = Place(metadata.namespace, metadata.name, environment.name)
    await world.client.apply(
        SECRETS,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {
                "name": name,
                "namespace": metadata.namespace,
                "labels": {**place.labels, CONFIGURATION_LABEL: "frozen"},
                "annotations": {
                    FROZEN_AT: timestamp(world.clock.now()),
                    SECRET_NAMES: ",".join(frozen.secret),
                },
                "ownerReferences": [owner(app)],
            },
            "immutable": True,
            "data": {key: base64.b64encode(value).decode() for key, value in frozen.values.items()},
        },
        field_manager=FIELD_MANAGER,
    )
    return name


def owner(app: App) -> dict[str, Any]:
    """The reference by which what belongs to an App goes with it."""
    return {
        "apiVersion": "fairway.dev/v1alpha1",
        "kind": "App",
        "name": app.metadata.name,
        "uid": app.metadata.uid,
    }


class _Reader:
    """Secrets and ConfigMaps of one namespace, each read once."""

    def __init__(self, world: ReleaseWorld, namespace: str) -> None:
        self._client = world.client
        self._namespace = namespace
        self._seen: dict[tuple[Resource, str], dict[str, bytes] | None] = {}

    async def read(self, resource: Resource, name: str) -> dict[str, bytes] | None:
        """What an object holds, or None when there is none."""
        if (resource, name) not in self._seen:
            self._seen[resource, name] = await self._get(resource, name)
        return self._seen[resource, name]

    async def _get(self, resource: Resource, name: str) -> dict[str, bytes] | None:
        try:
            raw = await self._client.get(resource, name, self._namespace)
        except NotFound:
            return None
        if resource is SECRETS:
            return {key: base64.b64decode(value) for key, value in decode(Secret, raw).data.items()}
        found = decode(ConfigMap, raw)
        binary = {key: base64.b64decode(value) for key, value in found.binary_data.items()}
        return binary | {key: value.encode() for key, value in found.data.items()}


async def _value(
    reader: _Reader, variable: Variable, before: Mapping[str, bytes]
) -> bytes | Problem | Mapping[str, Any] | None:
    """Its value, what is wrong, the variable itself when only a pod can tell, or None: optional and absent."""
    source = variable.value_from
    if not source:
        return expand(variable.value, before).encode("utf-8", "surrogateescape")
    for field, resource in (("secretKeyRef", SECRETS), ("configMapKeyRef", CONFIG_MAPS)):
        if isinstance(reference := source.get(field), Mapping):
            return await _referred(reader, variable.name, field, resource, reference)
    if source.keys() <= {"fieldRef", "resourceFieldRef"}:
        return {"name": variable.name, "valueFrom": source}
    known = "secretKeyRef, configMapKeyRef, fieldRef or resourceFieldRef"
    return Problem(f"env {variable.name}: valueFrom knows {known}, not {', '.join(sorted(source))}")


async def _referred(
    reader: _Reader, variable: str, field: str, resource: Resource, reference: Mapping[str, Any]
) -> bytes | Problem | None:
    name, key = str(reference.get("name", "")), str(reference.get("key", ""))
    data = await reader.read(resource, name) if name else None
    if data is not None and key in data:
        return data[key]
    if reference.get("optional") is True:
        return None
    if data is None:
        return Problem(f'env {variable}: valueFrom.{field}: there is no {resource.kind} "{name}"; create it')
    has = ", ".join(sorted(data)) or "none"
    return Problem(f'env {variable}: valueFrom.{field}: {resource.kind} "{name}" has no key "{key}" (it has: {has})')


def _is_secret(variable: Variable) -> bool:
    return bool(variable.value_from and "secretKeyRef" in variable.value_from)


def expand(text: str, values: Mapping[str, bytes]) -> str:
    """`$(NAME)` of variables before it, as the kubelet does for `env`: `$$` is `$`, what is unknown stays."""

    def one(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "$"
        return values[name].decode("utf-8", "surrogateescape") if name in values else found[0]

    return _REFERENCE.sub(one, text)


def masked(text: str, hidden: Sequence[bytes]) -> str:
    """The text without the values, and without the lines of values that have several."""
    parts = {line for value in hidden for line in (value.decode("utf-8", "replace").strip(), *_lines(value))}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _MASKED_LENGTH_MIN:
            text = text.replace(part, "***")
    return text


def hidden_values(secret: Secret) -> tuple[bytes, ...]:
    """The values of a frozen Secret that must not be shown."""
    names = secret.metadata.annotations.get(SECRET_NAMES, "").split(",")
    return tuple(base64.b64decode(secret.data[name]) for name in names if name in secret.data)


def _lines(value: bytes) -> list[str]:
    return [line.strip() for line in value.decode("utf-8", "replace").splitlines()]


_MASKED_LENGTH_MIN = 3
