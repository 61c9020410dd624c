"""Services and slices in, pools out."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fairway.engine.serviceproxy.ir import ANY_LOCAL, Backend, Frontend, Pool
from fairway.engine.serviceproxy.snapshot import Facts, Snapshot, take
from fairway.engine.serviceproxy.translate import Translation, translate
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import decode
from fairway.kube.api.services import EndpointSlice, Service


def service(name: str = "web", created: int = 1, status: dict[str, Any] | None = None, **spec: Any) -> Service:
    spec = {"clusterIP": "10.96.0.5", "ports": [{"port": 80, "protocol": "TCP"}]} | spec
    created_at = datetime(2026, 1, created, tzinfo=UTC).isoformat()
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "creationTimestamp": created_at}
    return decode(Service, {"metadata": metadata, "spec": spec, "status": status or {}})


def endpoint(address: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions}


def endpoint_slice(*endpoints: Any, ports: Any = None, **more: Any) -> EndpointSlice:
    raw = {
        "metadata": {"name": "s", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [endpoint(each) if isinstance(each, str) else each for each in endpoints],
        "ports": ports or [{"port": 8080, "protocol": "TCP"}],
    }
    return decode(EndpointSlice, raw | more)


def picture(*facts: Facts) -> Snapshot:
    return {each.service.metadata.key: each for each in facts}


def pools(*facts: Facts) -> dict[Frontend, Pool]:
    return dict(translate(picture(*facts)).ruleset.pools)


WEB = Frontend("10.96.0.5", "tcp", 80)
READY = endpoint_slice("10.42.0.4", "10.42.0.3")
TWO = (Backend("10.42.0.3", 8080), Backend("10.42.0.4", 8080))
NAMED = [{"name": "http", "port": 80, "targetPort": "web"}, {"name": "dns", "port": 53, "protocol": "UDP"}]


@pytest.mark.parametrize(
    ("spec", "slices", "expected"),
    [
        pytest.param({}, (READY,), {WEB: Pool(TWO)}, id="ready endpoints, sorted"),
        pytest.param({}, (), {WEB: Pool()}, id="no slice: a pool to refuse"),
        pytest.param({"clusterIP": "None"}, (READY,), {}, id="headless"),
        pytest.param({"type": "ExternalName", "clusterIP": ""}, (), {}, id="ExternalName"),
        pytest.param(
            {},
            (endpoint_slice(endpoint("10.42.0.3"), endpoint("10.42.0.4", ready=False)),),
            {WEB: Pool(TWO[:1])},
            id="not ready is left out",
        ),
        pytest.param(
            {},
            (endpoint_slice(endpoint("10.42.0.3", ready=False, serving=True, terminating=True)),),
            {WEB: Pool(TWO[:1])},
            id="terminating but serving, when nothing else is there",
        ),
        pytest.param(
            {},
            (
                endpoint_slice(endpoint("10.42.0.3", ready=False, serving=True, terminating=True)),
                endpoint_slice("10.42.0.4"),
            ),
            {WEB: Pool(TWO[1:])},
            id="terminating gets nothing while another is ready",
        ),
        pytest.param(
            {},
            (endpoint_slice(endpoint("10.42.0.3", ready=False, serving=False, terminating=True)),),
            {WEB: Pool()},
            id="terminating and not serving",
        ),
        pytest.param(
            {"ports": NAMED},
            (
                endpoint_slice(
                    "10.42.0.3",
                    ports=[{"name": "http", "port": 8080}, {"name": "dns", "port": 5353, "protocol": "UDP"}],
                ),
                endpoint_slice("10.42.0.4", ports=[{"name": "http", "port": 9090}]),
            ),
            {
                WEB: Pool((Backend("10.42.0.3", 8080), Backend("10.42.0.4", 9090))),
                Frontend("10.96.0.5", "udp", 53): Pool((Backend("10.42.0.3", 5353),)),
            },
            id="ports by name, another number in each slice",
        ),
        pytest.param({"sessionAffinity": "ClientIP"}, (READY,), {WEB: Pool(TWO, 10800)}, id="affinity"),
        pytest.param(
            {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}},
            (READY,),
            {WEB: Pool(TWO, 60)},
            id="affinity with a timeout",
        ),
        pytest.param({"sessionAffinity": "ClientIP"}, (), {WEB: Pool()}, id="affinity to nothing"),
        pytest.param(
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}], "externalIPs": ["192.0.2.7"]},
            (READY,),
            {WEB: Pool(TWO), Frontend("192.0.2.7", "tcp", 80): Pool(TWO), Frontend(ANY_LOCAL, "tcp", 30080): Pool(TWO)},
            id="node port and external address",
        ),
        pytest.param({}, (endpoint_slice("10.42.0.3", "10.42.0.3"),), {WEB: Pool(TWO[:1])}, id="the same one twice"),
        pytest.param({}, (endpoint_slice("::1", addressType="IPv6"),), {WEB: Pool()}, id="IPv6 slices are left out"),
        pytest.param(
            {}, (endpoint_slice("127.0.0.1", "10.42.0.3; flush ruleset"),), {WEB: Pool()}, id="unusable addresses"
        ),
    ],
)
def test_pools_of_a_service(spec: Any, slices: Any, expected: Any) -> None:
    assert pools(Facts(service(**spec), slices)) == expected


def test_a_load_balancer_answers_on_its_given_address() -> None:
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"hostname": "x.example"}]}}
    found = pools(Facts(service(status=status, type="LoadBalancer"), (READY,)))
    assert found == {WEB: Pool(TWO), Frontend("192.0.2.9", "tcp", 80): Pool(TWO)}


def test_an_external_address_cannot_capture_a_cluster_address() -> None:
    thief = service("a-thief", created=1, clusterIP="10.96.0.6", externalIPs=["10.96.0.5"])
    victim = Facts(service(created=9), (READY,))
    translation = translate(picture(Facts(thief), victim))
    assert translation.ruleset.pools[WEB] == Pool(TWO)
    assert [(problem.service.name, problem.reason) for problem in translation.problems] == [
        ("a-thief", "FrontendConflict")
    ]
    assert "default/web" in translation.problems[0].message


def test_the_older_of_two_equal_claims_wins_in_any_order() -> None:
    old = Facts(service("z", created=1, clusterIP="10.96.0.6", externalIPs=["192.0.2.7"]))
    new = Facts(service("a", created=2, clusterIP="10.96.0.7", externalIPs=["192.0.2.7"]))
    for order in ((old, new), (new, old)):
        assert translate(picture(*order)).owners[Frontend("192.0.2.7", "tcp", 80)] == ObjectKey("default", "z")


def test_a_wrong_address_is_a_problem_and_the_rest_works() -> None:
    translation = translate(picture(Facts(service(externalIPs=["127.0.0.1", "fd00::1"]), (READY,))))
    assert translation.ruleset.pools == {WEB: Pool(TWO)}
    assert [problem.reason for problem in translation.problems] == ["InvalidAddress"]


STEPS: list[dict[str, Facts | None]] = [
    {"web": Facts(service(), (READY,))},
    {"api": Facts(service("api", clusterIP="10.96.0.6"), ())},
    {"web": Facts(service(), (endpoint_slice("10.42.0.3"),))},
    {"api": Facts(service("api", clusterIP="10.96.0.6", externalIPs=["10.96.0.5"]), (READY,))},
    {"web": None},
    {"web": Facts(service(ports=[{"port": 81}]), (READY,)), "api": Facts(service("api", clusterIP="10.96.0.6"))},
    {"api": None, "web": None},
]


def test_memory_never_changes_the_result() -> None:
    snapshot: Snapshot = {}
    remembered = Translation()
    for step in STEPS:
        world = {key.name: facts for key, facts in snapshot.items()} | step
        snapshot = take(
            snapshot,
            [ObjectKey("default", name) for name in step],
            lambda key, world=world: facts.service if (facts := world[key.name]) else None,  # type: ignore[misc]
            lambda key, world=world: facts.slices if (facts := world[key.name]) else (),  # type: ignore[misc]
        )
        remembered = translate(snapshot, remembered)
        fresh = translate(snapshot)
        assert remembered.ruleset == fresh.ruleset
        assert remembered.owners == fresh.owners
        assert set(remembered.problems) == set(fresh.problems)
