"""What is wrong with a pod specification, in a Pod as in a template (core/v1 validation)."""

import ipaddress

from fairway.engine.apiserver.resources import causes, names
from fairway.engine.apiserver.resources.containers import Surroundings, validate_containers
from fairway.engine.apiserver.resources.kind import Cause, Object
from fairway.engine.apiserver.resources.metadata import validate_maps
from fairway.engine.apiserver.resources.placement import validate_placement
from fairway.engine.apiserver.resources.security import validate_pod_security
from fairway.engine.apiserver.resources.volumes import validate_volumes

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
PREEMPTION_POLICIES = ("Never", "PreemptLowerPriority")
IP_SAYS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
INT32_MAX = 2**31 - 1


def validate_pod_spec(spec: Object, field: str) -> list[Cause]:
    """All causes at once, `field` being `spec` or the path of a template's."""
    return [
        *validate_volumes(spec.get("volumes") or (), f"{field}.volumes"),
        *validate_containers(spec, field, surroundings(spec)),
        *causes.one_of(f"{field}.restartPolicy", spec.get("restartPolicy"), RESTART_POLICIES),
        *causes.one_of(f"{field}.dnsPolicy", spec.get("dnsPolicy"), DNS_POLICIES),
        *causes.one_of(f"{field}.preemptionPolicy", spec.get("preemptionPolicy"), PREEMPTION_POLICIES, needed=False),
        *validate_placement(spec, field),
        *validate_pod_security(spec.get("securityContext"), f"{field}.securityContext"),
        *_names(spec, field),
        *_host_aliases(spec, f"{field}.hostAliases"),
        *_dns(spec, f"{field}.dnsConfig"),
        *_gates(spec, field),
        *_deadline(spec, f"{field}.activeDeadlineSeconds"),
    ]


def surroundings(spec: Object) -> Surroundings:
    """What the rules for a container must know about its pod."""
    return Surroundings(
        {volume.get("name"): volume for volume in spec.get("volumes") or ()},
        spec.get("terminationGracePeriodSeconds") or 0,
        bool(spec.get("hostNetwork")),
    )


def validate_template(template: Object | None, field: str) -> list[Cause]:
    """A PodTemplateSpec of a workload whose pods run for ever."""
    template = template or {}
    spec = template.get("spec") or {}
    metadata = template.get("metadata") or {}
    found = validate_maps(metadata, f"{field}.metadata") + validate_pod_spec(spec, f"{field}.spec")
    if spec.get("ephemeralContainers"):
        says = "ephemeral containers not allowed in pod template"
        found.append(causes.forbidden(f"{field}.spec.ephemeralContainers", says))
    return found


def validate_running_template(template: Object | None, field: str) -> list[Cause]:
    """A template of pods that are always restarted: Deployment, ReplicaSet, StatefulSet, DaemonSet."""
    spec = (template or {}).get("spec") or {}
    found = validate_template(template, field)
    if spec.get("restartPolicy") not in ("Always", None, ""):
        found.append(causes.unsupported(f"{field}.spec.restartPolicy", spec["restartPolicy"], ("Always",)))
    if spec.get("activeDeadlineSeconds") is not None:
        says = "activeDeadlineSeconds in ReplicaSet is not Supported"
        found.append(causes.forbidden(f"{field}.spec.activeDeadlineSeconds", says))
    return found


def _names(spec: Object, field: str) -> list[Cause]:
    found: list[Cause] = []
    for key, rule in (
        ("serviceAccountName", names.dns_subdomain),
        ("nodeName", names.dns_subdomain),
        ("hostname", names.dns_label),
        ("subdomain", names.dns_label),
        ("priorityClassName", names.dns_subdomain),
        ("runtimeClassName", names.dns_subdomain),
        ("schedulerName", names.dns_subdomain),
    ):
        text = spec.get(key) or ""
        found += causes.invalid_each(f"{field}.{key}", text, rule(text)) if text else []
    return found


def _host_aliases(spec: Object, field: str) -> list[Cause]:
    found: list[Cause] = []
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        found += validate_address(alias.get("ip") or "", f"{field}[{index}].ip")
        for number, name in enumerate(alias.get("hostnames") or ()):
            found += causes.invalid_each(f"{field}[{index}].hostnames[{number}]", name, names.dns_subdomain(name))
    return found


def validate_address(text: str, field: str) -> list[Cause]:
    """An IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return [causes.invalid(field, text, IP_SAYS)]
    return []


def _dns(spec: Object, field: str) -> list[Cause]:
    settings = spec.get("dnsConfig") or {}
    servers, searches = settings.get("nameservers") or (), settings.get("searches") or ()
    found: list[Cause] = []
    if spec.get("dnsPolicy") == "None" and not servers:
        says = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        found.append(causes.required(f"{field}.nameservers", says))
    if len(servers) > 3:
        found.append(causes.invalid(f"{field}.nameservers", list(servers), "must not have more than 3 nameservers"))
    for index, server in enumerate(servers):
        found += validate_address(server, f"{field}.nameservers[{index}]")
    if len(searches) > 32:
        found.append(causes.invalid(f"{field}.searches", list(searches), "must not have more than 32 search paths"))
    for index, search in enumerate(searches):
        found += causes.invalid_each(f"{field}.searches[{index}]", search, _search_domain(search))
    for index, option in enumerate(settings.get("options") or ()):
        if not option.get("name"):
            found.append(causes.required(f"{field}.options[{index}]", "must not be empty"))
    return found


def _search_domain(search: str) -> list[str]:
    return [] if search == "." else names.dns_subdomain(search.removesuffix(".").replace("_", "-"))


def _gates(spec: Object, field: str) -> list[Cause]:
    found: list[Cause] = []
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        text = gate.get("conditionType") or ""
        found += causes.invalid_each(f"{field}.readinessGates[{index}].conditionType", text, names.qualified(text))
    seen: set[str] = set()
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        path, text = f"{field}.schedulingGates[{index}]", gate.get("name") or ""
        found += causes.invalid_each(path, text, names.qualified(text)) if text else [causes.required(path)]
        if text in seen:
            found.append(causes.duplicate(path, text))
        seen.add(text)
    return found


def _deadline(spec: Object, field: str) -> list[Cause]:
    seconds = spec.get("activeDeadlineSeconds")
    if seconds is None or 1 <= seconds <= INT32_MAX:
        return []
    return [causes.invalid(field, seconds, f"must be between 1 and {INT32_MAX}, inclusive")]
