"""What every `Proxy` does, the real HAProxy and the fake alike."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fairway.edge import default_certificate
from fairway.edge.fake import FakeHaproxy
from fairway.edge.haproxy import Haproxy
from fairway.edge.ir import Backend, Certificate, Edge, Forward, Match, NotFound, PathKind, Route, Server
from fairway.edge.place import EMPTY, place
from fairway.edge.plan import AddCertificate, AddEntries, NoChange, Reload, RuntimeCommands, SetEntries, plan
from fairway.edge.proxy import CertificateRefused, Proxy, expected
from fairway.edge.render import Options, Rendered, render
from fairway.edge.translate import pem
from fairway.toolkit.haproxy import CommandRefused, ConfigRefused, Process, find

OPTIONS = Options(http="unix@http.sock", https="unix@https.sock", threads=1, hard_stop_seconds=1)


@pytest.fixture(params=["fake", "wheel", "debian12", "debian13"])
async def proxy(request: pytest.FixtureRequest, tmp_path: Path, haproxies: Any) -> AsyncIterator[Proxy]:
    if request.param == "fake":
        yield FakeHaproxy()
        return
    process = Process(haproxies(request.param), tmp_path)
    default_certificate.load_or_create(tmp_path / "default.pem", datetime.now(UTC))
    yield Haproxy(process, tmp_path)
    await process.stop()


def edge(*hosts: str, servers: int = 1, certificates: tuple[Certificate, ...] = ()) -> Edge:
    names = [f"default/{host}:80" for host in hosts]
    routes = [Route(Match(host, "/", PathKind.PREFIX), Forward(name)) for host, name in zip(hosts, names, strict=True)]
    addresses = tuple(Server(f"10.0.0.{number + 1}", 80) for number in range(servers))
    return Edge(tuple(routes), tuple(Backend(name, addresses) for name in names), certificates)


def step(proxy: Proxy, wanted: Edge) -> tuple[Any, Rendered]:
    running = proxy.running
    desired = render(wanted, place(wanted, running.placement if running else EMPTY), OPTIONS)
    return plan(running, desired), desired


async def bring(proxy: Proxy, wanted: Edge) -> Any:
    todo, desired = step(proxy, wanted)
    await proxy.apply(todo, desired)
    return todo


def certificate(make: Any, name: str, *hosts: str, serial: int = 1) -> Certificate:
    data = make.secret(name, *hosts, serial=serial)["data"]
    return Certificate(name, pem.bundle(data["tls.crt"], data["tls.key"]), hosts)


async def test_it_has_what_it_was_given(proxy: Proxy, make: Any) -> None:
    a = certificate(make, "a", "a.test", "b.test")
    a2, c = certificate(make, "a", "a.test", "b.test", serial=2), certificate(make, "c", "*.c.test")
    regex = Route(Match("r.test", r"/x(\d+)\.y", PathKind.REGEX), Forward("default/a.test:80", rewrite="/$1"))
    steps = [
        (edge("a.test"), Reload),
        (edge("a.test"), NoChange),
        (edge("a.test", "b.test", servers=3), RuntimeCommands),
        (edge("b.test", servers=2), RuntimeCommands),
        (edge("b.test", certificates=(a, c)), RuntimeCommands),
        (edge("a.test", certificates=(a2,)), RuntimeCommands),
        (edge("a.test", servers=0), RuntimeCommands),
        (edge("a.test", servers=5), Reload),
        (msgspec.structs.replace(edge("a.test"), routes=(regex, *edge("a.test").routes)), RuntimeCommands),
        (
            msgspec.structs.replace(edge(), routes=(Route(Match("a.test", "/", PathKind.PREFIX), NotFound()),)),
            RuntimeCommands,
        ),
        (edge(), RuntimeCommands),
    ]
    for wanted, kind in steps:
        assert type(await bring(proxy, wanted)) is kind
        assert proxy.running is not None
        assert await proxy.observe() == expected(proxy.running)


async def test_many_entries_at_once(proxy: Proxy) -> None:
    await bring(proxy, edge("a.test"))
    routes = tuple(Route(Match(f"h{number}.test", "/", PathKind.PREFIX), NotFound()) for number in range(2000))
    await bring(proxy, msgspec.structs.replace(edge("a.test"), routes=routes))
    assert proxy.running is not None
    assert await proxy.observe() == expected(proxy.running)


async def test_a_command_about_something_unknown_is_refused_and_nothing_is_trusted_then(proxy: Proxy) -> None:
    await bring(proxy, edge("a.test"))
    assert proxy.running is not None
    wrong = RuntimeCommands((SetEntries("maps/route.map", {"none.test/": "p0"}),))
    with pytest.raises(CommandRefused):
        await proxy.apply(wrong, proxy.running)
    assert proxy.running is None
    assert type(await bring(proxy, edge("a.test"))) is Reload


async def test_a_certificate_that_is_refused_is_named(proxy: Proxy, make: Any) -> None:
    await bring(proxy, edge("a.test"))
    bad = Certificate("bad", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ("a.test",))
    if isinstance(proxy, FakeHaproxy):
        proxy.bad_pems.add(bad.pem)
    assert proxy.running is not None
    desired = msgspec.structs.replace(proxy.running, certificates={"bad": bad})
    with pytest.raises(CertificateRefused) as caught:
        await proxy.apply(RuntimeCommands((AddCertificate(bad),)), desired)
    assert caught.value.pem == bad.pem
    with pytest.raises(CertificateRefused) as caught:
        await proxy.apply(Reload(("test",)), desired)
    assert caught.value.pem == bad.pem


async def test_a_configuration_that_is_refused_leaves_the_old_one_running(tmp_path: Path) -> None:
    process = Process(find(), tmp_path)
    default_certificate.load_or_create(tmp_path / "default.pem", datetime.now(UTC))
    proxy = Haproxy(process, tmp_path)
    try:
        await bring(proxy, edge("a.test"))
        running, pid = proxy.running, process.pid
        assert running is not None
        broken = msgspec.structs.replace(running, sections=(*running.sections, running.sections[-1]))
        with pytest.raises(ConfigRefused):
            await proxy.apply(Reload(("test",)), broken)
        assert (proxy.running, process.pid) == (running, pid)
        assert await proxy.observe() == expected(running)
        assert type(await bring(proxy, edge("a.test", "b.test"))) is RuntimeCommands
    finally:
        await process.stop()


async def test_the_next_engine_adopts_what_runs(edge: Any, make: Any, pods: Any) -> None:
    first = [make.ingress("a", ("a.test", "/", "Prefix", "web")), *make.service("web", await pods("web").start())]
    await edge.apply(first)
    pid = edge.process.pid
    edge.process.release()
    edge.proxy = edge.new_proxy()
    await edge.proxy.adopt()
    assert edge.process.pid == pid
    assert isinstance(await edge.apply(first), NoChange)
    more = [*first, make.ingress("b", ("b.test", "/", "Prefix", "web"))]
    step = await edge.apply(more)
    assert [type(command) for command in step.commands] == [AddEntries]
    assert (await edge.get("b.test/")).status == 200


async def test_an_engine_that_died_halfway_leaves_a_hint_to_reload(edge: Any, make: Any) -> None:
    await edge.apply([make.ingress("a", ("a.test", "/", "Prefix", "web"))])
    (edge.folder / "applied.json").unlink()
    edge.process.release()
    edge.proxy = edge.new_proxy()
    await edge.proxy.adopt()
    assert edge.proxy.running is None
    assert isinstance(await edge.apply([]), Reload)


async def test_a_killed_haproxy_is_noticed_and_comes_back_as_it_was(edge: Any, make: Any, pods: Any) -> None:
    raws = [make.ingress("a", ("a.test", "/", "Prefix", "web")), *make.service("web", await pods("web").start())]
    await edge.apply([])
    await edge.apply(raws)
    await edge.proxy.save()
    os.kill(edge.process.pid, signal.SIGKILL)
    await asyncio.wait_for(edge.proxy.ended(), 60)
    await edge.process.start()  # from the files alone, without any further word
    assert (await edge.get("a.test/")).pod == "web"
    assert await edge.proxy.observe() == expected(edge.proxy.running)
