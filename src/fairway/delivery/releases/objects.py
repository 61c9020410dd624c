"""The objects of Releases: which kinds they may be, how they are named, and what of a live one matters here."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from fairway.delivery.kinds.resources import APP_LABEL, ENVIRONMENT_LABEL, MANAGED_BY, MANAGED_BY_LABEL
from fairway.kube.api.meta import ObjectKey, ObjectMeta
from fairway.kube.api.noun import Noun
from fairway.kube.api.resource import (
    CONFIG_MAPS,
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    INGRESSES,
    JOBS,
    PERSISTENT_VOLUME_CLAIMS,
    POD_DISRUPTION_BUDGETS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
    Resource,
)

Raw = dict[str, Any]
Manifest = Mapping[str, Any]
Manifests = tuple[Manifest, ...]

NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")

# In the order in which they are applied: what pods need comes before them, what sends traffic to them after.
_KINDS = (
    SERVICE_ACCOUNTS,
    CONFIG_MAPS,
    SECRETS,
    PERSISTENT_VOLUME_CLAIMS,
    NETWORK_POLICIES,
    SERVICES,
    DEPLOYMENTS,
    STATEFUL_SETS,
    DAEMON_SETS,
    JOBS,
    CRON_JOBS,
    HORIZONTAL_POD_AUTOSCALERS,
    POD_DISRUPTION_BUDGETS,
    INGRESSES,
)
ALLOWED = {(resource.api_version, resource.kind): resource for resource in _KINDS}
_ORDER = {resource: number for number, resource in enumerate(_KINDS)}


class Name(msgspec.Struct, frozen=True):
    """One object of a Release, inside its namespace."""

    resource: Resource
    name: str

    def __str__(self) -> str:
        return f"{self.resource.kind} {self.name}"


class Place(msgspec.Struct, frozen=True):
    """An App's environment: there is one row of Releases for each."""

    namespace: str
    app: str
    environment: str

    @property
    def key(self) -> ObjectKey:
        """The App's."""
        return ObjectKey(self.namespace, self.app)

    @property
    def labels(self) -> dict[str, str]:
        """What all objects of this place carry."""
        return {MANAGED_BY_LABEL: MANAGED_BY, APP_LABEL: self.app, ENVIRONMENT_LABEL: self.environment}

    @property
    def selector(self) -> str:
        """`labels` as a query."""
        return ",".join(f"{name}={value}" for name, value in self.labels.items())

    def __str__(self) -> str:
        return f"{self.namespace}/{self.app} {self.environment}"


class ManagedFields(Noun, frozen=True):
    """Which fields a manager wrote (metav1.ManagedFieldsEntry)."""

    manager: str = ""
    operation: str = ""
    subresource: str = ""
    fields_v1: Mapping[str, Any] = msgspec.field(name="fieldsV1", default={})


class LiveMeta(ObjectMeta, frozen=True):
    managed_fields: tuple[ManagedFields, ...] = ()


class Live(Noun, frozen=True):
    """An object of a Release as it is in the cluster."""

    metadata: LiveMeta = LiveMeta()


def place_of(namespace: str, labels: Mapping[str, str]) -> Place | None:
    """The place that labels tell of, if they do."""
    if labels.get(MANAGED_BY_LABEL) != MANAGED_BY or APP_LABEL not in labels:
        return None
    return Place(namespace, labels[APP_LABEL], labels.get(ENVIRONMENT_LABEL, ""))


def name_of(manifest: Manifest) -> Name:
    """Raises KeyError for a kind that no Release may have."""
    return Name(ALLOWED[manifest["apiVersion"], manifest["kind"]], manifest["metadata"]["name"])


def in_order(manifests: Iterable[Manifest]) -> Manifests:
    """As they are to be applied."""
    return tuple(sorted(manifests, key=lambda one: _ORDER[name_of(one).resource]))


def pod_template(manifest: Manifest) -> Manifest | None:
    """The template of the pods that an object makes, if it makes pods."""
    spec = manifest.get("spec") or {}
    if manifest["kind"] == CRON_JOBS.kind:
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    template = spec.get("template")
    return template if isinstance(template, Mapping) else None


def hosts_of(manifests: Iterable[Manifest]) -> tuple[str, ...]:
    """The hosts that the Ingresses among them serve."""
    found = (
        rule.get("host", "")
        for one in manifests
        if one["kind"] == INGRESSES.kind
        for rule in (one.get("spec") or {}).get("rules") or ()
    )
    return tuple(dict.fromkeys(host for host in found if host))
