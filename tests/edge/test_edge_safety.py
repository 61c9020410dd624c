"""What must not happen at a real HAProxy: smuggled requests, other spellings of a host, huge or looping Ingresses."""

import asyncio
import base64
import ssl
from pathlib import Path
from typing import Any

import pytest

from fairway.edge.place import EMPTY, place
from fairway.edge.render import Options, render
from fairway.edge.snapshot import of_manifests
from fairway.edge.translate import translate
from fairway.edge.translate.table import TABLE


class Recorder:
    """A server that writes down the heads of requests; bodies are read as their heads say."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def start(self, context: ssl.SSLContext | None = None) -> tuple[str, int]:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        return self.server.sockets[0].getsockname()[:2]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                fields = dict(line.lower().split(b": ", 1) for line in head.strip().split(b"\r\n")[1:])
                await reader.readexactly(int(fields.get(b"content-length", 0)))
                if b"transfer-encoding" in fields:
                    await reader.readuntil(b"0\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def recorder() -> Any:
    found = Recorder()
    yield found
    found.server.close()
    for writer in found.writers:
        writer.close()
    await asyncio.sleep(0)


PLAIN = b"POST / HTTP/1.1\r\nHost: a.test\r\n"
HIDDEN = b"GET /admin HTTP/1.1\r\nHost: a.test\r\n\r\n"
CHUNKED = b"0\r\n\r\n" + HIDDEN
SMUGGLING = {
    "CL.TE": PLAIN + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(CHUNKED) + CHUNKED,
    "CL.CL": PLAIN + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "TE.TE identity": PLAIN + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + CHUNKED,
    "TE.TE case": PLAIN + b"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n" + CHUNKED,
    "TE space": PLAIN + b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n" + CHUNKED,
    "TE tab": PLAIN + b"Transfer-Encoding:\tchunked\r\nContent-Length: 5\r\n\r\n" + CHUNKED,
    "TE 1.0": b"POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    "CL sign": PLAIN + b"Content-Length: +0\r\n\r\n" + HIDDEN,
    "CL list": PLAIN + b"Content-Length: 0, %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "bare LF": PLAIN + b"X: y\n\nGET /admin HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "bare CR": PLAIN + b"X: y\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
    "folded": PLAIN + b"X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
    "NUL": PLAIN + b"X: y\0z\r\nContent-Length: 0\r\n\r\n",
    "chunk size": PLAIN + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n" + HIDDEN,
    "two hosts": b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
    "absolute": b"GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
}


KINDS: dict[str, dict[str, str]] = {
    "plain": {},
    "counted": {"limit-rps": "1000", "proxy-body-size": "1k"},
    "over TLS": {"backend-protocol": "HTTPS", "proxy-next-upstream-tries": "1"},
    "rewritten": {"use-regex": "true", "rewrite-target": "/$1"},
    "sticky": {"affinity": "cookie", "enable-cors": "true", "mirror-target": "http://none.default.svc.cluster.local/"},
}


def tls_server(make: Any, folder: Path) -> ssl.SSLContext:
    inside = make.secret("inside", "in.test")
    pem = folder / "inside.pem"
    pem.write_bytes(b"".join(base64.b64decode(inside["data"][name]) for name in ("tls.crt", "tls.key")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@pytest.mark.parametrize("name", SMUGGLING)
@pytest.mark.parametrize("kind", KINDS)
async def test_no_request_hides_in_another(edge: Any, make: Any, recorder: Recorder, name: str, kind: str) -> None:
    """A hidden request may be seen, and then by the edge, as one of its own; never by the server alone."""
    path = ("/(.*)", "ImplementationSpecific") if kind == "rewritten" else ("/", "Prefix")
    raws = [
        make.ingress("i", ("a.test", *path, "web"), annotations=KINDS[kind]),
        make.ingress("admin", ("a.test", "/admin", "Prefix", "none")),
    ]
    address = await recorder.start(tls_server(make, edge.folder) if kind == "over TLS" else None)
    await edge.apply([*raws, *make.service("web", address), *make.service("none")])
    reader, writer = await edge.connect()
    writer.write(SMUGGLING[name])
    writer.write_eof()
    await asyncio.wait_for(reader.read(), 60)
    writer.close()
    for head in recorder.heads:
        first, *lines = head.split(b"\r\n")
        names = [line.partition(b":")[0].strip().lower() for line in lines if line]
        assert b"/admin" not in first and b"\0" not in head and b"\n" not in head.replace(b"\r\n", b"")
        assert names.count(b"host") == 1 and names.count(b"content-length") <= 1
        assert not (b"content-length" in names and b"transfer-encoding" in names)


@pytest.mark.parametrize(
    "header", [(b"transfer-encoding", b"chunked"), (b"x", b"a\r\nx-smuggled: 1"), (b"x\r\ny", b"1")]
)
async def test_http2_brings_no_lengths_of_its_own(edge: Any, make: Any, recorder: Recorder, header: Any) -> None:
    """HTTP/2 with prior knowledge: literal HPACK fields, one of them forbidden."""
    raw = make.ingress("i", ("a.test", "/", "Prefix", "web"))
    await edge.apply([raw, *make.service("web", await recorder.start())])
    fields = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a.test"), header]
    block = b"".join(b"\x00" + bytes([len(name)]) + name + bytes([len(text)]) + text for name, text in fields)
    frame = len(block).to_bytes(3, "big") + b"\x01\x05" + (1).to_bytes(4, "big") + block
    reader, writer = await edge.connect()
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0" + frame)
    writer.write_eof()
    await asyncio.wait_for(reader.read(), 60)
    writer.close()
    for head in recorder.heads:
        assert b"smuggled" not in head and b"transfer-encoding" not in head.lower()


async def test_spellings_of_a_host(edge: Any, make: Any, pods: Any) -> None:
    raws = [
        make.ingress("i", ("A.Test.", "/", "Prefix", "web"), ("bücher.test", "/", "Prefix", "web")),
        *make.service("web", await pods("web").start()),
    ]
    await edge.apply(raws)
    same = ("a.test", "A.TEST", "a.test.", "a.test:80", "A.Test.:8080", "xn--bcher-kva.test", "XN--Bcher-KVA.test")
    other = ("aa.test", "a.test.evil.test", "a.test%00", "a.test@b.test", "", "[::1]", "..", "a..test")
    found = {}
    for host in (*same, *other):
        reader, writer = await edge.connect()
        answer = await make.exchange(
            reader, writer, f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        )
        found[host] = answer.status
        writer.close()
    assert {host for host, status in found.items() if status == 200} == set(same)
    assert {found[host] for host in other} <= {400, 404}


async def test_ten_thousand_paths_on_one_host(edge: Any, make: Any, pods: Any) -> None:
    rules = [("many.test", f"/p{number}", "Prefix", "web") for number in range(10_000)]
    await edge.apply([make.ingress("i", *rules), *make.service("web", await pods("web").start())])
    for number in (0, 1, 4_999, 9_999):
        assert (await edge.get(f"many.test/p{number}/x")).status == 200
    assert (await edge.get("many.test/p10000")).status == 404


def test_a_megabyte_in_every_annotation_harms_nobody_else(make: Any) -> None:
    bad = make.ingress("bad", ("bad.test", "/", "Prefix", "web"))
    bad["metadata"]["annotations"] = dict.fromkeys(TABLE, "x" * 1_000_000)
    raws = [*make.classes(), bad, make.ingress("good", ("good.test", "/", "Prefix", "web"))]
    found = translate(of_manifests([*raws, *make.service("web", ("10.0.0.1", 80))]))
    assert any(route.match.host == "good.test" for route in found.edge.routes)
    assert all(len(problem.message) < 700 for problem in found.problems)
    rendered = render(found.edge, place(found.edge, EMPTY), Options(http="fd@3"))
    assert "x" * 200 not in str(rendered)
