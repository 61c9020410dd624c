"""NetworkPolicies of a real cluster: what pods reach, and what not, while policies, labels and pods come and go."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from cluster import Cluster
from space import Kubectl

pytestmark = pytest.mark.real

_SERVE = "mkdir -p /www && echo $HOSTNAME > /www/index.html; for p in 9090 9091; do httpd -p $p -h /www; done; "
_WEB = _SERVE + "exec httpd -f -p 8080 -h /www"
_API, _NODE, _NAMES = ("10.96.0.1", 443), ("10.42.0.1", 6443), ("10.96.0.10", 53)

Place = tuple[str, int]


def pod(name: str, labels: Mapping[str, str], *, node_network: bool = False) -> dict[str, Any]:
    """A web server on 8080 (named http), 9090 and 9091; it is ready when the node's probe got an answer."""
    container = {
        "name": "main",
        "image": "busybox:latest",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", "exec sleep 1000" if node_network else _WEB],
    }
    if not node_network:
        container["ports"] = [{"name": "http", "containerPort": 8080}]
        container["readinessProbe"] = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1}
        container["livenessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 3}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0, "hostNetwork": node_network}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": dict(labels)}, "spec": spec}


def policy(name: str, selector: Mapping[str, str], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {"matchLabels": dict(selector)}, **spec},
    }


class World(Kubectl):
    """A web server and two clients in a namespace, and one client in another."""

    def put(self, *objects: dict[str, Any], other: bool = False) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.cluster.kubectl("-n", self.namespace + ("-2" if other else ""), "apply", "-f", "-", text=text)

    def address(self, name: str, *, other: bool = False) -> str:
        space = self.namespace + ("-2" if other else "")
        return self.cluster.kubectl("-n", space, "get", "pod", name, "-o", "jsonpath={.status.podIP}")

    def reaches(self, name: str, *places: Place, other: bool = False) -> list[bool]:
        """Whether a connection comes about, from inside a pod; all are tried at once."""
        tries = [
            f"(nc -w 1 {host} {port} </dev/null >/dev/null 2>&1 && echo {i}) &" for i, (host, port) in enumerate(places)
        ]
        space = self.namespace + ("-2" if other else "")
        said = self.cluster.kubectl("-n", space, "exec", name, "--", "sh", "-c", " ".join((*tries, "wait")))
        return [str(i) in said.split() for i in range(len(places))]

    def resolves(self, name: str) -> bool:
        said = self("exec", name, "--", "nslookup", f"web.{self.namespace}.svc.cluster.local", check=False)
        return "Name:" in said

    def grants(self, look: Callable[[], list[bool]], wanted: list[bool]) -> None:
        """At once nobody reaches more than that; on a busy machine a second may be too short to reach it all."""
        deadline = time.monotonic() + 60
        while (found := look()) != wanted:
            assert not any(reached and not may for reached, may in zip(found, wanted, strict=True)), (found, wanted)
            assert time.monotonic() < deadline, (found, wanted)

    def expect(self, look: Callable[[], Any], wanted: Any) -> None:
        """Policies are in force a few milliseconds after kubectl has returned."""
        deadline = time.monotonic() + 60
        while (found := look()) != wanted:
            assert time.monotonic() < deadline, f"{found}, not {wanted}\n{self('get', 'networkpolicy', '-o', 'yaml')}"


@pytest.fixture
def world(kubectl: Kubectl) -> Iterator[World]:
    found = World(kubectl.cluster, kubectl.namespace)
    other = f"{found.namespace}-2"
    kubectl.cluster.kubectl("create", "namespace", other)
    kubectl.cluster.kubectl("label", "namespace", other, "team=blue")
    service = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}
    found.put(
        pod("web", {"app": "web"}),
        pod("one", {"app": "one"}),
        pod("two", {"app": "two"}),
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": service},
    )
    found.put(pod("far", {"app": "one"}), other=True)
    found("wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
    found.cluster.kubectl("-n", other, "wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
    yield found
    kubectl.cluster.kubectl("delete", "namespace", other, "--wait=false")


def clients(world: World, place: Place) -> list[bool]:
    """Who reaches it: one, two, and far in the other namespace."""
    return [*world.reaches("one", place), *world.reaches("two", place), *world.reaches("far", place, other=True)]


def test_ingress(world: World) -> None:
    address = world.address("web")
    web = (address, 8080)
    service = (world("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"), 80)
    world.grants(lambda: clients(world, web), [True, True, True])
    world.put(policy("deny", {"app": "web"}, policyTypes=["Ingress"]))
    world.expect(lambda: clients(world, web), [False, False, False])
    assert clients(world, service) == [False, False, False]
    # Itself, also through its Service; egress is free.
    world.grants(lambda: world.reaches("web", web, service, _NODE), [True, True, True])
    one = {"podSelector": {"matchLabels": {"app": "one"}}}
    blue = {"namespaceSelector": {"matchLabels": {"team": "blue"}}}
    block = {"ipBlock": {"cidr": "10.42.0.0/16", "except": [f"{world.address('one')}/32"]}}
    for peers, wanted in (
        ([one], [True, False, False]),
        ([blue], [False, False, True]),
        ([one, blue], [True, False, True]),
        ([{**blue, **one}], [False, False, True]),
        ([{**blue, "podSelector": {"matchLabels": {"app": "two"}}}], [False, False, False]),
        ([block], [False, True, True]),
    ):
        world.put(policy("allow", {"app": "web"}, policyTypes=["Ingress"], ingress=[{"from": peers}]))
        world.expect(lambda: clients(world, service), wanted)
        world.grants(lambda: clients(world, web), wanted)
    places = [(address, port) for port in (8080, 9090, 9091)]
    for ports, wanted in (
        ([{"port": "http"}], [True, False, False]),
        ([{"port": 9090}], [False, True, False]),
        ([{"port": 9090, "endPort": 9100}], [False, True, True]),
        ([{"protocol": "UDP"}], [False, False, False]),
        ([{"protocol": "TCP"}], [True, True, True]),
    ):
        world.put(policy("allow", {"app": "web"}, policyTypes=["Ingress"], ingress=[{"ports": ports}]))
        world.expect(lambda: world.reaches("one", *places), wanted)
    world("delete", "networkpolicy", "allow")
    world.expect(lambda: world.reaches("one", web), [False])
    status = world.get("pod", "web")["status"]
    assert status["containerStatuses"][0]["ready"] and not status["containerStatuses"][0]["restartCount"], (
        "probes go on"
    )
    world("delete", "networkpolicy", "deny")
    world.expect(lambda: clients(world, web), [True, True, True])


def test_egress(world: World) -> None:
    web, two = (world.address("web"), 8080), (world.address("two"), 8080)
    service = (world("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"), 80)
    everything = (web, two, service, _API, _NODE, _NAMES)
    world.grants(lambda: world.reaches("one", *everything), [True] * 6)
    world.put(policy("deny", {"app": "one"}, policyTypes=["Egress"]))
    world.expect(lambda: world.reaches("one", *everything), [False] * 6)
    assert not world.resolves("one")
    names = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    ports = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    for rule in ({"to": [names], "ports": ports}, {"ports": ports}, {"to": [names]}):
        world.put(policy("names", {"app": "one"}, policyTypes=["Egress"], egress=[rule]))
        world.expect(lambda: world.resolves("one"), True)
        world.grants(lambda: world.reaches("one", *everything), [False] * 5 + [True])
    rules = [{"to": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": "http"}]}]
    world.put(policy("web", {}, policyTypes=["Egress"], egress=rules))
    world.expect(lambda: world.reaches("one", *everything), [True, False, True, False, False, True])
    # Two is selected by one policy only.
    world.grants(lambda: world.reaches("two", web, _API, (web[0], 9090)), [True, False, False])
    world.put(policy("web", {}, egress=[{"to": [{"ipBlock": {"cidr": "10.42.0.1/32"}}]}]))
    world.expect(lambda: world.reaches("one", *everything), [False, False, False, True, True, True])
    world.put(policy("web", {}, policyTypes=["Egress"], egress=[{}]))
    world.expect(lambda: world.reaches("one", *everything), [True] * 6)


def test_pods_come_and_change(world: World) -> None:
    web = (world.address("web"), 8080)
    one = [{"from": [{"podSelector": {"matchLabels": {"app": "one"}}}]}]
    world.put(policy("allow", {"app": "web"}, ingress=one), policy("alone", {"app": "alone"}, policyTypes=["Egress"]))
    world.expect(lambda: clients(world, web), [True, False, False])
    world("label", "pod", "two", "app=one", "--overwrite")
    world.expect(lambda: world.reaches("two", web), [True])
    world("label", "pod", "two", "app=two", "--overwrite")
    world.expect(lambda: world.reaches("two", web), [False])
    for name in ("web", "one"):
        world("delete", "pod", name, "--now")
        world.put(pod(name, {"app": name}))
    world("wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
    assert world.address("web") != web[0]
    address = world.address("web")
    world.grants(lambda: clients(world, (address, 8080)), [True, False, False])  # at once: pods wait for their policies
    world.put(pod("host", {"app": "two"}, node_network=True))
    world("wait", "pod", "host", "--for=condition=Ready", "--timeout=60s")
    world.grants(lambda: world.reaches("host", (address, 8080)), [True])  # the node's own network is not affected


def test_a_connection_that_exists_goes_on(world: World) -> None:
    web = (world.address("web"), 8080)
    request = r"printf 'GET / HTTP/1.0\r\n'; while [ ! -e /tmp/go ]; do sleep 0.1; done; printf '\r\n'; sleep 1"
    talk = f"({request}) 2>/dev/null | nc {web[0]} {web[1]} >/tmp/answer 2>/dev/null &"
    world("exec", "one", "--", "sh", "-c", f"exec </dev/null >/dev/null 2>&1; {talk}")
    there = f":{web[1]:04X} 01 "  # the other end, and that it is established
    world.expect(lambda: there in world("exec", "one", "--", "cat", "/proc/net/tcp"), True)
    world.put(policy("deny", {}, policyTypes=["Ingress", "Egress"]))
    world.expect(lambda: world.reaches("one", web), [False])
    world("exec", "one", "--", "touch", "/tmp/go")
    world.expect(lambda: "200 OK" in world("exec", "one", "--", "cat", "/tmp/answer"), True)


def test_a_new_pod_is_isolated_from_its_first_moment(world: World) -> None:
    world.put(policy("alone", {"app": "alone"}, policyTypes=["Egress"]))
    first = "for i in 1 2 3 4 5; do nc -w 1 10.96.0.1 443 </dev/null && echo reached; done; echo done"
    for number in range(3):
        started = pod(f"alone-{number}", {"app": "alone"})
        started["spec"] |= {"restartPolicy": "Never"}
        started["spec"]["containers"] = [
            {
                "name": "main",
                "image": "busybox:latest",
                "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", first],
            }
        ]
        world.put(started)
    for number in range(3):
        name = f"pod/alone-{number}"
        world("wait", name, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
        assert "reached" not in (said := world("logs", name)) and "done" in said


def test_nobody_speaks_in_the_name_of_another(world: World) -> None:
    liar = pod("liar", {"app": "one"})
    liar["spec"]["containers"][0]["securityContext"] = {"capabilities": {"add": ["NET_ADMIN"]}}
    world.put(liar, policy("deny", {"app": "one"}, policyTypes=["Egress"]))
    world("wait", "pod", "liar", "--for=condition=Ready", "--timeout=60s")
    world("exec", "liar", "--", "ip", "address", "add", "10.42.250.250/32", "dev", "eth0")
    world(
        "exec",
        "liar",
        "--",
        "ip",
        "route",
        "change",
        "default",
        "via",
        "169.254.1.1",
        "dev",
        "eth0",
        "src",
        "10.42.250.250",
    )
    assert world.reaches("liar", _API, _NODE) == [False, False]


def test_policies_outlive_the_engine(world: World, fairway_cluster: Cluster) -> None:
    web = (world.address("web"), 8080)
    world.put(policy("deny", {"app": "web"}))
    world.expect(lambda: clients(world, web), [False, False, False])
    fairway_cluster.kill_engine()
    world.expect(lambda: world("exec", "one", "--", "echo", "here", check=False).strip(), "here")
    assert world.reaches("one", web) == [False]
    world("delete", "networkpolicy", "deny")
    world.expect(lambda: world.reaches("one", web), [True])
