"""The broker's two ends over a real socket pair."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator

import pytest
from cluster import free_port

from fairway.processes.broker import Broker, BrokerServer, local_addresses


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    outer, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server = BrokerServer(outer)

    def serve() -> None:
        while server.serve_one():
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    yield Broker(inner)
    asyncio.get_running_loop().remove_reader(inner.fileno())
    inner.close()
    thread.join()
    outer.close()


async def test_a_listener_and_a_connection_from_outside_meet(broker: Broker) -> None:
    listening = await broker.listen("127.0.0.1", 0)
    connected = await broker.connect(*listening.getsockname())
    loop = asyncio.get_running_loop()
    accepted, _ = await loop.sock_accept(listening)
    await loop.sock_sendall(connected, b"hello")
    assert await loop.sock_recv(accepted, 10) == b"hello"
    for sock in (listening, connected, accepted):
        sock.close()


async def test_a_datagram_socket_knows_its_peer(broker: Broker) -> None:
    with await broker.datagram("127.0.0.1", 5353) as sock:
        assert sock.getpeername() == ("127.0.0.1", 5353)


async def test_what_fails_outside_raises_inside(broker: Broker) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            await broker.connect(*taken.getsockname())
        taken.listen()
        with pytest.raises(OSError, match="Address already in use"):
            await broker.listen(*taken.getsockname())


async def test_many_requests_at_once_get_their_own_answers(broker: Broker) -> None:
    listening = await broker.listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    sockets = await asyncio.gather(*(broker.connect("127.0.0.1", port) for _ in range(20)))
    assert len({sock.getsockname() for sock in sockets}) == 20
    for sock in (*sockets, listening):
        sock.close()


async def test_listeners_are_kept_until_they_are_released(broker: Broker) -> None:
    port = free_port()
    (await broker.listen("127.0.0.1", port)).close()
    assert await broker.held() == (("127.0.0.1", port),)
    (await broker.connect("127.0.0.1", port)).close()
    again = await broker.listen("127.0.0.1", port)
    await broker.release("127.0.0.1", port)
    again.close()
    assert await broker.held() == ()
    with pytest.raises(ConnectionRefusedError):
        await broker.connect("127.0.0.1", port)


def test_the_addresses_of_a_machine_are_read_from_its_routes() -> None:
    trie = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 192.0.2.0
        /24 link UNICAST
Local:
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
     +-- 192.0.2.0/24 2 0 2
        |-- 192.0.2.7
           /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
"""
    assert local_addresses(trie) == ("192.0.2.7",)
