"""What objects use of a ResourceQuota (documentation "Resource Quotas")."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from fairway.kube.api import quantities
from fairway.kube.api.noun import decode
from fairway.kube.api.pod_resources import ZERO, Amounts, limits, requests, total
from fairway.kube.api.pods import Pod
from fairway.kube.api.policies import ResourceQuota, ScopeRequirement
from fairway.kube.api.services import Service
from fairway.kube.api.statefulsets import PersistentVolumeClaim

PODS, SERVICES, CLAIMS = "pods", "services", "persistentvolumeclaims"
COMPUTE = ("cpu", "memory", "ephemeral-storage")
PLAIN = (
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
)
"""Resources of the core group that are counted under their own name."""
_CLASS_SUFFIX = ".storageclass.storage.k8s.io/"


def resource_of(name: str) -> str | None:
    """Which collection a quota name counts, as `plural` or `plural.group`; None when it measures pods."""
    if name.startswith("count/"):
        return name.removeprefix("count/")
    if name in ("services.nodeports", "services.loadbalancers"):
        return SERVICES
    if name == "requests.storage" or _CLASS_SUFFIX in name:
        return CLAIMS
    return name if name in PLAIN else None


def usage(resource: str, raw: Mapping[str, Any]) -> Amounts:
    """What one object of `resource` (`plural` or `plural.group`) uses, by quota name."""
    counted = {f"count/{resource}": Decimal(1)}
    if resource in PLAIN and resource != PODS:
        counted[resource] = Decimal(1)
    if resource == PODS:
        return {**counted, **pod_usage(decode(Pod, raw))}
    if resource == SERVICES:
        return {**counted, **_service_usage(decode(Service, raw))}
    if resource == CLAIMS:
        return {**counted, **_claim_usage(decode(PersistentVolumeClaim, raw))}
    return counted


def pod_usage(pod: Pod) -> Amounts:
    """A pod that has ended uses nothing but its place among the objects."""
    if pod.finished:
        return {}
    found: dict[str, Decimal] = {PODS: Decimal(1)}
    for name, amount in requests(pod).items():
        found[f"requests.{name}"] = amount
        if name in COMPUTE:
            found[name] = amount
    for name, amount in limits(pod).items():
        found[f"limits.{name}"] = amount
    return found


def unnamed(quota: ResourceQuota, pod: Pod) -> dict[str, list[str]]:
    """Compute resources that a quota limits, with the containers that say nothing about them."""
    wanted = [name for name in quota.spec.hard if _plain(name) in COMPUTE]
    found: dict[str, list[str]] = {}
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        for name in wanted:
            held = container.resources.limits if name.startswith("limits.") else container.resources.requests
            if _plain(name) not in held:
                found.setdefault(name, []).append(container.name)
    return found


def _plain(name: str) -> str:
    return name.removeprefix("requests.").removeprefix("limits.")


def in_scope(quota: ResourceQuota, resource: str, raw: Mapping[str, Any]) -> bool:
    """Whether a quota counts an object: one with scopes counts pods alone."""
    needed = [ScopeRequirement(scope_name=scope, operator="Exists") for scope in quota.spec.scopes]
    needed += quota.spec.scope_selector.match_expressions if quota.spec.scope_selector else ()
    if not needed:
        return True
    if resource != PODS:
        return False
    pod = decode(Pod, raw)
    return all(_in_scope(requirement, pod) for requirement in needed)


def used(quota: ResourceQuota, objects: Mapping[str, Iterable[Mapping[str, Any]]]) -> dict[str, Decimal]:
    """What all objects (raw, by resource) use of each name that the quota limits."""
    parts = (
        usage(resource, raw) for resource, items in objects.items() for raw in items if in_scope(quota, resource, raw)
    )
    summed = total(parts)
    return {name: summed.get(name, ZERO) for name in quota.spec.hard}


def best_effort(pod: Pod) -> bool:
    """Whether no container asks for, or is limited in, CPU or memory."""
    containers = (*pod.spec.init_containers, *pod.spec.containers)
    named = (name for item in containers for name in (*item.resources.requests, *item.resources.limits))
    return not any(name in ("cpu", "memory") for name in named)


def _in_scope(requirement: ScopeRequirement, pod: Pod) -> bool:
    match requirement.scope_name:
        case "Terminating":
            return pod.spec.active_deadline_seconds is not None
        case "NotTerminating":
            return pod.spec.active_deadline_seconds is None
        case "BestEffort":
            return best_effort(pod)
        case "NotBestEffort":
            return not best_effort(pod)
        case "PriorityClass":
            return _matches(requirement, pod.spec.priority_class_name)
        case "CrossNamespacePodAffinity":
            return _crosses_namespaces(pod)
    return False


def _matches(requirement: ScopeRequirement, value: str) -> bool:
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value != ""
        case "DoesNotExist":
            return value == ""
    return False


def _crosses_namespaces(pod: Pod) -> bool:
    affinity = pod.spec.affinity or {}
    terms: list[Mapping[str, Any]] = []
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms += rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        weighted = rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [item["podAffinityTerm"] for item in weighted if item.get("podAffinityTerm")]
    return any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms)


def _service_usage(service: Service) -> Amounts:
    balanced = service.spec.type == "LoadBalancer"
    exposed = service.spec.type == "NodePort" or balanced
    ports = len(service.spec.ports) if exposed else 0
    return {"services.nodeports": Decimal(ports), "services.loadbalancers": Decimal(int(balanced))}


def _claim_usage(claim: PersistentVolumeClaim) -> Amounts:
    size = quantities.parse(((claim.spec.get("resources") or {}).get("requests") or {}).get("storage", 0))
    found = {"requests.storage": size}
    if name := claim.spec.get("storageClassName"):
        found[f"{name}{_CLASS_SUFFIX}requests.storage"] = size
        found[f"{name}{_CLASS_SUFFIX}{CLAIMS}"] = Decimal(1)
    return found


def text(name: str, amount: Decimal) -> str:
    """An amount as a quantity: memory and storage in powers of 1024 where they fit, parts as thousandths."""
    if amount != amount.to_integral_value():
        return f"{int((amount * 1000).to_integral_value(rounding='ROUND_CEILING'))}m"
    number, unit = int(amount), ""
    if any(word in name for word in ("memory", "storage", "hugepages")) and not name.startswith("count/"):
        for larger in ("Ki", "Mi", "Gi", "Ti", "Pi"):
            if not number or number % 1024:
                break
            number, unit = number // 1024, larger
    return f"{number}{unit}"
