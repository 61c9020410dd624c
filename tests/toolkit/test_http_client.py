"""The HTTP client against servers that behave, break off, stall and lie."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fairway.toolkit.http_client import (
    HttpClient,
    ProtocolError,
    Timeout,
    Unreachable,
    tcp_connector,
    unix_connector,
)

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers the n-th request with the n-th entry of its script; the last one repeats."""

    def __init__(self, *answers: bytes | Handle) -> None:
        self.answers = answers
        self.requests: list[bytes] = []
        self.connections = 0
        self.ended = asyncio.Event()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                if (start := request.lower().find(b"content-length: ")) >= 0:
                    request += await reader.readexactly(int(request[start + 16 :].split(b"\r\n")[0]))
                self.requests.append(request)
                answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
                if callable(answer):
                    await answer(reader, writer)
                else:
                    writer.write(answer)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.ended.set()
            writer.close()


@asynccontextmanager
async def serving(folder: Path, server: Server, max_connections: int = 16) -> AsyncIterator[HttpClient]:
    path = folder / "s"
    listener = await asyncio.start_unix_server(server.handle, str(path))
    try:
        async with HttpClient(unix_connector(path), host_header="here", max_connections=max_connections) as client:
            yield client
    finally:
        listener.close()
        await listener.wait_closed()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_connections_are_reused(tmp_path: Path) -> None:
    server = Server(OK)
    async with serving(tmp_path, server) as client:
        for _ in range(5):
            assert await (await client.request("GET", "/")).read() == b"ok"
    assert (server.connections, len(server.requests)) == (1, 5)


async def test_request_is_written_as_given(tmp_path: Path) -> None:
    server = Server(OK)
    async with serving(tmp_path, server) as client:
        await (await client.request("POST", "/a?b=c", headers=[("X-One", "1")], body=b"body")).read()
    assert server.requests == [b"POST /a?b=c HTTP/1.1\r\nHost: here\r\nX-One: 1\r\nContent-Length: 4\r\n\r\nbody"]


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        pytest.param(CHUNKED + b"2\r\nok\r\n1\r\n!\r\n0\r\n\r\n", b"ok!", id="chunked"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", id="no content"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok", id="after an informational answer"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s"
            % (len(gzip.compress(b"plain", mtime=0)), gzip.compress(b"plain", mtime=0)),
            b"plain",
            id="gzip",
        ),
    ],
)
async def test_bodies(tmp_path: Path, answer: bytes, body: bytes) -> None:
    server = Server(answer, OK)
    async with serving(tmp_path, server) as client:
        assert await (await client.request("GET", "/")).read() == body
        assert await (await client.request("GET", "/")).read() == b"ok"
    assert server.connections == 1


async def test_body_that_ends_with_the_connection(tmp_path: Path) -> None:
    async def until_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")
        writer.close()

    async with serving(tmp_path, Server(until_close)) as client:
        assert await (await client.request("GET", "/")).read() == b"all of it"


async def test_head_answers_have_no_body(tmp_path: Path) -> None:
    server = Server(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nETag: x\r\n\r\n", OK)
    async with serving(tmp_path, server) as client:
        head = await client.request("HEAD", "/")
        assert (head.headers["content-length"], await head.read()) == ("12345", b"")
        assert await (await client.request("GET", "/")).read() == b"ok"
    assert server.connections == 1


async def test_lines_stream_as_they_arrive(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def two_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\none\ntw\r\n")
        await go.wait()
        writer.write(b"7\r\no\r\nlast\r\n0\r\n\r\n")

    async with serving(tmp_path, Server(two_lines)) as client:
        response = await client.request("GET", "/", dedicated=True)
        seen = []
        async for line in response.iter_lines():
            seen.append(line)
            go.set()
    assert seen == [b"one", b"two", b"last"]


async def test_stale_connection_is_replaced_for_reads(tmp_path: Path) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = Server(OK, hang_up, OK)
    async with serving(tmp_path, server) as client:
        await (await client.request("GET", "/")).read()
        assert await (await client.request("GET", "/")).read() == b"ok"
    assert server.connections == 2


async def test_a_change_is_not_sent_twice(tmp_path: Path) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = Server(OK, hang_up, OK)
    async with serving(tmp_path, server) as client:
        await (await client.request("GET", "/")).read()
        with pytest.raises(Unreachable):
            await client.request("POST", "/", body=b"x")
    assert len(server.requests) == 2


async def test_change_after_an_idle_close_gets_a_fresh_connection(tmp_path: Path) -> None:
    async def ok_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        writer.close()

    server = Server(ok_and_close, OK)
    async with serving(tmp_path, server) as client:
        await (await client.request("GET", "/")).read()
        await server.ended.wait()
        await asyncio.sleep(0)
        assert await (await client.request("POST", "/", body=b"x")).read() == b"ok"


async def test_time_limit_for_the_head_and_for_the_body(tmp_path: Path) -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def stall_in_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK[:-1])
        await reader.read()

    async with serving(tmp_path, Server(stall)) as client:
        with pytest.raises(Timeout, match="GET /x: no answer"):
            await client.request("GET", "/x?token=secret", timeout_seconds=0.05)
    async with serving(tmp_path, Server(stall_in_body)) as client:
        for seconds in (0.05, 1, 10, 100):  # the time for the body is the one for the head, which must suffice
            try:
                response = await client.request("GET", "/", timeout_seconds=seconds)
            except Timeout:
                continue
            with pytest.raises(Timeout, match="the body"):
                await response.read()
            break
        else:
            pytest.fail("not even a head came")


async def test_cancelled_request_closes_its_connection(tmp_path: Path) -> None:
    arrived = asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await reader.read()

    server = Server(stall, OK)
    async with serving(tmp_path, server, max_connections=1) as client:
        task = asyncio.create_task(client.request("GET", "/"))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.ended.wait()
        assert await (await client.request("GET", "/")).read() == b"ok"


async def test_limit_on_connections(tmp_path: Path) -> None:
    server = Server(OK)
    async with serving(tmp_path, server, max_connections=2) as client:
        answers = await asyncio.gather(*(client.request("GET", "/") for _ in range(20)))
        assert {await answer.read() for answer in answers} == {b"ok"}
    assert server.connections <= 2


async def test_closing_an_answer_frees_its_place(tmp_path: Path) -> None:
    server = Server(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\npart", OK)
    async with serving(tmp_path, server, max_connections=1) as client:
        async with await client.request("GET", "/"):
            pass
        assert await (await client.request("GET", "/")).read() == b"ok"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(b"SSH-2.0-OpenSSH\r\n", ProtocolError, id="not HTTP"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", ProtocolError, id="not gzip"
        ),
    ],
)
async def test_nonsense_is_a_protocol_error(tmp_path: Path, answer: bytes, error: type[Exception]) -> None:
    async with serving(tmp_path, Server(answer)) as client:
        with pytest.raises(error):
            await (await client.request("GET", "/")).read()


async def test_break_in_the_body_is_an_error(tmp_path: Path) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK[:-1])
        writer.close()

    async with serving(tmp_path, Server(half)) as client:
        response = await client.request("GET", "/")
        with pytest.raises(Unreachable):
            await response.read()


async def test_nobody_there(tmp_path: Path) -> None:
    async with HttpClient(unix_connector(tmp_path / "none"), host_header="x") as client:
        with pytest.raises(Unreachable):
            await client.request("GET", "/")


@pytest.mark.parametrize(
    "bad", [{"target": "/a b"}, {"target": "/\r\n"}, {"target": "/", "headers": [("X", "a\r\nEvil: 1")]}]
)
async def test_line_breaks_are_refused(tmp_path: Path, bad: dict[str, str]) -> None:
    async with HttpClient(unix_connector(tmp_path / "none"), host_header="x") as client:
        with pytest.raises(ValueError, match="contain"):
            await client.request("GET", **bad)  # type: ignore[arg-type]


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "tls.pem").write_bytes(pem)
    return folder / "tls.pem"


async def test_tls_verifies_the_other_side(tmp_path: Path) -> None:
    pem = _certificate(tmp_path)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(pem)
    server = Server(OK)
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=server_context)
    port = listener.sockets[0].getsockname()[1]
    try:
        trusting = ssl.create_default_context(cafile=str(pem))
        async with HttpClient(tcp_connector("127.0.0.1", port, trusting), host_header="x") as client:
            assert await (await client.request("GET", "/")).read() == b"ok"
        strict = ssl.create_default_context()
        async with HttpClient(tcp_connector("127.0.0.1", port, strict), host_header="x") as client:
            with pytest.raises(Unreachable, match="certificate verify failed"):
                await client.request("GET", "/")
    finally:
        listener.close()
        await listener.wait_closed()
