"""The files that every container finds in /etc: hosts, hostname and resolv.conf (pure)."""

from collections.abc import Iterable

from fairway.kube.api.pods import HostAlias, Pod, PodDnsConfig

_OPTIONS = ("ndots:5",)


def hostname(pod: Pod) -> str:
    """The host name: the node's on its network, else the spec's, else the pod's own, cut to what Linux can hold."""
    if pod.spec.host_network:
        return pod.spec.node_name
    return (pod.spec.hostname or pod.metadata.name)[:63].rstrip("-.")


def domain(pod: Pod, cluster_domain: str) -> str:
    """The pod's own DNS domain, when it has a subdomain."""
    if not pod.spec.subdomain:
        return ""
    return f"{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{cluster_domain}"


def hosts(pod: Pod, ip: str, cluster_domain: str) -> str:
    """/etc/hosts as the kubelet writes it."""
    name, own_domain = hostname(pod), domain(pod, cluster_domain)
    names = f"{name}.{own_domain}\t{name}" if own_domain else name
    lines = [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
        f"{ip}\t{names}",
    ]
    return "\n".join([*lines, *_aliases(pod.spec.host_aliases)]) + "\n"


def node_hosts(pod: Pod, node_text: str) -> str:
    """/etc/hosts of a pod on the node's network: the node's own, with the pod's aliases."""
    lines = ["# Kubernetes-managed hosts file (host network).", node_text.rstrip("\n")]
    return "\n".join([*lines, *_aliases(pod.spec.host_aliases)]) + "\n"


def dns_policy(pod: Pod) -> str:
    """The policy that applies: on the node's network ClusterFirst means Default unless it says WithHostNet."""
    policy = pod.spec.dns_policy
    return "Default" if pod.spec.host_network and policy == "ClusterFirst" else policy


def _aliases(aliases: Iterable[HostAlias]) -> list[str]:
    lines = [f"{alias.ip}\t" + "\t".join(alias.hostnames) for alias in aliases]
    return ["", "# Entries added by HostAliases.", *lines] if lines else []


def resolv_conf(pod: Pod, *, cluster_dns: str, cluster_domain: str, node_text: str) -> str:
    """/etc/resolv.conf by dnsPolicy; `node_text` is the node's own file, for the policy Default."""
    servers, searches, options = _base(pod, cluster_dns, cluster_domain, node_text)
    extra = pod.spec.dns_config or PodDnsConfig()
    servers += [each for each in extra.nameservers if each not in servers]
    searches += [each for each in extra.searches if each not in searches]
    options = _merged(options, extra)
    lines = [f"search {' '.join(searches)}"] if searches else []
    lines += [f"nameserver {server}" for server in servers[:3]]
    lines += [f"options {' '.join(options)}"] if options else []
    return "\n".join(lines) + "\n"


def _base(pod: Pod, dns: str, cluster_domain: str, node_text: str) -> tuple[list[str], list[str], list[str]]:
    if dns_policy(pod) == "None":
        return [], [], []
    servers, searches, options = _parsed(node_text)
    if dns_policy(pod) == "Default":
        return servers, searches, options
    own = [f"{pod.metadata.namespace}.svc.{cluster_domain}", f"svc.{cluster_domain}", cluster_domain]
    return [dns], own, list(_OPTIONS)  # the machine's own search domains stay out: they differ from machine to machine


def _parsed(text: str) -> tuple[list[str], list[str], list[str]]:
    found: dict[str, list[str]] = {"nameserver": [], "search": [], "options": []}
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        if word == "nameserver":
            found[word] += rest[:1]
        elif word in ("search", "options"):
            found[word] = rest  # the last line wins
    return found["nameserver"], found["search"], found["options"]


def _merged(options: list[str], extra: PodDnsConfig) -> list[str]:
    """Options of the pod replace those of the same name."""
    merged = {option.partition(":")[0]: option for option in options}
    for option in extra.options:
        merged[option.name] = f"{option.name}:{option.value}" if option.value is not None else option.name
    return list(merged.values())
