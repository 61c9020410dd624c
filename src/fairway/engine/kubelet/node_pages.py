"""What monitors read from a kubelet: `/metrics`, `/metrics/cadvisor`, `/metrics/resource` and `/stats/summary`.

Names and labels are those of the kubelet and of cAdvisor; the text is Prometheus' exposition 0.0.4. Pure.
"""

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

from fairway.engine.kubelet.machine import Machine
from fairway.engine.kubelet.metrics import Sample, Target
from fairway.engine.kubelet.network.traffic import Traffic
from fairway.engine.kubelet.runtime.usage import Usage
from fairway.kube.api import quantities
from fairway.kube.api.meta import timestamp

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Targets = tuple[Target, ...]
Json = dict[str, Any]
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_USAGE: tuple[tuple[str, str, str, Callable[[Usage], float]], ...] = (
    ("container_cpu_usage_seconds_total", "counter", "Processor time used.", lambda usage: usage.cpu_seconds),
    ("container_memory_working_set_bytes", "gauge", "Memory in use.", lambda usage: usage.memory_bytes),
    ("container_memory_usage_bytes", "gauge", "Memory, with all file pages.", lambda usage: usage.total_bytes),
    ("container_memory_rss", "gauge", "Anonymous memory.", lambda usage: usage.rss_bytes),
    ("container_memory_cache", "gauge", "File pages.", lambda usage: usage.cache_bytes),
)
_LINK = ("bytes", "packets", "errors", "packets_dropped")


def kubelet(targets: Targets, node: str, version: str) -> str:
    """`/metrics`: the kubelet's own."""
    pods = len({target.uid for target in targets})
    return "".join(
        (
            _family("kubelet_node_name", "gauge", "The node's name.", [({"node": node}, 1)]),
            _family("kubelet_running_pods", "gauge", "Pods with running containers.", [({}, pods)]),
            _family(
                "kubelet_running_containers", "gauge", "By state.", [({"container_state": "running"}, len(targets))]
            ),
            _family("kubernetes_build_info", "gauge", "The version.", [({"git_version": version}, 1)]),
        )
    )


def cadvisor(sample: Sample, targets: Targets, machine: Machine) -> str:
    """`/metrics/cadvisor`."""
    known = [(_labels(target), sample.containers[target.id]) for target in targets]
    everything = ({"container": "", "id": "/", "image": "", "name": "", "namespace": "", "pod": ""}, sample.node)
    parts = []
    for name, kind, words, value in _USAGE:
        more = {"cpu": "total"} if name.startswith("container_cpu") else {}
        parts.append(
            _family(name, kind, words, (({**labels, **more}, value(use)) for labels, use in [everything, *known]))
        )
    started = ((_labels(target), target.started_at.timestamp()) for target in targets)
    parts.append(_family("container_start_time_seconds", "gauge", "When it started.", started))
    parts.append(
        _family(
            "container_last_seen",
            "gauge",
            "When it was seen.",
            ((labels, sample.at.timestamp()) for labels, _ in known),
        )
    )
    parts += _network(sample, targets)
    cores, memory = (float(quantities.parse(machine.capacity[name])) for name in ("cpu", "memory"))
    parts.append(_family("machine_cpu_cores", "gauge", "Processors.", [({}, cores)]))
    parts.append(_family("machine_memory_bytes", "gauge", "Memory.", [({}, memory)]))
    return "".join(parts)


def resource(sample: Sample, targets: Targets) -> str:
    """`/metrics/resource`, which metrics-server reads."""
    used = [(target, sample.containers[target.id]) for target in targets]
    named = [({"container": each.name, "namespace": each.namespace, "pod": each.pod}, use) for each, use in used]
    pods = [
        ({"namespace": space, "pod": pod}, _sum(use for _, use in group))
        for (space, pod), group in groupby(used, _place)
    ]
    starts = ((labels, target.started_at.timestamp()) for (labels, _), target in zip(named, targets, strict=True))
    cpu, memory = "Processor time used.", "Memory in use."
    parts = []
    for scope, rows in (("node", [({}, sample.node)]), ("container", named), ("pod", pods)):
        parts.append(
            _family(f"{scope}_cpu_usage_seconds_total", "counter", cpu, ((at, use.cpu_seconds) for at, use in rows))
        )
        parts.append(
            _family(f"{scope}_memory_working_set_bytes", "gauge", memory, ((at, use.memory_bytes) for at, use in rows))
        )
    parts.append(_family("container_start_time_seconds", "gauge", "When it started.", starts))
    parts.append(_family("resource_scrape_error", "gauge", "1 if there was an error.", [({}, 0)]))
    return "".join(parts)


def summary(
    sample: Sample, targets: Targets, nanocores: Callable[[Sample, Target | None], float], machine: Machine, node: str
) -> Json:
    """`/stats/summary`."""
    memory = float(quantities.parse(machine.capacity["memory"]))
    whole = _stats(sample, sample.node, nanocores(sample, None))
    whole["memory"]["availableBytes"] = max(0, int(memory) - sample.node.memory_bytes)
    return {
        "node": {"nodeName": node, **whole},
        "pods": [_pod(sample, tuple(group), nanocores) for _, group in groupby(targets, lambda each: each.uid)],
    }


def _pod(sample: Sample, targets: Targets, nanocores: Callable[[Sample, Target | None], float]) -> Json:
    first = targets[0]
    started = timestamp(min(target.started_at for target in targets))
    containers = [
        {
            "name": target.name,
            "startTime": timestamp(target.started_at),
            **_stats(sample, sample.containers[target.id], nanocores(sample, target)),
        }
        for target in targets
    ]
    all_of_it = _sum(sample.containers[target.id] for target in targets)
    found = {
        "podRef": {"name": first.pod, "namespace": first.namespace, "uid": first.uid},
        "startTime": started,
        "containers": containers,
        **_stats(sample, all_of_it, sum(nanocores(sample, target) for target in targets)),
    }
    if (link := sample.links.get(first.sandbox)) is not None:
        found["network"] = {"time": timestamp(sample.at), **_interface(link), "interfaces": [_interface(link)]}
    return found


def _interface(link: Traffic) -> Json:
    received, sent = link.received, link.sent
    return {
        "name": "eth0",
        "rxBytes": received[0],
        "rxErrors": received[2],
        "txBytes": sent[0],
        "txErrors": sent[2],
    }


def _stats(sample: Sample, usage: Usage, nanocores: float) -> Json:
    at = timestamp(sample.at)
    cpu = {"time": at, "usageNanoCores": round(nanocores), "usageCoreNanoSeconds": round(usage.cpu_seconds * 1e9)}
    memory = {
        "time": at,
        "usageBytes": usage.total_bytes,
        "workingSetBytes": usage.memory_bytes,
        "rssBytes": usage.rss_bytes,
    }
    return {"cpu": cpu, "memory": memory}


def _network(sample: Sample, targets: Targets) -> list[str]:
    rows = []
    for _, group in groupby(targets, lambda each: each.uid):
        target = next(group)
        if (link := sample.links.get(target.sandbox)) is not None:
            labels = {**_labels(target), "container": "", "image": "", "name": target.sandbox, "interface": "eth0"}
            rows.append((labels, link))
    parts = []
    for place, what in enumerate(_LINK):
        received = [(labels, link.received[place]) for labels, link in rows]
        sent = [(labels, link.sent[place]) for labels, link in rows]
        words = what.replace("_", " ")
        parts.append(_family(f"container_network_receive_{what}_total", "counter", f"Received {words}.", received))
        parts.append(_family(f"container_network_transmit_{what}_total", "counter", f"Sent {words}.", sent))
    return parts


def _labels(target: Target) -> dict[str, str]:
    return {
        "container": target.name,
        "id": f"/{target.group.cgroup}" if target.group.cgroup else f"/{target.id}",
        "image": target.image,
        "name": target.id,
        "namespace": target.namespace,
        "pod": target.pod,
    }


def _place(used: tuple[Target, Usage]) -> tuple[str, str]:
    return used[0].namespace, used[0].pod


def _sum(usages: Iterable[Usage]) -> Usage:
    every = list(usages)
    return Usage(
        sum(use.cpu_seconds for use in every),
        sum(use.memory_bytes for use in every),
        sum(use.total_bytes for use in every),
        sum(use.rss_bytes for use in every),
        sum(use.cache_bytes for use in every),
    )


def _family(name: str, kind: str, words: str, rows: Iterable[tuple[dict[str, str], float]]) -> str:
    lines = [f"# HELP {name} {words}\n# TYPE {name} {kind}\n"]
    for labels, value in rows:
        named = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items())
        lines.append(f"{name}{{{named}}} {value!r}\n" if named else f"{name} {value!r}\n")
    return "".join(lines)
