"""One authentication server for all, AUTO_HTTP, ExternalName and FastCGI at a real HAProxy."""

import asyncio
import base64
import ssl
import struct
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from fairway.edge.proxy import expected


def controller(**data: str) -> dict[str, Any]:
    meta = {"name": "ingress-nginx-controller", "namespace": "ingress-nginx"}
    return {"kind": "ConfigMap", "metadata": meta, "data": {key.replace("_", "-"): text for key, text in data.items()}}


@pytest.fixture
async def gate() -> AsyncIterator[Any]:
    """An authentication server that knows one cookie; `asked` are the requests it got."""
    asked: list[str] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                asked.append(head.splitlines()[0])
                status = "200 OK\r\nX-User: joe" if "good=1" in head else "401 Unauthorized"
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[:2], asked
    server.close()
    for writer in writers:
        writer.close()
    await asyncio.sleep(0)


GOOD = {"Cookie": "good=1"}


async def test_everybody_is_asked_where_there_is_a_global_auth_url(edge: Any, make: Any, pods: Any, gate: Any) -> None:
    address, asked = gate
    own = {"auth-url": "http://auth.default.svc.cluster.local/own"}
    raws = [
        make.ingress(
            "a", ("a.test", "/", "Prefix", "web"), ("a.test", "/.well-known/acme-challenge/x", "Exact", "web")
        ),
        make.ingress("open", ("open.test", "/", "Prefix", "web"), annotations={"enable-global-auth": "false"}),
        make.ingress("own", ("own.test", "/", "Prefix", "web"), annotations=own),
        *make.service("web", await pods("web").start()),
        *make.service("auth", address),
    ]
    url = {"global_auth_url": "http://auth.default.svc.cluster.local/all"}
    await edge.apply(
        [*raws, controller(**url, global_auth_response_headers="X-User", global_auth_signin="http://in.test/")]
    )
    assert (await edge.get("a.test/x", headers=GOOD)).sent("x-user") == "joe"
    refused = await edge.get("a.test/x?y=1")
    assert refused.status == 302 and refused.headers["location"].startswith("http://in.test/?rd=http")
    assert (await edge.get("open.test/")).status == 200
    assert (await edge.get("own.test/")).status == 401
    assert (await edge.get("a.test/.well-known/acme-challenge/x")).status == 200
    assert (await edge.get("a.test/.well-known/acme-challenge/../secret")).status == 302
    assert asked == [f"GET /{path} HTTP/1.1" for path in ("all", "all", "own", "all")]
    await edge.apply([*raws, controller()])
    assert (await edge.get("a.test/")).status == 200


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        ({"global_auth_url": "not an address"}, 403, "nobody is let in meanwhile"),
        ({"global_auth_url": "http://gone.default.svc.cluster.local/"}, 500, "Service default/gone does not exist"),
        ({"no_auth_locations": "/public"}, 200, "enable-global-auth"),
        ({"global_auth_cache_duration": "x"}, 200, "global-auth-cache-duration"),
    ],
)
async def test_what_is_wrong_with_it_is_told_and_opens_nothing(
    edge: Any, make: Any, pods: Any, data: dict[str, str], status: int, words: str
) -> None:
    raws = [make.ingress("a", ("a.test", "/", "Prefix", "web")), *make.service("web", await pods("web").start())]
    await edge.apply([*raws, controller(**data)])
    assert (await edge.get("a.test/")).status == status
    (problem,) = edge.translation.problems
    assert problem.ingress.name == "ingress-nginx-controller" and words in problem.message


async def test_auto_http_speaks_to_servers_as_the_client_did(edge: Any, make: Any, pods: Any) -> None:
    inside = make.secret("inside", "in.test")
    pem = edge.folder / "inside.pem"
    pem.write_bytes(b"".join(base64.b64decode(inside["data"][name]) for name in ("tls.crt", "tls.key")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    tls = await asyncio.start_server(pods("tls")._serve, "127.0.0.1", 0, ssl=context)
    auto = {"backend-protocol": "AUTO_HTTP", "ssl-redirect": "false", "proxy-next-upstream-tries": "1"}
    patient = {**auto, "proxy-connect-timeout": "60"}  # of which the handshake is a part
    plain = make.service("plain", await pods("plain").start())
    raws = [
        make.ingress("t", ("t.test", "/", "Prefix", "tls"), annotations=patient, tls={"s": ["t.test"]}),
        make.ingress("p", ("p.test", "/", "Prefix", "plain"), annotations=auto, tls={"s": ["p.test"]}),
        make.secret("s", "t.test", "p.test"),
        *make.service("tls", tls.sockets[0].getsockname()[:2]),
        *plain,
    ]
    await edge.apply(raws)
    assert edge.translation.problems == ()
    assert ((await edge.get("https://t.test/")).pod, (await edge.get("p.test/")).pod) == ("tls", "plain")
    lying = {"X-Forwarded-Proto": "https"}
    assert (await edge.get("p.test/", headers=lying)).pod == "plain"
    assert (await edge.get("t.test/")).pod == "" and (await edge.get("https://p.test/")).pod == ""
    tls.close()


class Names(asyncio.DatagramProtocol):
    """A name server that knows one address for every name; `address` may change."""

    def __init__(self) -> None:
        self.address = "127.0.0.1"
        self.asked: set[bytes] = set()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, peer: Any) -> None:
        end = data.index(b"\0", 12) + 5
        self.asked.add(data[12 : end - 4])
        is_a = data[end - 4 : end - 2] == b"\0\1"
        head = data[:2] + struct.pack(">5H", 0x8580, 1, int(is_a), 0, 0)
        number = bytes(map(int, self.address.split(".")))
        answer = b"\xc0\x0c" + struct.pack(">2HIH", 1, 1, 1, 4) + number if is_a else b""
        self._transport.sendto(head + data[12:end] + answer, peer)


@pytest.fixture
async def names() -> AsyncIterator[tuple[Names, str]]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Names, local_addr=("127.0.0.1", 0))
    host, port = transport.get_extra_info("sockname")
    yield protocol, f"{host}:{port}"
    transport.close()


def external(name: str, target: str, port: int, **more: Any) -> dict[str, Any]:
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "ExternalName", "externalName": target, "ports": [{"port": 80, "targetPort": port}], **more},
    }


async def answers(edge: Any, url: str) -> Any:
    """The first answer that a pod gave: HAProxy asks for the name in its own time."""
    async with asyncio.timeout(60):
        while not (answer := await edge.get(url)).pod:
            await asyncio.sleep(0.05)
    return answer


async def test_an_external_name_is_found_and_found_again(any_edge: Any, make: Any, pods: Any, names: Any) -> None:
    server, address = names
    edge = any_edge
    edge.options = msgspec.structs.replace(edge.options, name_servers=(address,))
    here = await pods("here").start()
    elsewhere = await asyncio.start_server(pods("there")._serve, "127.0.0.2", here[1])
    vhost = {"upstream-vhost": "out.example"}
    raws = [
        make.ingress("a", ("a.test", "/", "Prefix", "out"), annotations=vhost),
        make.ingress("n", ("n.test", "/", "Prefix", "number")),
        make.ingress("l", ("l.test", "/", "Prefix", "local")),
        external("out", "Out.Example.", here[1]),
        external("number", "127.0.0.1", here[1]),
        external("local", "localhost", here[1]),
    ]
    await edge.apply(raws)
    assert (await edge.get("n.test/")).pod == "here"
    assert (await edge.get("l.test/")).status == 503
    (problem,) = edge.translation.problems
    assert problem.reason == "ExternalNameService" and "localhost is this machine" in problem.message
    answer = await answers(edge, "a.test/")
    assert (answer.pod, answer.sent("host")) == ("here", "out.example")
    assert server.asked == {b"\3out\7example\0"}
    server.address = "127.0.0.2"
    async with asyncio.timeout(60):
        while (await edge.get("a.test/")).pod != "there":
            await asyncio.sleep(0.05)
    assert await edge.proxy.observe() == expected(edge.proxy.running)
    elsewhere.close()


class FastCgi:
    """A FastCGI server that answers with the parameters and the body of each request (the specification's 1.0)."""

    def __init__(self) -> None:
        self.parameters: dict[str, str] = {}

    async def start(self) -> tuple[str, int]:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[:2]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        streams: dict[int, bytes] = {4: b"", 5: b""}
        try:
            while True:
                _, kind, request, length, padding, _ = struct.unpack(">BBHHBB", await reader.readexactly(8))
                content = await reader.readexactly(length + padding)
                if kind in streams:
                    streams[kind] += content[:length]
                if kind == 5 and not length:
                    self.parameters = _pairs(streams[4])
                    body = b"Status: 201 Created\r\nContent-Type: text/plain\r\nX-Pod: php\r\n\r\n" + streams[5]
                    for kind, text in ((6, body), (6, b""), (3, b"\0" * 8)):
                        writer.write(struct.pack(">BBHHBB", 1, kind, request, len(text), 0, 0) + text)
                    streams = {4: b"", 5: b""}
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def _pairs(data: bytes) -> dict[str, str]:
    """Name-value pairs: each length is one byte, or four with the highest bit set."""
    found, position = {}, 0
    while position < len(data):
        lengths = []
        for _ in range(2):
            size = 4 if data[position] & 0x80 else 1
            lengths.append(
                int.from_bytes(data[position : position + size], "big") & (0x7F if size == 1 else 0x7FFFFFFF)
            )
            position += size
        name, value = data[position : position + lengths[0]], data[position + lengths[0] : position + sum(lengths)]
        found[name.decode()] = value.decode()
        position += sum(lengths)
    return found


async def test_fastcgi_servers_get_what_nginx_would_tell_them(any_edge: Any, make: Any) -> None:
    server = FastCgi()
    settings = {"kind": "ConfigMap", "metadata": {"name": "cgi", "namespace": "default"},
                "data": {"SCRIPT_FILENAME": "/var/www/app.php", "APP_ENV": "live"}}  # fmt: skip
    annotations = {"backend-protocol": "FCGI", "fastcgi-index": "index.php", "fastcgi-params-configmap": "cgi"}
    raws = [
        make.ingress("f", ("f.test", "/", "Prefix", "php"), annotations=annotations),
        settings,
        *make.service("php", await server.start()),
    ]
    await any_edge.apply(raws)
    reader, writer = await any_edge.connect()
    body = b"a=1&b=2"
    head = b"POST /page.php?q=%2F HTTP/1.1\r\nHost: f.test\r\nX-Mine: yes\r\nContent-Length: " + str(len(body)).encode()
    writer.write(head + b"\r\nConnection: close\r\n\r\n" + body)
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 201 ") and body in answer
    told = server.parameters
    assert told["SCRIPT_FILENAME"] == "/var/www/app.php" and told["APP_ENV"] == "live"
    assert (told["REQUEST_METHOD"], told["QUERY_STRING"], told["CONTENT_LENGTH"]) == ("POST", "q=%2F", "7")
    assert (told["REQUEST_URI"], told["HTTP_X_MINE"], told["HTTP_HOST"]) == ("/page.php?q=%2F", "yes", "f.test")
    assert any_edge.translation.problems == ()
    server.server.close()
    await asyncio.sleep(0)
