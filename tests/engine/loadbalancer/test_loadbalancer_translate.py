"""Which places of the host Services and pods get, and what HAProxy is told."""

from typing import Any

import msgspec
import pytest

from fairway.engine.loadbalancer import status
from fairway.engine.loadbalancer.ir import Place, Route, Target, Wanted
from fairway.engine.loadbalancer.plan import NoChange, Reload, SetTargets, plan
from fairway.engine.loadbalancer.render import render
from fairway.engine.loadbalancer.snapshot import take
from fairway.engine.loadbalancer.translate import Options, translate
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod
from fairway.kube.api.services import Service, ServiceStatus

OPTIONS = Options("127.0.0.1", ("127.0.0.1", "127.0.0.2"))
WEB = Target("10.96.0.7", 80)


def service(name: str = "web", age: int = 0, port: dict[str, Any] | None = None, **spec: Any) -> Service:
    metadata = {"namespace": "default", "name": name, "creationTimestamp": f"2026-01-01T00:00:{age:02}Z"}
    ports = [{"port": 80, **(port or {})}]
    return decode(Service, {"metadata": metadata, "spec": {"clusterIP": "10.96.0.7", "ports": ports, **spec}})


def pod(name: str = "pod", age: int = 0, ip: str = "10.42.0.9", phase: str = "Running", **port: Any) -> Pod:
    metadata = {"namespace": "default", "name": name, "creationTimestamp": f"2026-01-01T00:00:{age:02}Z"}
    containers = [{"name": "c", "ports": [{"containerPort": 8080, **port}]}]
    return decode(
        Pod, {"metadata": metadata, "spec": {"containers": containers}, "status": {"podIP": ip, "phase": phase}}
    )


def wanted(*objects: Service | Pod, unavailable: dict[Place, str] | None = None, options: Options = OPTIONS) -> Wanted:
    services = [each for each in objects if isinstance(each, Service)]
    pods = [each for each in objects if isinstance(each, Pod)]
    return translate(take(services, pods, unavailable or {}), options)


def targets(found: Wanted) -> dict[str, str]:
    return {str(place): f"{route.target.address}:{route.target.port}" for place, route in found.routes.items()}


def test_every_kind_of_place() -> None:
    found = wanted(
        service("node", type="NodePort", port={"nodePort": 30080}),
        service("balanced", type="LoadBalancer", port={"nodePort": 30081}),
        service("external", port={"port": 8080}, externalIPs=["127.0.0.3"]),
        pod(hostPort=9090),
        pod("elsewhere", hostPort=9090, hostIP="127.0.0.4"),
    )
    assert targets(found) == {
        "127.0.0.1:30080": "10.96.0.7:80",
        "127.0.0.1:30081": "10.96.0.7:80",
        "127.0.0.1:80": "10.96.0.7:80",
        "127.0.0.3:8080": "10.96.0.7:8080",
        "127.0.0.1:9090": "10.42.0.9:8080",
        "127.0.0.4:9090": "10.42.0.9:8080",
    }
    assert found.problems == ()


@pytest.mark.parametrize(
    "nothing",
    [
        service(),
        service(type="NodePort", clusterIP="None", port={"nodePort": 30080}),
        service(type="LoadBalancer", loadBalancerClass="example.com/other"),
        service(externalIPs=["10.42.0.1"]),
        pod(hostPort=9090, phase="Succeeded"),
        pod(hostPort=9090, ip=""),
        pod(),
    ],
)
def test_what_opens_nothing(nothing: Service | Pod) -> None:
    assert wanted(nothing) == Wanted()


def test_load_balancers_on_one_port_get_different_addresses_then_wait() -> None:
    found = wanted(*(service(f"s{age}", age, type="LoadBalancer") for age in (2, 0, 1)))
    assert {key.name: address for key, address in found.addresses.items()} == {"s0": "127.0.0.1", "s1": "127.0.0.2"}
    (problem,) = found.problems
    assert (problem.regarding.name, problem.reason) == ("s2", "SyncLoadBalancerFailed")
    assert "port 80 on 127.0.0.1 already belongs to Service default/s0" in problem.message


def test_a_load_balancer_keeps_its_address_and_may_ask_for_one() -> None:
    before = decode(ServiceStatus, {"loadBalancer": {"ingress": [{"ip": "127.0.0.2"}]}})
    held = msgspec.structs.replace(service("held", 1, type="LoadBalancer"), status=before)
    asked = service("asked", type="LoadBalancer", loadBalancerIP="127.0.0.2", port={"port": 81})
    refused = service("refused", type="LoadBalancer", loadBalancerIP="127.0.0.9")
    found = wanted(held, asked, refused)
    assert {key.name: address for key, address in found.addresses.items()} == {
        "held": "127.0.0.2",
        "asked": "127.0.0.2",
    }
    assert "loadBalancerIP 127.0.0.9 is not in the pool" in found.problems[0].message


def test_what_the_host_does_not_give_moves_to_the_next_address() -> None:
    taken = {Place("127.0.0.1", 80): "port 80 is taken"}
    found = wanted(service(type="LoadBalancer"), unavailable=taken)
    assert list(found.addresses.values()) == ["127.0.0.2"]
    both = {**taken, Place("127.0.0.2", 80): "port 80 is taken too"}
    found = wanted(service(type="LoadBalancer"), unavailable=both)
    assert found.routes == {}
    assert found.problems[0].message == "Error syncing load balancer: port 80 is taken; port 80 is taken too"


@pytest.mark.parametrize(
    ("asking", "reason", "words"),
    [
        (service(type="NodePort", port={"nodePort": 30053, "protocol": "SCTP"}), "NodePortNotOpened", "30053/SCTP"),
        (pod(hostPort=53, protocol="SCTP"), "HostPortNotOpened", "TCP and UDP only"),
        (service(type="LoadBalancer", port={"protocol": "SCTP"}), "PortNotOpened", "port 80/SCTP"),
        (pod(hostPort=53, hostIP="here"), "HostPortNotOpened", "'here' is not an IP address"),
        (
            service(type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/8", "x"]),
            "InvalidSourceRanges",
            "x is not an IPv4 network",
        ),
        (
            service(type="NodePort", sessionAffinity="ClientIP", port={"nodePort": 30080}),
            "ClientAddressHidden",
            "sessionAffinity",
        ),
        (
            service(type="LoadBalancer", externalTrafficPolicy="Local"),
            "ClientAddressHidden",
            "externalTrafficPolicy",
        ),
    ],
)
def test_what_cannot_be_done_is_said(asking: Service | Pod, reason: str, words: str) -> None:
    problems = {problem.reason: problem.message for problem in wanted(asking).problems}
    assert words in problems[reason]


def test_without_addresses_a_load_balancer_stays_pending() -> None:
    found = wanted(service(type="LoadBalancer"), options=Options("127.0.0.1", ()))
    assert found.addresses == {}
    assert "--load-balancer-addresses" in found.problems[0].message


def test_all_addresses_overlap_with_each() -> None:
    found = wanted(pod("a", 0, hostPort=80, hostIP="0.0.0.0"), pod("b", 1, hostPort=80, hostIP="127.0.0.5"))
    assert list(targets(found)) == ["0.0.0.0:80"]
    assert found.problems[0].reason == "HostPortNotOpened"


PLACE, OTHER = Place("127.0.0.1", 80), Place("127.0.0.1", 81)


@pytest.mark.parametrize(
    ("running", "wished", "expected"),
    [
        ({}, {}, NoChange()),
        (None, {}, Reload()),
        ({}, {PLACE: Route(WEB)}, Reload()),
        ({PLACE: Route(WEB)}, {PLACE: Route(WEB)}, NoChange()),
        ({PLACE: Route(WEB)}, {PLACE: Route(Target("10.96.0.8", 80))}, SetTargets({PLACE: Target("10.96.0.8", 80)})),
        ({PLACE: Route(WEB)}, {PLACE: Route(WEB, ("10.0.0.0/8",))}, Reload()),
        ({PLACE: Route(WEB)}, {PLACE: Route(WEB), OTHER: Route(WEB)}, Reload()),
    ],
)
def test_the_gentlest_means(running: Any, wished: Any, expected: Any) -> None:
    assert plan(running, wished) == expected


def test_the_configuration() -> None:
    text = render({PLACE: Route(WEB, ("10.0.0.0/8",))}, {PLACE: 7}, (65534, 65534))
    assert text.endswith(
        "\nlisten tcp-127.0.0.1-80\n  bind fd@7\n  acl allowed src 10.0.0.0/8\n"
        "  tcp-request connection reject if !allowed\n  server s 10.96.0.7:80\n"
    )
    assert "  uid 65534\n  gid 65534\n" in text


def test_status_changes_only_where_it_must() -> None:
    new, kept = service("new", type="LoadBalancer"), service("kept", type="NodePort")
    gone = decode(
        Service,
        {"metadata": {"namespace": "default", "name": "gone"}, "spec": {"type": "NodePort"},
         "status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}},
    )  # fmt: skip
    pool = Wanted(addresses={new.metadata.key: "0.0.0.0"})
    found = {
        each.metadata.name: entries
        for each, entries in status.changes((new, kept, gone), pool, {"0.0.0.0": "192.0.2.1"})
    }
    assert found == {"new": [{"ip": "192.0.2.1", "ipMode": "VIP"}], "gone": []}


def test_udp_has_its_own_ports() -> None:
    found = wanted(
        service("dns", type="NodePort", port={"port": 53, "nodePort": 30053, "protocol": "UDP"}),
        service("same", age=1, type="NodePort", port={"port": 53, "nodePort": 30053}),
        service("later", age=2, port={"port": 30053, "protocol": "UDP"}, externalIPs=["127.0.0.1"]),
        service("balanced", type="LoadBalancer", port={"port": 123, "protocol": "UDP"}),
        pod(hostPort=514, protocol="UDP"),
    )
    assert targets(found) == {
        "127.0.0.1:30053/UDP": "10.96.0.7:53",
        "127.0.0.1:30053": "10.96.0.7:53",
        "127.0.0.1:123/UDP": "10.96.0.7:123",
        "127.0.0.1:514/UDP": "10.42.0.9:8080",
    }
    assert [problem.message for problem in found.problems] == [
        "port 30053/UDP on 127.0.0.1 already belongs to Service default/dns; choose another port"
    ]
