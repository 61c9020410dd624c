"""Services: defaults, what stays allocated, what is refused, what tables show."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fairway.engine.apiserver.resources.services import SERVICES

Object = dict[str, Any]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PORT = {"port": 80}


def service(**spec: Any) -> Object:
    obj = {"metadata": {"name": "web", "namespace": "default"}, "spec": {"ports": [dict(PORT)], **spec}}
    SERVICES.default(obj)
    return obj


def refused(obj: Object, old: Object | None = None) -> list[tuple[str, str]]:
    return [(cause.field, cause.message) for cause in SERVICES.validate(obj, old)]


def test_defaults() -> None:
    obj = service(selector={"app": "web"})
    assert obj["spec"] == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "selector": {"app": "web"},
        "sessionAffinity": "None",
        "type": "ClusterIP",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    }
    assert obj["status"] == {"loadBalancer": {}}


def test_defaults_by_type() -> None:
    assert service(type="NodePort")["spec"]["externalTrafficPolicy"] == "Cluster"
    balancer = service(type="LoadBalancer")["spec"]
    assert balancer["allocateLoadBalancerNodePorts"] is True
    external = service(type="ExternalName", externalName="x.y")["spec"]
    assert "ipFamilies" not in external
    assert "internalTrafficPolicy" not in external
    affinity = service(sessionAffinity="ClientIP")["spec"]
    assert affinity["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}


@pytest.mark.parametrize(
    ("spec", "causes"),
    [
        ({}, []),
        ({"ports": []}, [("spec.ports", "Required value")]),
        ({"ports": [], "clusterIP": "None"}, []),
        (
            {"ports": [{"port": 80}, {"port": 81, "name": "b"}]},
            [("spec.ports[0].name", "Required value")],
        ),
        (
            {"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "a"}]},
            [
                ("spec.ports[1].name", 'Duplicate value: "a"'),
                ("spec.ports[1]", 'Duplicate value: {"protocol":"TCP","port":80}'),
            ],
        ),
        (
            {"ports": [{"port": 0, "targetPort": 8080}]},
            [("spec.ports[0].port", "Invalid value: 0: must be between 1 and 65535, inclusive")],
        ),
        (
            {"type": "Cluster"},
            [
                (
                    "spec.type",
                    'Unsupported value: "Cluster": supported values: "ClusterIP", "ExternalName", "LoadBalancer", '
                    '"NodePort"',
                )
            ],
        ),
        (
            {"ports": [{"port": 80, "nodePort": 30000}]},
            [("spec.ports[0].nodePort", "Forbidden: may not be used when `type` is 'ClusterIP'")],
        ),
        ({"type": "ExternalName"}, [("spec.externalName", "Required value")]),
        (
            {"sessionAffinity": "Cookie"},
            [("spec.sessionAffinity", 'Unsupported value: "Cookie": supported values: "ClientIP", "None"')],
        ),
    ],
)
def test_validation(spec: Object, causes: list[tuple[str, str]]) -> None:
    assert refused(service(**spec)) == causes


def test_addresses_and_node_ports_stay_when_left_out() -> None:
    old = service(type="NodePort", clusterIP="10.96.0.7", clusterIPs=["10.96.0.7"])
    old["spec"]["ports"][0]["nodePort"] = 30001
    new = service(type="NodePort")
    SERVICES.prepare_update(new, old)
    assert new["spec"]["clusterIP"] == "10.96.0.7"
    assert new["spec"]["ports"][0]["nodePort"] == 30001
    assert refused(new, old) == []


def test_back_to_cluster_ip_drops_the_node_port() -> None:
    old = service(type="NodePort", clusterIP="10.96.0.7", ports=[{"port": 80, "nodePort": 30001}])
    new = service(clusterIP="10.96.0.7", ports=[{"port": 80, "nodePort": 30001}], externalTrafficPolicy="Cluster")
    SERVICES.prepare_update(new, old)
    assert "nodePort" not in new["spec"]["ports"][0]
    assert refused(new, old) == []


def test_the_address_may_not_change() -> None:
    old, new = service(clusterIP="10.96.0.7"), service(clusterIP="10.96.0.8")
    SERVICES.prepare_update(new, old)
    assert refused(new, old) == [("spec.clusterIPs[0]", 'Invalid value: ["10.96.0.8"]: may not change once set')]


@pytest.mark.parametrize(
    ("spec", "status", "cells"),
    [
        ({"clusterIP": "10.96.0.7"}, {}, ["ClusterIP", "10.96.0.7", "<none>", "80/TCP"]),
        (
            {"type": "NodePort", "clusterIP": "10.96.0.7", "ports": [{"port": 80, "nodePort": 30001}]},
            {},
            ["NodePort", "10.96.0.7", "<none>", "80:30001/TCP"],
        ),
        ({"type": "LoadBalancer"}, {}, ["LoadBalancer", "<none>", "<pending>", "80/TCP"]),
        (
            {"type": "LoadBalancer"},
            {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}},
            ["LoadBalancer", "<none>", "1.2.3.4", "80/TCP"],
        ),
        (
            {"type": "ExternalName", "externalName": "example.com", "ports": []},
            {},
            ["ExternalName", "<none>", "example.com", "<none>"],
        ),
        (
            {"clusterIP": "None", "externalIPs": ["1.1.1.1"], "ports": [{"port": 53, "protocol": "UDP"}, {"port": 80}]},
            {},
            ["ClusterIP", "None", "1.1.1.1", "53/UDP,80/TCP"],
        ),
    ],
)
def test_row(spec: Object, status: Object, cells: list[str]) -> None:
    obj = service(**spec)
    obj["status"] = status
    assert SERVICES.row(obj, NOW)[1:5] == cells
