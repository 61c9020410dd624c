"""TCP services whose port another program has, with a real HAProxy; and UDP services."""

import socket
from typing import Any

from cluster import free_port

from fairway.edge.controller import Controller
from fairway.edge.ports import usable, why_not
from fairway.edge.snapshot import Snapshot, of_manifests
from fairway.edge.translate import translate
from fairway.kube.api.meta import ObjectReference
from fairway.toolkit.clock import SystemClock


class Told:
    """Takes Events and says nothing to anybody."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    async def record(self, regarding: ObjectReference, type: str, reason: str, message: str) -> None:
        self.events.append((f"{regarding.kind} {regarding.namespace}/{regarding.name}", reason, message))


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": "ingress-nginx"}, "data": data}


async def test_a_port_that_is_taken_holds_nothing_else_up(edge: Any, make: Any, pods: Any) -> None:
    taken, free = free_port(), free_port()
    holder = socket.create_server(("0.0.0.0", taken))
    raws = [
        *make.classes(),
        *make.service("web", await pods("web").start()),
        config_map("tcp-services", **{str(taken): "default/web:80", str(free): "default/web:80"}),
    ]
    snapshots = [of_manifests(raws), of_manifests([*raws, make.ingress("a", ("a.test", "/", "Prefix", "web"))])]
    told, now = Told(), list[Snapshot]()
    controller = Controller(
        None,  # type: ignore[arg-type]  # there is no status to be written
        edge.proxy,
        lambda: now[-1],
        told,  # type: ignore[arg-type]
        SystemClock(),
        options=edge.options,
        addresses=(),
        leads=lambda: False,
    )
    for snapshot in snapshots:
        now.append(snapshot)
        assert await controller.once() <= 5
        await controller.reporter.once()
    (event,) = told.events
    assert event[:2] == ("ConfigMap ingress-nginx/tcp-services", "PortNotAvailable")
    assert f"tcp-services {taken}: the port cannot be opened: another program has it" in event[2]
    assert (await edge.get("a.test/")).pod == "web"
    request = b"GET /tcp HTTP/1.1\r\nHost: x\r\n\r\n"
    assert (await make.exchange(*await edge.to(free), request)).pod == "web"
    holder.close()
    controller._reloaded_at = float("-inf")  # no second to wait for the next reload
    await controller.once()
    await controller.reporter.once()
    assert (await make.exchange(*await edge.to(taken), request)).pod == "web"
    assert len(told.events) == 1


def test_why_a_port_cannot_be_had() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        assert "another program has it" in why_not(holder.getsockname()[1])
    assert why_not(free_port()) == ""


def test_only_the_listener_goes(make: Any) -> None:
    raws = [
        *make.classes(),
        *make.service("web", ("10.0.0.1", 80)),
        config_map("tcp-services", **{"9": "default/web:80"}),
    ]
    edge = translate(of_manifests(raws)).edge
    kept, problems = usable(edge, None, lambda port: "permission denied")
    assert (kept.listeners, kept.backends) == ((), edge.backends)
    assert "permission denied" in problems[0].message
    assert usable(edge, None, lambda port: "") == (edge, ())


def test_mistakes_are_told_on_the_map_that_has_them(make: Any) -> None:
    raws = [
        *make.classes(),
        config_map("tcp-services", x="y"),
        config_map("udp-services", **{"53": "kube/dns:53"}),
    ]
    found = [(one.ingress.name, one.reason, one.message) for one in translate(of_manifests(raws)).problems]
    assert [one[:2] for one in found] == [
        ("tcp-services", "InvalidConfiguration"),
        ("udp-services", "UnsupportedConfiguration"),
    ]
    assert "give Service 'kube/dns' the type LoadBalancer" in found[1][2]
