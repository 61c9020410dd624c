"""Which slices hold the endpoints of a Service, and how few of them are touched."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fairway.engine.controllers.endpointslice.endpoints import Member, members
from fairway.engine.controllers.endpointslice.mirror import endpoints_of
from fairway.engine.controllers.endpointslice.plan import ENDPOINTS_MAX, Plan, plan
from fairway.kube.api.meta import Condition, ObjectMeta
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Container, ContainerPort, Pod, PodSpec, PodStatus
from fairway.kube.api.services import EndpointPort, EndpointSlice, Service, ServicePort, ServiceSpec

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def service(*ports: ServicePort, labels: dict[str, str] | None = None, **spec: Any) -> Service:
    return Service(
        metadata=ObjectMeta(name="web", namespace="shop", uid="s", labels=labels or {}),
        spec=ServiceSpec(ports=ports or (ServicePort(port=80, target_port=8080),), selector={"app": "web"}, **spec),
    )


def pod(number: int, *, ready: bool = True, leaving: bool = False, ports: Sequence[ContainerPort] = ()) -> Pod:
    condition = Condition(type="Ready", status=str(ready))
    return Pod(
        metadata=ObjectMeta(
            name=f"web-{number:04}",
            namespace="shop",
            uid=f"u{number}",
            labels={"app": "web"},
            deletion_timestamp=NOW if leaving else None,
        ),
        spec=PodSpec(node_name="n", containers=(Container(name="c", ports=tuple(ports)),)),
        status=PodStatus(phase="Running", pod_ip=f"10.42.{number // 256}.{number % 256}", conditions=(condition,)),
    )


@pytest.mark.parametrize(
    ("one", "spec", "wanted"),
    [
        (pod(1), {}, (True, True, False)),
        (pod(1, ready=False), {}, (False, False, False)),
        (pod(1, leaving=True), {}, (False, True, True)),
        (pod(1, ready=False, leaving=True), {}, (False, False, True)),
        (pod(1, ready=False), {"publish_not_ready_addresses": True}, (True, False, False)),
    ],
)
def test_conditions(one: Pod, spec: dict[str, Any], wanted: tuple[bool, bool, bool]) -> None:
    (member,) = members(service(**spec), [one])
    found = member.endpoint.conditions
    assert (found.ready, found.serving, found.terminating) == wanted


def test_who_is_an_endpoint() -> None:
    nameless = replace(pod(2), status=PodStatus(phase="Pending"))
    ended = replace(pod(3), status=replace(pod(3).status, phase="Succeeded"))
    other = replace(pod(4), metadata=replace(pod(4).metadata, labels={"app": "x"}))
    assert [item.endpoint.addresses for item in members(service(), [pod(1), nameless, ended, other])] == [
        ("10.42.0.1",)
    ]


def test_named_ports_are_what_the_pod_says() -> None:
    target = service(ServicePort(name="http", port=80, target_port="web"), ServicePort(name="raw", port=81))
    with_port = pod(1, ports=[ContainerPort(name="web", container_port=3000)])
    without = pod(2)
    found = members(target, [with_port, without])
    assert [[(port.name, port.port) for port in item.ports] for item in found] == [
        [("http", 3000), ("raw", 81)],
        [("raw", 81)],
    ]


def as_slices(decided: Plan, existing: Sequence[EndpointSlice] = ()) -> list[EndpointSlice]:
    """What the API holds after a plan."""
    gone = {part.metadata.name for part in decided.delete}
    held = {part.metadata.name: part for part in existing if part.metadata.name not in gone}
    for raw in (*decided.create, *decided.update):
        part = decode(EndpointSlice, raw)
        held[part.metadata.name] = part
    return list(held.values())


def test_the_first_slice() -> None:
    (raw,) = plan(service(labels={"team": "a"}), members(service(), [pod(1)]), ()).create
    assert raw["metadata"]["labels"] == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert raw["metadata"]["ownerReferences"][0]["uid"] == "s"
    assert raw["ports"] == [{"name": "", "protocol": "TCP", "port": 8080}]
    assert raw["endpoints"] == [
        {
            "addresses": ("10.42.0.1",),
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-0001", "uid": "u1"},
            "nodeName": "n",
        }
    ]


def test_headless_services_are_marked() -> None:
    (raw,) = plan(service(cluster_ip="None"), (), ()).create
    assert raw["metadata"]["labels"]["service.kubernetes.io/headless"] == ""


def test_no_endpoints_is_one_empty_slice_that_is_used_again() -> None:
    empty = as_slices(plan(service(), (), ()))
    assert [part.endpoints for part in empty] == [()]
    assert plan(service(), (), empty) == Plan()
    first = plan(service(), members(service(), [pod(1)]), empty)
    assert len(as_slices(first, empty)) == 1


def test_only_what_changed_is_written() -> None:
    found = members(service(), [pod(number) for number in range(250)])
    full = as_slices(plan(service(), found, ()))
    assert sorted(len(part.endpoints) for part in full) == [50, 100, 100]
    assert plan(service(), found, full) == Plan()
    found = members(service(), [pod(number, ready=number != 7) for number in range(250)])
    decided = plan(service(), found, full)
    assert (len(decided.create), len(decided.update), len(decided.delete)) == (0, 1, 0)


def test_slices_of_others_are_left_alone() -> None:
    foreign = EndpointSlice(
        metadata=ObjectMeta(
            name="hand-made",
            labels={
                "kubernetes.io/service-name": "web",
                "endpointslice.kubernetes.io/managed-by": "me",
            },
        )
    )
    decided = plan(service(), members(service(), [pod(1)]), [foreign])
    assert (len(decided.create), decided.update, decided.delete) == (1, (), ())


def all_endpoints(slices: Sequence[EndpointSlice]) -> dict[tuple[EndpointPort, ...], list[str]]:
    found: dict[tuple[EndpointPort, ...], list[str]] = {}
    for part in slices:
        for endpoint in part.endpoints:
            found.setdefault(part.ports, []).extend(endpoint.addresses)
    return {ports: sorted(addresses) for ports, addresses in found.items()}


@settings(max_examples=60, deadline=None)
@given(
    rounds=st.lists(st.lists(st.tuples(st.integers(0, 300), st.booleans(), st.booleans()), max_size=230), max_size=4)
)
def test_slices_hold_exactly_the_members_whatever_came_before(
    rounds: list[list[tuple[int, bool, bool]]],
) -> None:
    slices: list[EndpointSlice] = []
    target = service(ServicePort(name="http", port=80, target_port="web"))
    for story in rounds:
        pods = {
            number: pod(number, ready=ready, ports=[ContainerPort(name="web", container_port=80 if low else 81)])
            for number, ready, low in story
        }
        found = members(target, pods.values())
        decided = plan(target, found, slices)
        slices = as_slices(decided, slices)
        wanted: dict[tuple[EndpointPort, ...], list[str]] = {}
        for member in found:
            wanted.setdefault(member.ports, []).extend(member.endpoint.addresses)
        assert all_endpoints(slices) == {ports: sorted(addresses) for ports, addresses in wanted.items()}
        assert all(len(part.endpoints) <= ENDPOINTS_MAX for part in slices)
        assert plan(target, found, slices) == Plan()


def test_the_mirror() -> None:
    found: list[Member] = members(service(), [pod(1), pod(2, ready=False), pod(3, leaving=True)])
    raw = endpoints_of(service(), found)
    (subset,) = raw["subsets"]
    assert [item["ip"] for item in subset["addresses"]] == ["10.42.0.1"]
    assert [item["ip"] for item in subset["notReadyAddresses"]] == ["10.42.0.2"]
    assert subset["ports"] == [{"port": 8080, "protocol": "TCP"}]
    assert raw["metadata"]["labels"] == {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}
