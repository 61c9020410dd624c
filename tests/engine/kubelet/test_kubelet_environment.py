"""Variables, command lines, generated files of /etc, identities and limits."""

from typing import Any

import pytest

from fairway.engine.kubelet import resources
from fairway.engine.kubelet.environment import Sources, command_line, environment, expand, service_variables
from fairway.engine.kubelet.errors import StartRefused
from fairway.engine.kubelet.etc_files import hostname, hosts, resolv_conf
from fairway.engine.kubelet.security import confinement, identity
from fairway.kube.api.config import ConfigMap, Secret
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Container, Pod
from fairway.kube.api.services import Service


def make(spec: dict[str, Any] | None = None, container: dict[str, Any] | None = None) -> tuple[Pod, Container]:
    body = {"name": "app", "image": "app", **(container or {})}
    metadata = {"name": "web", "namespace": "shop", "uid": "u1", "labels": {"app": "web", "tier": 'a"b'}}
    raw = {"metadata": metadata, "spec": {"containers": [body], "nodeName": "fairway", **(spec or {})}}
    pod = decode(Pod, raw)
    return pod, pod.spec.containers[0]


SOURCES = Sources(
    config_maps={"c": ConfigMap(data={"k": "v", "long.name": "x"})},
    secrets={"s": Secret(data={"p": "cGFzcw=="})},
    allocatable={"cpu": "2", "memory": "1024Ki"},
    ip="10.42.0.5",
    host_ip="10.42.0.1",
)


def source(**reference: Any) -> dict[str, Any]:
    return {"name": "A", "valueFrom": reference}


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        pytest.param({"env": [{"name": "A", "value": "1"}]}, {"A": "1"}, id="plain"),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)$$(A)"}, {"name": "C"}]},
            {"A": "1", "B": "1$(C)$(A)", "C": ""},
            id="only what comes before is expanded",
        ),
        pytest.param({"env": [source(configMapKeyRef={"name": "c", "key": "k"})]}, {"A": "v"}, id="config map key"),
        pytest.param({"env": [source(secretKeyRef={"name": "s", "key": "p"})]}, {"A": "pass"}, id="secret key"),
        pytest.param(
            {"env": [source(configMapKeyRef={"name": "no", "key": "k", "optional": True})]},
            {},
            id="optional",
        ),
        pytest.param(
            {"envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}], "env": [{"name": "B", "value": "$(P_k)"}]},
            {"P_k": "v", "P_long.name": "x", "B": "v"},
            id="whole config map with a prefix",
        ),
        pytest.param({"env": [source(fieldRef={"fieldPath": "status.podIP"})]}, {"A": "10.42.0.5"}, id="address"),
        pytest.param({"env": [source(fieldRef={"fieldPath": "metadata.labels['app']"})]}, {"A": "web"}, id="label"),
        pytest.param(
            {"env": [source(resourceFieldRef={"resource": "limits.cpu"})], "resources": {"limits": {"cpu": "1500m"}}},
            {"A": "2"},
            id="limit, rounded up",
        ),
        pytest.param(
            {"env": [source(resourceFieldRef={"resource": "limits.memory", "divisor": "1Ki"})]},
            {"A": "1024"},
            id="no limit is what the node has",
        ),
    ],
)
def test_environment(container: dict[str, Any], expected: dict[str, str]) -> None:
    pod, made = make(container=container)
    assert environment(pod, made, SOURCES) == expected


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"env": [source(configMapKeyRef={"name": "no", "key": "k"})]}, 'configmap "no" not found'),
        ({"env": [source(secretKeyRef={"name": "s", "key": "no"})]}, "couldn't find key no in Secret shop/s"),
        ({"envFrom": [{"secretRef": {"name": "no"}}]}, 'secret "no" not found'),
        ({"env": [source(fieldRef={"fieldPath": "spec.secrets"})]}, "unsupported fieldPath: spec.secrets"),
    ],
)
def test_a_broken_reference_is_named(container: dict[str, Any], message: str) -> None:
    pod, made = make(container=container)
    with pytest.raises(StartRefused) as refused:
        environment(pod, made, SOURCES)
    assert (refused.value.reason, refused.value.message) == ("CreateContainerConfigError", message)


def service(name: str, namespace: str = "shop", **spec: Any) -> Service:
    return decode(Service, {"metadata": {"name": name, "namespace": namespace}, "spec": spec})


def test_services_are_announced_unless_links_are_off() -> None:
    services = (
        service("my-db", clusterIP="10.96.0.9", ports=[{"port": 5432, "name": "p-g"}]),
        service("kubernetes", "default", clusterIP="10.96.0.1", ports=[{"port": 443, "name": "https"}]),
        service("other", "elsewhere", clusterIP="10.96.0.8", ports=[{"port": 1}]),
        service("headless", clusterIP="None", ports=[{"port": 1}]),
    )
    made = service_variables(make()[0], services)
    assert made["MY_DB_SERVICE_HOST"] == "10.96.0.9" and made["MY_DB_SERVICE_PORT_P_G"] == "5432"
    assert made["MY_DB_PORT"] == made["MY_DB_PORT_5432_TCP"] == "tcp://10.96.0.9:5432"
    assert made["KUBERNETES_SERVICE_HOST"] == "10.96.0.1" and made["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert not any(name.startswith(("OTHER", "HEADLESS")) for name in made)
    alone = service_variables(make({"enableServiceLinks": False})[0], services)
    assert {name.split("_")[0] for name in alone} == {"KUBERNETES"}


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({}, ("entry", "cmd")),
        ({"args": ["x"]}, ("entry", "x")),
        ({"command": ["mine"]}, ("mine",)),
        ({"command": ["mine"], "args": ["$(A)"]}, ("mine", "1")),
    ],
)
def test_command_line(container: dict[str, Any], expected: tuple[str, ...]) -> None:
    _, made = make(container=container)
    assert command_line(made, {"A": "1"}, ("entry",), ("cmd",)) == expected


def test_nothing_to_run_is_refused() -> None:
    with pytest.raises(StartRefused, match="no command specified"):
        command_line(make()[1], {}, (), ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$(A)", "1"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("$A", "$A"), ("$$$(A)", "$1"), ("a$", "a$"), ("$(A", "$(A")],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected


def test_hosts_and_hostname() -> None:
    pod, _ = make({"hostname": "h", "subdomain": "s", "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]})
    text = hosts(pod, "10.42.0.5", "cluster.local")
    assert "10.42.0.5\th.s.shop.svc.cluster.local\th\n" in text and text.endswith("1.2.3.4\ta\tb\n")
    assert hostname(make()[0]) == "web"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param(
            {},
            "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n",
            id="ClusterFirst",
        ),
        pytest.param({"dnsPolicy": "Default"}, "search corp\nnameserver 9.9.9.9\n", id="Default"),
        pytest.param(
            {
                "dnsPolicy": "None",
                "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["x"], "options": [{"name": "edns0"}]},
            },
            "search x\nnameserver 1.1.1.1\noptions edns0\n",
            id="None",
        ),
        pytest.param(
            {"dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}},
            "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:2\n",
            id="an option is replaced",
        ),
    ],
)
def test_resolv_conf(spec: dict[str, Any], expected: str) -> None:
    text = "search corp\nnameserver 9.9.9.9\n"
    made = resolv_conf(make(spec)[0], cluster_dns="10.96.0.10", cluster_domain="cluster.local", node_text=text)
    assert made == expected


@pytest.mark.parametrize(
    ("pod", "container", "expected"),
    [
        ({}, {}, (None, None, ())),
        ({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4]}, {}, (1, 2, (4, 3))),
        ({"runAsUser": 1}, {"runAsUser": 5}, (5, None, ())),
        ({"runAsNonRoot": True}, {"runAsUser": 5}, (5, None, ())),
    ],
)
def test_identity(pod: dict[str, Any], container: dict[str, Any], expected: tuple[Any, ...]) -> None:
    made = identity(*make({"securityContext": pod}, {"securityContext": container}), "")
    assert (made.uid, made.gid, made.groups) == expected


@pytest.mark.parametrize(
    ("context", "user", "message"),
    [
        ({"runAsUser": 0}, "", "container's runAsUser breaks non-root policy"),
        ({}, "", "container has runAsNonRoot and image will run as root"),
        ({}, "www", r"container has runAsNonRoot and image has non-numeric user \(www\)"),
    ],
)
def test_non_root_is_checked(context: dict[str, Any], user: str, message: str) -> None:
    pod, made = make({"securityContext": {"runAsNonRoot": True}}, {"securityContext": context})
    with pytest.raises(StartRefused, match=message):
        identity(pod, made, user)


def test_confinement() -> None:
    context = {"capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}, "allowPrivilegeEscalation": False}
    made = confinement(*make(container={"securityContext": {**context, "readOnlyRootFilesystem": True}}))
    assert (made.capabilities_add, made.capabilities_drop) == (("NET_ADMIN",), ("ALL",))
    assert made.no_new_privileges and made.read_only_root and made.seccomp == "default"
    for refused in ({"privileged": True}, {"seccompProfile": {"type": "Localhost", "localhostProfile": "../p.json"}}):
        with pytest.raises(StartRefused):
            confinement(*make(container={"securityContext": refused}))


@pytest.mark.parametrize(
    ("limits", "requests", "expected"),
    [
        ({}, {}, ("BestEffort", 2, None, None)),
        ({"cpu": "500m", "memory": "64Mi"}, {}, ("Guaranteed", 512, 50_000, 64 << 20)),
        ({"cpu": "1", "memory": "64Mi"}, {"cpu": "250m"}, ("Burstable", 256, 100_000, 64 << 20)),
        ({}, {"memory": "1Gi"}, ("Burstable", 2, None, None)),
        ({"cpu": "1m"}, {}, ("Burstable", 2, 1_000, None)),
    ],
)
def test_limits_and_quality_of_service(limits: dict[str, str], requests: dict[str, str], expected: tuple[Any]) -> None:
    pod, made = make(container={"resources": {"limits": limits, "requests": requests}})
    found = resources.limits(made)
    assert (resources.qos_class(pod), found.cpu_shares, found.cpu_quota_us, found.memory_bytes) == expected
    assert resources.cgroup(pod, "c").endswith("podu1/c")
