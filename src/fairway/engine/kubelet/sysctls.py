"""Which settings of the kernel a pod may have: those of its own namespaces that harm no other pod (pure).

Source: https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/#safe-and-unsafe-sysctls
"""

from fairway.kube.api.pods import Pod

SAFE = frozenset(
    [
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    ]
)


def forbidden(pod: Pod) -> str:
    """Why the node does not take the pod, in the kubelet's words; empty when it does."""
    for name, _ in wanted(pod):
        if name not in SAFE:
            return f'forbidden sysctl: "{name}" not allowlisted'
        if pod.spec.host_network and name.startswith("net."):
            return f'forbidden sysctl: "{name}" not allowed with host net enabled'
    return ""


def wanted(pod: Pod) -> tuple[tuple[str, str], ...]:
    """Names with dots, and values."""
    return tuple((each.name.replace("/", "."), each.value) for each in pod.spec.security_context.sysctls)
