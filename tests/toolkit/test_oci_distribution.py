"""The registry client against a scripted registry: tokens, redirects, broken downloads, lies."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fairway.toolkit.content_store import ContentStore, sha256
from fairway.toolkit.http_client import Streams
from fairway.toolkit.oci.authentication import (
    BadCredentials,
    Challenge,
    Login,
    logins_for,
    parse_challenges,
    parse_docker_config,
)
from fairway.toolkit.oci.distribution import RegistryClient, Settings, is_loopback
from fairway.toolkit.oci.documents import Descriptor
from fairway.toolkit.oci.reference import parse
from fairway.toolkit.oci.registry_errors import AccessDenied, NotFound, RegistryError, RegistryUnavailable

BLOB = b"0123456789" * 1000
DESCRIPTOR = Descriptor("", sha256(BLOB), len(BLOB))


class Request:
    """Method, target and headers as they came."""

    def __init__(self, head: bytes) -> None:
        first, *rest = head.decode().split("\r\n")
        self.method, self.target, _ = first.split(" ")
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest if line)}


Answer = tuple[int, dict[str, str], bytes]
Script = Callable[[Request], Answer]


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[tuple[str, list[Request]]]:
    """A server on loopback; a body shorter than its Content-Length breaks the connection."""
    requests: list[Request] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                if (first := await reader.readexactly(1)) == b"\x16":
                    return  # a TLS greeting
                request = Request(first + await reader.readuntil(b"\r\n\r\n"))
                await reader.readexactly(int(request.headers.get("content-length", "0")))
                requests.append(request)
                status, headers, body = script(request)
                headers = {"Content-Length": str(len(body)), **headers}
                lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode())
                if request.method != "HEAD":
                    writer.write(body)
                await writer.drain()
                if int(headers["Content-Length"]) > len(body) and request.method != "HEAD":
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"127.0.0.1:{port}", requests
    finally:
        server.close()
        await server.wait_closed()


async def fetch(host: str, folder: Path, blob: Descriptor = DESCRIPTOR, login: Login | None = None) -> bytes:
    store = ContentStore(folder)
    async with RegistryClient(host, login=login, settings=Settings(answer_seconds=60)) as client:
        with store.writer() as writer:
            await client.blob("team/web", blob, writer)
            return store.read(writer.commit(blob.digest))


async def test_a_broken_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def script(request: Request) -> Answer:
        start = int(request.headers.get("range", "bytes=0-")[6:-1])
        headers = {"Content-Length": str(len(BLOB) - start), "Content-Range": f"bytes {start}-9999/10000"}
        return (206 if start else 200), headers, BLOB[start : start + 4000]

    async with scripted(script) as (host, requests):
        assert await fetch(host, tmp_path) == BLOB
    assert [request.headers.get("range") for request in requests][1:] == ["bytes=4000-", "bytes=8000-"]


async def test_a_server_without_ranges_starts_again(tmp_path: Path) -> None:
    count = 0

    def script(request: Request) -> Answer:
        nonlocal count
        count += 1
        return 200, {"Content-Length": str(len(BLOB))}, BLOB if count > 1 else BLOB[:10]

    async with scripted(script) as (host, _):
        assert await fetch(host, tmp_path) == BLOB


async def test_more_bytes_than_announced_are_refused(tmp_path: Path) -> None:
    async with scripted(lambda request: (200, {}, BLOB + b"x")) as (host, _):
        with pytest.raises(RegistryError, match="larger than the 10000 bytes announced"):
            await fetch(host, tmp_path)


async def test_outages_are_tried_again_a_few_times(tmp_path: Path) -> None:
    async with scripted(lambda request: (503, {}, b"")) as (host, requests):
        with pytest.raises(RegistryUnavailable, match="503"):
            await fetch(host, tmp_path)
    assert len(requests) == 4


def token_script(request: Request) -> Answer:
    """A registry whose tokens come from /token, for ann only."""
    if request.target.startswith("/token"):
        if request.headers.get("authorization") != Login("ann", "pw").basic():
            return 401, {}, b"{}"
        return 200, {}, b'{"token": "t0k"}'
    if request.headers.get("authorization") != "Bearer t0k":
        place = request.headers["host"]
        challenge = f'Bearer realm="http://{place}/token",service="reg",scope="repository:team/web:pull"'
        return 401, {"WWW-Authenticate": challenge}, b"{}"
    return 200, {}, BLOB


async def test_bearer_tokens(tmp_path: Path) -> None:
    async with scripted(token_script) as (host, requests):
        assert await fetch(host, tmp_path, login=Login("ann", "pw")) == BLOB
        assert requests[1].target == "/token?service=reg&scope=repository%3Ateam%2Fweb%3Apull"
        with pytest.raises(AccessDenied, match="pull access denied"):
            await fetch(host, tmp_path, login=Login("ann", "wrong"))


async def test_a_login_is_never_sent_unencrypted_to_a_strange_place(tmp_path: Path) -> None:
    sent: list[str] = []

    async def dialer(host: str, port: int, context: object) -> Streams:
        sent.append(f"{host}:{port}")
        return await asyncio.open_connection("127.0.0.1", int(place.rpartition(":")[2]))

    challenge = 'Bearer realm="http://evil.test/token",service="reg"'
    async with (
        scripted(lambda request: (401, {"WWW-Authenticate": challenge}, b"")) as (place, _),
        RegistryClient("reg.test", dialer=dialer, login=Login("ann", "pw")) as client,
    ):
        with pytest.raises(AccessDenied, match="not encrypted"):
            await client.manifest("team/web", "v1")
    assert sent == ["reg.test:443"]


async def test_redirects_do_not_carry_the_login(tmp_path: Path) -> None:
    async with scripted(lambda request: (200, {}, BLOB)) as (elsewhere, there):

        def script(request: Request) -> Answer:
            if "authorization" not in request.headers:
                return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b""
            return 307, {"Location": f"http://{elsewhere}/cdn/blob?signature=1%2F2"}, b""

        async with scripted(script) as (host, _):
            assert await fetch(host, tmp_path, login=Login("ann", "pw")) == BLOB
    assert [(request.target, "authorization" in request.headers) for request in there] == [
        ("/cdn/blob?signature=1%2F2", False)
    ]


async def test_redirects_do_not_go_round_for_ever(tmp_path: Path) -> None:
    async with scripted(lambda request: (302, {"Location": "/again"}, b"")) as (host, _):
        with pytest.raises(RegistryError, match="302"):
            await fetch(host, tmp_path)


@pytest.mark.parametrize(
    ("answer", "target", "error"),
    [
        ((200, {}, b"{}"), "sha256:" + "0" * 64, RegistryUnavailable),
        ((200, {"Docker-Content-Digest": "sha256:" + "1" * 64}, b"{}"), "v1", RegistryUnavailable),
        ((404, {}, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}'), "v1", NotFound),
        ((403, {}, b""), "v1", AccessDenied),
        ((429, {}, b""), "v1", RegistryUnavailable),
        ((418, {}, b""), "v1", RegistryError),
        ((200, {}, b"x" * (5 << 20)), "v1", RegistryError),
    ],
)
async def test_manifests_that_are_none(answer: Answer, target: str, error: type[Exception]) -> None:
    async with scripted(lambda request: answer) as (host, _), RegistryClient(host) as client:
        with pytest.raises(error):
            await client.manifest("team/web", target)


async def test_plain_http_only_where_it_is_allowed() -> None:
    async with scripted(lambda request: (200, {}, b"{}")) as (place, _):

        async def dialer(host: str, port: int, context: object) -> Streams:
            return await asyncio.open_connection(
                "127.0.0.1", int(place.rpartition(":")[2]), ssl=context, server_hostname=host if context else None
            )

        async with RegistryClient("reg.test:5000", dialer=dialer) as client:
            with pytest.raises(RegistryUnavailable):
                await client.manifest("web", "v1")
        allowed = Settings(insecure=frozenset({"reg.test:5000"}))
        async with RegistryClient("reg.test:5000", dialer=dialer, settings=allowed) as client:
            assert (await client.manifest("web", "v1")).data == b"{}"


@pytest.mark.parametrize(
    ("registry", "answer"),
    [
        ("localhost:5000", True),
        ("127.3.2.1", True),
        ("[::1]:5000", True),
        ("127.evil.com", False),
        ("docker.io", False),
    ],
)
def test_loopback(registry: str, answer: bool) -> None:
    assert is_loopback(registry) is answer


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ('Basic realm="a b"', (Challenge("basic", {"realm": "a b"}),)),
        (
            'Bearer realm="https://x/t",service="s, t",scope="repository:a:pull,push"',
            (Challenge("bearer", {"realm": "https://x/t", "service": "s, t", "scope": "repository:a:pull,push"}),),
        ),
        (
            'Bearer realm="r\\"q", Basic realm=x',
            (Challenge("bearer", {"realm": 'r"q'}), Challenge("basic", {"realm": "x"})),
        ),
        ("", ()),
        ("Negotiate", ()),
    ],
)
def test_challenges(header: str, challenges: tuple[Challenge, ...]) -> None:
    assert parse_challenges(header) == challenges


@pytest.mark.parametrize(
    ("config", "reference", "users"),
    [
        ('{"auths": {"https://index.docker.io/v1/": {"auth": "YTpw"}}}', "nginx", ["a"]),
        ('{"auths": {"reg.io": {"username": "a"}, "reg.io/team": {"username": "b"}}}', "reg.io/team/web", ["b", "a"]),
        ('{"auths": {"reg.io/team": {"username": "b"}}}', "reg.io/teamster/web", []),
        ('{"auths": {"*.corp.com": {"username": "a"}}}', "harbor.corp.com/web", ["a"]),
        ('{"auths": {"*.corp.com": {"username": "a"}}}', "corp.com/web", []),
        ('{"auths": {"reg.io:5000": {"username": "a"}}}', "reg.io/web", []),
        ('{"reg.io": {"username": "a"}}', "reg.io/web", ["a"]),
        ('{"auths": {}}', "nginx", []),
    ],
)
def test_docker_config(config: str, reference: str, users: list[str]) -> None:
    credentials = parse_docker_config(config.encode())
    assert [login.username for login in logins_for(parse(reference), credentials)] == users


@pytest.mark.parametrize("config", [b"", b"[]", b'{"auths": 1}', b'{"auths": {"x": {"auth": "!!\xff"}}}'])
def test_unreadable_docker_config(config: bytes) -> None:
    with pytest.raises(BadCredentials):
        parse_docker_config(config)
