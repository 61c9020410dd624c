"""The relay of UDP as the room drives it: a real process, real sockets on loopback."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from fairway.engine.loadbalancer.config import HostSockets
from fairway.engine.loadbalancer.ir import Place, Route, Target
from fairway.engine.loadbalancer.relay import Relay
from fairway.engine.loadbalancer.sockets import Sockets
from fairway.processes.broker import receiver


class Host:
    """Sockets of this very host, kept as the broker does."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, int], socket.socket] = {}

    async def bind(self, host: str, port: int) -> socket.socket:
        if (host, port) not in self.kept:
            self.kept[host, port] = receiver(host, port)
        return self.kept[host, port].dup()

    async def bound(self) -> tuple[tuple[str, int], ...]:
        return tuple(self.kept)

    async def unbind(self, host: str, port: int) -> None:
        self.kept.pop((host, port)).close()


class Echo(asyncio.DatagramProtocol):
    """Answers with its own name before what it got."""

    def __init__(self, name: bytes) -> None:
        self._name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(self._name + data, addr)


class World:
    """A relay, and servers behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = Host()
        self._transports: list[asyncio.BaseTransport] = []
        self.open: list[socket.socket] = []
        self.make()

    def make(self) -> None:
        """As an engine that starts: what is open comes from the broker, what runs from the relay."""
        self.sockets = Sockets("UDP", HostSockets(self.host.bind, self.host.bound, self.host.unbind), {})
        self.relay = Relay(self.folder, self.sockets, (65534, 65534) if os.geteuid() == 0 else None)

    async def server(self, name: bytes) -> Target:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: Echo(name), local_addr=("127.0.0.1", 0))
        self._transports.append(transport)
        return Target(*transport.get_extra_info("sockname"))

    async def apply(self, routes: dict[Place, Route]) -> bool:
        for place in routes:
            assert await self.sockets.open(place) == ""
        changed = await self.relay.apply(routes)
        await self.sockets.release_others(routes)
        return changed

    def place(self, host: str = "127.0.0.1") -> Place:
        """One of the host's that is free, and kept so."""
        sock = receiver(host, 0)
        port = sock.getsockname()[1]
        self.host.kept[host, port] = sock
        return Place(host, port, "UDP")

    def client(self, address: str = "127.0.0.1") -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, 0))
        sock.setblocking(False)
        self.open.append(sock)
        return sock

    def end(self) -> None:
        for sock in self.open:
            sock.close()
        for transport in self._transports:
            transport.close()
        for name in list(self.host.kept):
            self.host.kept.pop(name).close()

    def pid(self) -> int:
        """The relay's process, by the socket that it listens on."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.connect(str(self.folder / "relay.sock"))
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int.from_bytes(credentials[:4], "little")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "udp")
    yield made
    try:
        os.kill(made.pid(), signal.SIGKILL)
    except OSError:
        pass
    made.relay._forget()
    await made.sockets.release_others({})
    made.end()


async def ask(sock: socket.socket, place: Place, data: bytes, host: str = "") -> bytes:
    """Send until the answer comes: datagrams may be lost, and a relay may just be starting."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(60):
        while True:
            await loop.sock_sendto(sock, data, (host or place.host, place.port))
            try:
                async with asyncio.timeout(1):
                    answer, sender = await loop.sock_recvfrom(sock, 65535)
            except (TimeoutError, ConnectionRefusedError):
                continue
            assert sender == (host or place.host, place.port)
            if answer.endswith(data):  # and not a late one to what was asked before
                return answer


async def test_each_client_gets_its_own_answers(world: World) -> None:
    place, target = world.place(), await world.server(b"a:")
    assert await world.apply({place: Route(target)})
    assert not await world.apply({place: Route(target)})
    clients = [world.client() for _ in range(20)]
    answers = await asyncio.gather(*(ask(sock, place, b"%d" % number) for number, sock in enumerate(clients)))
    assert answers == [b"a:%d" % number for number in range(20)]
    large = os.urandom(60_000)
    assert await ask(clients[0], place, large) == b"a:" + large


async def test_the_answer_comes_from_the_address_that_was_asked(world: World) -> None:
    place = world.place("0.0.0.0")
    await world.apply({place: Route(await world.server(b""))})
    for host in ("127.0.0.1", "127.0.0.5"):
        assert await ask(world.client(), place, b"x", host) == b"x"


async def test_another_target_takes_over_at_once(world: World) -> None:
    place, client = world.place(), world.client()
    await world.apply({place: Route(await world.server(b"a:"))})
    assert await ask(client, place, b"x") == b"a:x"
    await world.apply({place: Route(await world.server(b"b:"))})
    assert await ask(client, place, b"y") == b"b:y"


async def test_only_the_sources_are_let_in(world: World) -> None:
    place, open_place, target = world.place(), world.place(), await world.server(b"")
    await world.apply({place: Route(target, ("127.0.0.7/32",)), open_place: Route(target)})
    stranger = world.client()
    await asyncio.get_running_loop().sock_sendto(stranger, b"x", (place.host, place.port))
    assert await ask(world.client("127.0.0.7"), place, b"mine") == b"mine"
    assert await ask(stranger, open_place, b"last") == b"last"  # and not the answer to what came before


async def test_a_place_that_is_given_up_is_free_again(world: World) -> None:
    place, other, target = world.place(), world.place(), await world.server(b"")
    await world.apply({place: Route(target), other: Route(target)})
    assert await world.apply({other: Route(target)})
    receiver(place.host, place.port).close()
    assert await ask(world.client(), other, b"x") == b"x"


async def test_a_server_that_comes_later_is_found(world: World) -> None:
    place = world.place()
    with receiver("127.0.0.1", 0) as sock:
        target = Target(*sock.getsockname())
    await world.apply({place: Route(target)})
    client = world.client()
    await asyncio.get_running_loop().sock_sendto(client, b"lost", (place.host, place.port))
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Echo(b""), local_addr=target)
    assert await ask(client, place, b"x") == b"x"
    transport.close()


async def test_it_serves_on_without_its_engine_and_the_next_one_finds_it(world: World) -> None:
    place, target, client = world.place(), await world.server(b""), world.client()
    await world.apply({place: Route(target)})
    assert await ask(client, place, b"x") == b"x"
    before = world.pid()
    world.relay._forget()
    world.sockets[place].close()
    assert await ask(client, place, b"alone") == b"alone"
    world.make()
    await world.relay.adopt()
    assert world.relay.running == {place: Route(target)}
    assert not await world.apply({place: Route(target)})
    assert world.pid() == before


async def test_one_that_was_killed_is_noticed_and_started_again(world: World) -> None:
    place, target = world.place(), await world.server(b"")
    await world.apply({place: Route(target)})
    noticing = asyncio.create_task(world.relay.ended())
    await asyncio.sleep(0)
    os.kill(world.pid(), signal.SIGKILL)
    await asyncio.wait_for(noticing, 60)
    assert world.relay.running == {}
    assert await world.apply({place: Route(target)})
    assert await ask(world.client(), place, b"x") == b"x"


async def test_three_hundred_places(world: World) -> None:
    target = await world.server(b"")
    places = [world.place() for _ in range(300)]
    await world.apply({place: Route(target) for place in places})
    assert set(world.relay.running) == set(places)
    assert await ask(world.client(), places[-1], b"x") == b"x"
