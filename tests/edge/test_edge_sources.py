"""What differs between HAProxies, with each of them: the wheel's, Debian 12's 2.6 with its limits, and Debian 13's."""

import asyncio
import contextlib
import os
import signal
from typing import Any

import msgspec
import pytest

from fairway.edge.access_log import Collector, listen
from fairway.edge.controller import heal
from fairway.edge.metrics import Traffic
from fairway.edge.plan import AddServer, DisableServer, Reload, RuntimeCommands
from fairway.edge.proxy import expected
from fairway.edge.translate import pem


async def test_servers_come_and_go(any_edge: Any, make: Any, pods: Any) -> None:
    edge = any_edge
    addresses = [await pods(f"p{number}").start() for number in range(6)]
    site = make.ingress("a", ("a.test", "/", "Prefix", "web"))
    await edge.apply([site, *make.service("web", *addresses[:2])])
    step = await edge.apply([site, *make.service("web", *addresses)])
    if edge.proxy.dynamic:
        assert [type(command) for command in step.commands].count(AddServer) == 2
    else:
        assert step == Reload(("changed backend p0",))
    found = {(await edge.get("a.test/")).pod for _ in range(24)}
    assert found == {f"p{number}" for number in range(6)}
    step = await edge.apply([site, *make.service("web", addresses[5])])
    assert {type(command) for command in step.commands} == {DisableServer}
    assert {(await edge.get("a.test/")).pod for _ in range(6)} == {"p5"}
    assert await edge.proxy.observe() == expected(edge.proxy.running)
    os.kill(edge.process.pid, signal.SIGKILL)
    await edge.proxy.ended()
    assert await edge.proxy.revive()
    assert {(await edge.get("a.test/")).pod for _ in range(6)} == {"p5"}
    assert await edge.proxy.observe() == expected(edge.proxy.running)


async def test_added_servers_keep_connections_and_cookies(any_edge: Any, make: Any, pods: Any) -> None:
    edge = any_edge
    addresses = [await pods(f"p{number}").start() for number in range(6)]
    site = make.ingress("a", ("a.test", "/", "Prefix", "web"), annotations={"affinity": "cookie"})
    await edge.apply([site, *make.service("web", addresses[0])])
    await edge.apply([site, *make.service("web", *addresses)])
    for _ in range(12):
        first = await edge.get("a.test/")
        cookie = first.headers["set-cookie"].partition(";")[0]
        assert {(await edge.get("a.test/", headers={"Cookie": cookie})).pod for _ in range(2)} == {first.pod}


async def test_timeouts_and_limits_change_without_a_reload(
    any_edge: Any, make: Any, pods: Any, request: pytest.FixtureRequest
) -> None:
    edge = any_edge
    web = make.service("web", await pods("web").start())

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    silent = await asyncio.start_server(slow, "127.0.0.1", 0)
    request.addfinalizer(silent.close)
    mute = make.service("mute", silent.sockets[0].getsockname()[:2])
    await edge.apply([make.ingress("a", ("a.test", "/", "Prefix", "web")), *web, *mute])

    def limited(body: str, seconds: str) -> list[Any]:
        rules = [("a", "/", "web", {"proxy-body-size": body}), ("m", "/mute", "mute", {"proxy-read-timeout": seconds})]
        return [make.ingress(name, ("a.test", path, "Prefix", service), annotations=annotations)
                for name, path, service, annotations in rules]  # fmt: skip

    step = await edge.apply([*limited("10", "1"), *web, *mute])
    assert isinstance(step, Reload)  # the first limit brings what counts bodies; those after it are values of a map
    long, short = {"Content-Length": "11"}, {"Content-Length": "0"}
    assert (await edge.get("a.test/", method="POST", headers=long)).status == 413
    assert (await edge.get("a.test/", method="POST", headers=short)).status == 200
    assert (await edge.get("a.test/mute")).status == 504
    step = await edge.apply([*limited("12", "2"), *web, *mute])
    assert isinstance(step, RuntimeCommands)
    assert (await edge.get("a.test/", method="POST", headers={"Content-Length": "13"})).status == 413


async def test_what_somebody_else_changed_is_healed_while_it_runs(any_edge: Any, make: Any, pods: Any) -> None:
    edge = any_edge
    secret = make.secret("a", "a.test")
    site = make.ingress("a", ("a.test", "/", "Prefix", "web"), tls={"a": ["a.test"]})
    await edge.apply([])
    await edge.apply([site, secret, *make.service("web", await pods("web").start())])
    name = next(iter(edge.proxy.running.certificates))
    socket, pid = edge.process.socket, edge.process.pid
    for command in (
        "del map maps/route.map a.test/",
        "add map maps/route.map b.test/x/? p0",
        "set server p0/s1 state maint",
        f"del ssl crt-list crt-list.txt certs/{name}.pem",
    ):
        await socket.ask(command)
    await socket.ask(f"del ssl cert certs/{name}.pem")
    assert await heal(edge.proxy)
    assert await edge.proxy.observe() == expected(edge.proxy.running)
    assert edge.process.pid == pid
    assert (await edge.get("https://a.test/")).pod == "web"
    assert (await edge.certificate("a.test")).subject.rfc4514_string() == "CN=a.test"


async def test_a_certificate_that_somebody_else_replaced_is_healed(any_edge: Any, make: Any) -> None:
    edge = any_edge
    site = make.ingress("a", ("a.test", "/", "Prefix", "web"), tls={"a": ["a.test"]})
    await edge.apply([])
    await edge.apply([site, make.secret("a", "a.test", serial=1)])
    (name,) = edge.proxy.running.certificates
    data = make.secret("a", "a.test", serial=2)["data"]
    other = pem.bundle(data["tls.crt"], data["tls.key"])
    await edge.process.socket.set_certificate(f"certs/{name}.pem", other)
    assert (await edge.certificate("a.test")).serial_number == 2
    assert await heal(edge.proxy)
    assert (await edge.certificate("a.test")).serial_number == 1
    assert not await heal(edge.proxy)


async def test_lines_come_from_each_of_them(any_edge: Any) -> None:
    edge = any_edge
    edge.options = msgspec.structs.replace(edge.options, log=True, trace=True)
    traffic, came = Traffic(), asyncio.Event()

    class Watching(Collector):
        def take(self, data: bytes) -> None:
            super().take(data)
            came.set()

    server = await listen(edge.folder / "root" / "access.sock", Watching(traffic, None), None)
    await edge.apply([])
    await edge.get("a.test/")
    await asyncio.wait_for(came.wait(), 60)
    assert (traffic.requests, traffic.malformed) == (1, 0)
    server.close()
