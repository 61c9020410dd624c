"""What pods of a repository's own manifests may not ask for: the Pod Security Standards' level `baseline`.

Fairway applies these manifests with rights of its own, so whoever may push must not become root of the node by a push.
Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
"""

from collections.abc import Iterator, Mapping
from typing import Any

_CAPABILITIES = frozenset(
    [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ]
)
_SYSCTLS = frozenset(
    [
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
    ]
)
_HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC")
Raw = Mapping[str, Any]


def violations(pod: Raw) -> Iterator[str]:
    """Fields of a pod's spec that go too far, each as `path: why`."""
    for field in _HOST_FIELDS:
        if pod.get(field):
            yield f"{field}: pods stay in namespaces of their own"
    for volume in _maps(pod.get("volumes")):
        if "hostPath" in volume:
            yield f"volumes[{volume.get('name')}].hostPath: the node's files are not for Apps"
    context = pod.get("securityContext")
    if isinstance(context, Mapping):
        yield from _context("securityContext", context)
        for sysctl in _maps(context.get("sysctls")):
            if sysctl.get("name") not in _SYSCTLS:
                yield f"securityContext.sysctls[{sysctl.get('name')}]: not a safe sysctl"
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for container in _maps(pod.get(group)):
            yield from _container(f"{group}[{container.get('name')}]", container)


def _container(path: str, container: Raw) -> Iterator[str]:
    for port in _maps(container.get("ports")):
        if port.get("hostPort"):
            yield f"{path}.ports.hostPort: use a Service"
    context = container.get("securityContext")
    if not isinstance(context, Mapping):
        return
    yield from _context(f"{path}.securityContext", context)
    if context.get("privileged"):
        yield f"{path}.securityContext.privileged: no container of an App is privileged"
    if context.get("procMount", "Default") != "Default":
        yield f"{path}.securityContext.procMount: must be Default"
    capabilities = context.get("capabilities")
    added = capabilities.get("add") if isinstance(capabilities, Mapping) else None
    for name in added if isinstance(added, list) else ():
        if name not in _CAPABILITIES:
            yield f"{path}.securityContext.capabilities.add: {name} is not allowed"


def _context(path: str, context: Raw) -> Iterator[str]:
    for field in ("seccompProfile", "appArmorProfile"):
        profile = context.get(field)
        if isinstance(profile, Mapping) and profile.get("type") == "Unconfined":
            yield f"{path}.{field}.type: must not be Unconfined"
    options = context.get("windowsOptions")
    if isinstance(options, Mapping) and options.get("hostProcess"):
        yield f"{path}.windowsOptions.hostProcess: must be false"


def _maps(value: Any) -> Iterator[Raw]:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, Mapping):
            yield item
