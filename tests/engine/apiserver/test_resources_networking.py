"""Ingresses, IngressClasses and EndpointSlices: refusals and rows."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fairway.engine.apiserver.resources.endpoints import ENDPOINTS
from fairway.engine.apiserver.resources.endpointslices import ENDPOINT_SLICES
from fairway.engine.apiserver.resources.ingressclasses import INGRESS_CLASSES
from fairway.engine.apiserver.resources.ingresses import INGRESSES

Object = dict[str, Any]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}


def ingress(*paths: Object, **spec: Any) -> Object:
    rules = [{"host": "a.example.com", "http": {"paths": list(paths)}}] if paths else None
    return {"metadata": {"name": "web"}, "spec": {**({"rules": rules} if rules else {}), **spec}}


def path(text: str | None = "/", kind: str | None = "Prefix", backend: Object | None = None) -> Object:
    found = {"path": text, "pathType": kind, "backend": backend or BACKEND}
    return {key: value for key, value in found.items() if value is not None}


AT = "spec.rules[0].http.paths[0]"


@pytest.mark.parametrize(
    ("obj", "causes"),
    [
        (ingress(path()), []),
        (ingress(defaultBackend=BACKEND), []),
        (ingress(), [("spec", "Invalid value: []: either `defaultBackend` or `rules` must be specified")]),
        (ingress(path(kind=None)), [(f"{AT}.pathType", "Required value: pathType must be specified")]),
        (
            ingress(path(kind="Regex")),
            [
                (
                    f"{AT}.pathType",
                    'Unsupported value: "Regex": supported values: "Exact", "ImplementationSpecific", "Prefix"',
                )
            ],
        ),
        (ingress(path("api")), [(f"{AT}.path", 'Invalid value: "api": must be an absolute path')]),
        (ingress(path("/a//b")), [(f"{AT}.path", "Invalid value: \"/a//b\": must not contain '//'")]),
        (ingress(path("/a/..")), [(f"{AT}.path", "Invalid value: \"/a/..\": cannot end with '/..'")]),
        (ingress(path(None, "ImplementationSpecific")), []),
        (
            ingress(path(backend={"service": {"name": "web", "port": {"number": 80, "name": "http"}}})),
            [(f"{AT}.backend", 'Invalid value: "": cannot set both port name & port number')],
        ),
        (
            ingress(path(backend={"service": {"name": "web"}})),
            [(f"{AT}.backend", "Required value: port name or number is required")],
        ),
        (
            ingress(path(), rules=[{"host": "10.0.0.1"}]),
            [("spec.rules[0].host", 'Invalid value: "10.0.0.1": must be a DNS name, not an IP address')],
        ),
        (ingress(path(), rules=[{"host": "*.example.com"}]), []),
    ],
)
def test_ingress_validation(obj: Object, causes: list[tuple[str, str]]) -> None:
    assert [(cause.field, cause.message) for cause in INGRESSES.validate(obj, None)] == causes


@pytest.mark.parametrize("host", ["*.*.example.com", "Example.com", "*", "a_b.example.com"])
def test_bad_hosts(host: str) -> None:
    obj = ingress(path(), rules=[{"host": host}])
    assert [cause.field for cause in INGRESSES.validate(obj, None)] == ["spec.rules[0].host"]


def test_ingress_row() -> None:
    obj = ingress(path(), ingressClassName="fairway", tls=[{}])
    obj["status"] = {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}, {"hostname": "lb"}]}}
    assert INGRESSES.row(obj, NOW)[1:5] == ["fairway", "a.example.com", "10.0.0.1,lb", "80, 443"]
    obj["spec"] = {"rules": [{"host": f"{name}.io"} for name in "abcd"]}
    assert INGRESSES.row(obj, NOW)[1:5] == ["<none>", "a.io,b.io,c.io + 1 more...", "10.0.0.1,lb", "80"]


@pytest.mark.parametrize(
    ("controller", "count"), [("fairway.dev/edge", 0), ("", 1), ("edge", 1), ("Fairway/edge", 1), ("a.b/", 1)]
)
def test_ingress_class_controller(controller: str, count: int) -> None:
    obj = {"metadata": {"name": "x"}, "spec": {"controller": controller}}
    assert len(INGRESS_CLASSES.validate(obj, None)) == count


def test_ingress_class_controller_never_changes() -> None:
    old, new = ({"metadata": {"name": "x"}, "spec": {"controller": name}} for name in ("a.b/c", "a.b/d"))
    (cause,) = INGRESS_CLASSES.validate(new, old)
    assert (cause.field, cause.message) == ("spec.controller", 'Invalid value: "a.b/d": field is immutable')


def test_endpoint_slice_defaults_rules_and_row() -> None:
    obj: Object = {
        "metadata": {"name": "web-1"},
        "addressType": "IPv4",
        "ports": [{"port": 80}],
        "endpoints": [{"addresses": [f"10.0.0.{index}"]} for index in range(4)],
    }
    ENDPOINT_SLICES.default(obj)
    assert obj["ports"] == [{"port": 80, "name": "", "protocol": "TCP"}]
    assert ENDPOINT_SLICES.validate(obj, None) == []
    assert ENDPOINT_SLICES.row(obj, NOW)[1:4] == ["IPv4", "80", "10.0.0.0,10.0.0.1,10.0.0.2 + 1 more..."]
    obj["endpoints"] = [{"addresses": ["::1"]}, {"addresses": []}]
    assert [cause.field for cause in ENDPOINT_SLICES.validate(obj, None)] == [
        "endpoints[0].addresses[0]",
        "endpoints[1].addresses",
    ]


def test_endpoints_row() -> None:
    subset = {"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "ports": [{"port": 80}]}
    assert ENDPOINTS.row({"metadata": {"name": "x"}, "subsets": [subset]}, NOW)[1] == "10.0.0.1:80,10.0.0.2:80"
    assert ENDPOINTS.row({"metadata": {"name": "x"}}, NOW)[1] == "<none>"
