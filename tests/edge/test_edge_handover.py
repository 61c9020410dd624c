"""A connection that outlives its HAProxy: what it asks is answered by the one that took over."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fairway.edge.plan import Reload, RuntimeCommands
from fairway.toolkit.websocket import accept_key

REQUEST = b"GET /x HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n"

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = f"Sec-WebSocket-Accept: {accept_key(KEY)}\r\n"
UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
).encode()


def site(make: Any, *addresses: Any, forced: int = 0, **annotations: str) -> list[Any]:
    """One host over both schemes; another `forced` is a reload."""
    named = {"upstream-vhost": f"v{forced}.internal"}
    return [
        make.ingress(
            "a",
            ("a.test", "/", "Prefix", "web"),
            tls={"a": ["a.test"]},
            annotations={"ssl-redirect": "false", **annotations},
        ),
        make.secret("a", "a.test"),
        *make.service("web", *addresses),
        *([make.ingress("forced", ("f.test", "/", "Prefix", "web"), annotations=named)] if forced else []),
    ]


@pytest.fixture
async def connect(any_edge: Any) -> AsyncIterator[Any]:
    """Connections that are kept until the end."""
    writers = []

    async def connect(name: str | None = None) -> Any:
        streams = await any_edge.connect(name)
        writers.append(streams[1])
        return streams

    yield connect
    for writer in writers:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


async def test_requests_go_to_the_process_that_knows(any_edge: Any, connect: Any, make: Any, pods: Any) -> None:
    old, new = pods("old"), pods("new")
    first = site(make, await old.start())
    await any_edge.apply(first)
    kept = [await connect(name) for name in (None, "a.test")]
    before = [await make.exchange(*streams, REQUEST) for streams in kept]
    address = await new.start()
    assert isinstance(await any_edge.apply(site(make, *[await pods("third").start()], forced=1)), Reload)
    assert isinstance(await any_edge.apply([*site(make, address, forced=1)]), RuntimeCommands)
    await old.kill()
    for streams, was in zip(kept, before, strict=True):
        now = await make.exchange(*streams, REQUEST)
        assert (was.pod, now.status, now.pod) == ("old", 200, "new")
        assert now.headers["connection"] == "close"
        for header in ("x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-host"):
            assert now.sent(header) == was.sent(header)
        assert now.sent("x-original-forwarded-for") == "9.9.9.9"


async def test_one_after_the_other(any_edge: Any, connect: Any, make: Any, pods: Any) -> None:
    """Several are replaced while connections of each wait: all lead to the newest."""
    await any_edge.apply(site(make, await pods("p0").start()))
    kept = []
    for number in range(1, 4):
        streams = await connect("a.test" if number % 2 else None)
        await make.exchange(*streams, REQUEST)
        kept.append(streams)
        await any_edge.apply(site(make, await pods(f"p{number}").start(), forced=number))
    answers = await asyncio.gather(*(make.exchange(*streams, REQUEST) for streams in kept))
    assert [(answer.status, answer.pod) for answer in answers] == [(200, "p3")] * 3


async def test_a_change_of_protocol_is_handed_over(any_edge: Any, connect: Any, make: Any, pods: Any) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{ACCEPT}\r\n".encode())
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    await any_edge.apply(site(make, await pods("old").start()))
    reader, writer = await connect()
    await make.exchange(reader, writer, REQUEST)
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        await any_edge.apply(site(make, server.sockets[0].getsockname()[:2], forced=1))
        writer.write(UPGRADE)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        writer.close()


async def test_http_redirects_only_where_it_came_without_tls(any_edge: Any, connect: Any, make: Any, pods: Any) -> None:
    address = await pods("web").start()
    secure = {"ssl-redirect": "true"}
    await any_edge.apply(site(make, address, **secure))
    kept = [await connect(name) for name in (None, "a.test")]
    assert [(await make.exchange(*streams, REQUEST)).status for streams in kept] == [308, 200]
    await any_edge.apply(site(make, address, forced=1, **secure))
    assert [(await make.exchange(*streams, REQUEST)).status for streams in kept] == [308, 200]


async def test_who_showed_a_certificate_is_not_forgotten(any_edge: Any, make: Any, pods: Any, tmp_path: Path) -> None:
    client = make.secret("client", "joe")
    pem = tmp_path / "client.pem"
    pem.write_bytes(b"".join(base64.b64decode(client["data"][name]) for name in ("tls.crt", "tls.key")))
    authority = {"kind": "Secret", "metadata": {"name": "ca", "namespace": "default"},
                 "data": {"ca.crt": client["data"]["tls.crt"]}}  # fmt: skip
    address = await pods("web").start()
    asking = {"auth-tls-secret": "ca", "auth-tls-verify-client": "optional"}
    await any_edge.apply([authority, *site(make, address, **asking)])
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    shown.check_hostname, shown.verify_mode = False, ssl.CERT_NONE
    shown.load_cert_chain(pem)
    port = any_edge.https_port
    with_one = await asyncio.open_connection("127.0.0.1", port, ssl=shown, server_hostname="a.test")
    without = await any_edge.connect("a.test")
    for forced in (0, 1):
        await any_edge.apply([authority, *site(make, address, forced=forced, **asking)])
        answers = [await make.exchange(*streams, REQUEST) for streams in (with_one, without)]
        assert [answer.sent("ssl-client-verify") for answer in answers] == ["SUCCESS", "NONE"]
    for _, writer in (with_one, without):
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
