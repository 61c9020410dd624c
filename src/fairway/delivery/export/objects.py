"""The objects of one environment, as they are given away: without what only means something to Fairway."""

from collections.abc import Mapping
from typing import Any

import msgspec

from fairway.delivery.kinds.apps import object_name
from fairway.delivery.kinds.resources import MANAGED_BY, MANAGED_BY_LABEL
from fairway.delivery.releases.objects import Manifest, Manifests, pod_template

Raw = dict[str, Any]
PLACEHOLDER = "CHANGE-ME"


class Exported(msgspec.Struct, frozen=True):
    """What one environment runs on. `left_out` are variables whose values are not told."""

    app: str
    environment: str
    manifests: Manifests
    image: str = ""
    configuration: str = ""
    variables: Mapping[str, str] = {}
    left_out: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return object_name(self.app, self.environment)

    @property
    def namespace(self) -> str:
        return str(self.manifests[0]["metadata"]["namespace"]) if self.manifests else "default"

    @property
    def secret_name(self) -> str:
        """The Secret with the variables: outside Fairway it may change, so its name tells no content."""
        return f"{self.name}-env"


def objects(one: Exported, *, with_namespace: bool) -> tuple[Raw, ...]:
    """The Secret with the variables, if there are any, and the manifests."""
    made = [_plain(one, manifest) for manifest in one.manifests]
    if one.configuration:
        made.insert(0, _secret(one))
    for raw in made:
        raw["metadata"].pop("namespace", None)
        if with_namespace:
            raw["metadata"] = {"name": raw["metadata"]["name"], "namespace": one.namespace, **raw["metadata"]}
    return tuple(made)


def base_name(one: Exported, name: str) -> str:
    """The name that an object has in production."""
    if name == one.name:
        return one.app
    return one.app + name.removeprefix(one.name) if name.startswith(f"{one.name}-") else name


def file_name(raw: Manifest) -> str:
    return f"{raw['kind'].lower()}-{raw['metadata']['name']}.yaml"


def _secret(one: Exported) -> Raw:
    values = {**one.variables, **dict.fromkeys(one.left_out, PLACEHOLDER)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": one.secret_name},
        "type": "Opaque",
        "stringData": dict(sorted(values.items())),
    }


def _plain(one: Exported, manifest: Manifest) -> Raw:
    raw: Raw = msgspec.json.decode(msgspec.json.encode(manifest))
    _forget_owner(raw["metadata"])
    template = pod_template(raw)
    if isinstance(template, dict):
        _forget_owner(template.get("metadata") or {})
    return _renamed(raw, one.configuration, one.secret_name) if one.configuration else raw


def _forget_owner(metadata: Raw) -> None:
    labels = metadata.get("labels")
    if isinstance(labels, dict) and labels.get(MANAGED_BY_LABEL) == MANAGED_BY:
        del labels[MANAGED_BY_LABEL]


def _renamed(value: Any, before: str, after: str) -> Any:
    """The same with every mention of one name as another."""
    if isinstance(value, dict):
        return {key: _renamed(item, before, after) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, before, after) for item in value]
    return after if value == before else value
