"""Who may: client certificates over TLS, and what is open to everybody."""

import asyncio
import ssl
from typing import Any

import msgspec
import pytest

from fairway.engine.apiserver.authentication import LOCAL, User
from fairway.engine.apiserver.authorization import Attributes, Authorization, refusal
from fairway.engine.apiserver.store import MemoryStore

READY, NAMESPACES = "/readyz", "/api/v1/namespaces"


async def ask(secure: Any, path: str, user: str = "", *groups: str) -> tuple[int, Any]:
    async with secure.client(user, *groups) as client:
        response = await client.request("GET", path)
        body = await response.read()
    is_json = response.headers["content-type"] == "application/json"
    return response.status, msgspec.json.decode(body) if is_json else body.decode()


async def test_masters_may_everything(secure: Any) -> None:
    status, listed = await ask(secure, NAMESPACES, "admin", "system:masters")
    assert (status, len(listed["items"])) == (200, 4)


async def test_nobody_may_nothing_but_health_and_version(secure: Any) -> None:
    for path in (READY, "/healthz", "/livez", "/version"):
        assert (await ask(secure, path))[0] == 200
    for path in (NAMESPACES, "/api", "/foo", "/openapi/v3"):
        status, body = await ask(secure, path)
        assert (status, body["reason"], body["message"]) == (401, "Unauthorized", "Unauthorized")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "/api/v1/namespaces/default/pods",
            'pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the namespace "default"',
        ),
        (
            "/apis/apps/v1/namespaces/default/deployments/web/status",
            'deployments.apps "web" is forbidden: User "alice" cannot get resource "deployments/status" '
            'in API group "apps" in the namespace "default"',
        ),
        (
            "/api/v1/nodes",
            'nodes is forbidden: User "alice" cannot list resource "nodes" in API group "" at the cluster scope',
        ),
        ("/metrics", 'forbidden: User "alice" cannot get path "/metrics"'),
    ],
)
async def test_others_are_refused_by_name(secure: Any, path: str, message: str) -> None:
    status, body = await ask(secure, path, "alice", "people")
    assert (status, body["reason"], body["message"]) == (403, "Forbidden", message)


async def test_a_stranger_s_certificate_ends_the_handshake(secure: Any, tmp_path: Any) -> None:
    (tmp_path / "other").mkdir()
    stranger = type(secure.authority)(tmp_path / "other")
    context = ssl.create_default_context(cafile=str(secure.authority.path))
    context.load_cert_chain(*stranger.issue("admin", "system:masters"))
    with pytest.raises(OSError):
        await handshake(secure.port, context)


async def handshake(port: int, context: ssl.SSLContext) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(b"GET /api HTTP/1.1\r\n\r\n")
        if not await reader.read():
            raise ConnectionResetError
    finally:
        writer.close()


async def test_half_open_connections_keep_nobody_waiting(secure: Any) -> None:
    """Silent ones, half a handshake, no TLS at all, half a request: each is let go, and others are served meanwhile."""
    opened = [await asyncio.open_connection("127.0.0.1", secure.port) for _ in range(200)]
    hello = client_hello()
    for number, (_, writer) in enumerate(opened):
        writer.write((b"", hello[: len(hello) // 2], b"GET /readyz HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff")[number % 4])
    assert (await ask(secure, READY))[0] == 200
    for number, (reader, _) in enumerate(opened):
        if (
            number % 4 == 2
        ):  # what is no TLS at all is refused at once, the others when the handshake has taken too long
            await asyncio.wait_for(ended(reader), 60)
    for _, writer in opened:
        writer.close()
    assert (await ask(secure, READY))[0] == 200


async def ended(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(1024):
            pass
    except ConnectionError:
        return


def client_hello() -> bytes:
    """The first bytes of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


async def test_the_order_of_opinions() -> None:
    authority = Authorization(MemoryStore())
    mallory = User("mallory")
    assert not authority.allows(Attributes(mallory, "get", "/api"))
    assert authority.allows(Attributes(mallory, "get", "/healthz"))
    assert not authority.allows(Attributes(mallory, "post", "/healthz"))
    assert authority.allows(Attributes(LOCAL, "delete", "/api/v1/nodes", resource="nodes"))
    assert refusal(Attributes(mallory, "get", "/x")) == 'User "mallory" cannot get path "/x"'
