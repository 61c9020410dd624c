"""Who gets in, at a real HAProxy: passwords, other servers, client certificates, networks and limits."""

import asyncio
import base64
import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

CRYPT = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"  # password
APR1 = "$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/"  # myPassword, the example of the Apache manual
SHA = "{SHA}" + base64.b64encode(hashlib.sha1(b"secret").digest()).decode()


def opaque(name: str, **data: str) -> dict[str, Any]:
    encoded = {key.replace("_", "."): base64.b64encode(text.encode()).decode() for key, text in data.items()}
    return {"kind": "Secret", "metadata": {"name": name, "namespace": "default"}, "type": "Opaque", "data": encoded}


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class Answering:
    """A server that answers what it is told; `seen` are the requests that came."""

    def __init__(self, *answers: tuple[int, dict[str, str], str]) -> None:
        self.answers = list(answers)
        self.seen: list[str] = []
        self.asked = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    async def start(self) -> tuple[str, int]:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[:2]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = [
                    line.split(":")[1] for line in head.lower().split("\r\n") if line.startswith("content-length")
                ]
                body = await reader.readexactly(int(length[0])) if length else b""
                self.seen.append(head + body.decode("latin-1"))
                self.asked.set()
                status, headers, text = self.answers[min(len(self.seen), len(self.answers)) - 1]
                lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                writer.write(f"HTTP/1.1 {status} X\r\n{lines}Content-Length: {len(text)}\r\n\r\n{text}".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def answering() -> Any:
    made: list[Answering] = []

    def answering(*answers: tuple[int, dict[str, str], str]) -> Answering:
        made.append(Answering(*answers))
        return made[-1]

    yield answering
    for server in made:
        server.server.close()
        for writer in server.writers:
            writer.close()
    await asyncio.sleep(0)


@pytest.fixture
def guarded(make: Any) -> Any:
    """An Ingress for HOST.test with annotations."""

    def guarded(host: str, **annotations: str) -> Any:
        fields = {name.replace("_", "-"): value for name, value in annotations.items()}
        return make.ingress(host, (f"{host}.test", "/", "Prefix", "web"), annotations=fields)

    return guarded


@pytest.fixture
async def web(make: Any, pods: Any) -> Any:
    return make.service("web", await pods("web").start())


async def test_basic_auth_knows_what_htpasswd_makes(edge: Any, guarded: Any, web: Any) -> None:
    lines = "\n".join((f"crypt:{CRYPT}", f"apr1:{APR1}", f"sha:{SHA}", "# a comment", ""))
    await edge.apply(
        [
            *web,
            opaque("users", auth=lines),
            opaque("map", bob=SHA),
            opaque("bad", auth="bob:plain"),
            guarded("file", auth_type="basic", auth_secret="users", auth_realm="My realm"),
            guarded("map", auth_type="basic", auth_secret="default/map", auth_secret_type="auth-map"),
            guarded("bad", auth_type="basic", auth_secret="bad"),
            guarded("gone", auth_type="basic", auth_secret="gone"),
            guarded("any", auth_type="basic", auth_secret="users", satisfy="any", allowlist_source_range="127.0.0.0/8"),
        ]
    )
    table: list[tuple[str, dict[str, str], int]] = [
        ("file", {}, 401),
        ("file", basic("crypt", "password"), 200),
        ("file", basic("crypt", "password"), 200),
        ("file", basic("crypt", "wrong"), 401),
        ("file", basic("apr1", "myPassword"), 200),
        ("file", basic("apr1", "mypassword"), 401),
        ("file", basic("sha", "secret"), 200),
        ("file", basic("sha", "sesame"), 401),
        ("file", basic("nobody", "secret"), 401),
        ("file", {"Authorization": "Bearer x"}, 401),
        ("map", basic("bob", "secret"), 200),
        ("map", basic("crypt", "password"), 401),
        ("bad", basic("bob", "plain"), 503),
        ("gone", basic("bob", "plain"), 503),
        ("any", {}, 200),
    ]
    found = [(host, headers, (await edge.get(f"{host}.test/", headers=headers)).status) for host, headers, _ in table]
    assert found == table
    assert (await edge.get("file.test/")).headers["www-authenticate"] == 'Basic realm="My realm"'
    assert {one.reason for one in edge.translation.problems} == {"InvalidReference"}


async def test_a_success_is_forgotten_when_the_password_changes(edge: Any, guarded: Any, web: Any) -> None:
    ingress = guarded("file", auth_type="basic", auth_secret="users")
    await edge.apply([*web, opaque("users", auth=f"crypt:{CRYPT}"), ingress])
    assert (await edge.get("file.test/", headers=basic("crypt", "password"))).status == 200
    await edge.apply([*web, opaque("users", auth=f"other:{CRYPT}"), ingress])
    assert (await edge.get("file.test/", headers=basic("crypt", "password"))).status == 401
    assert (await edge.get("file.test/", headers=basic("other", "password"))).status == 200


async def test_auth_url_of_a_service(edge: Any, make: Any, guarded: Any, web: Any, answering: Any) -> None:
    good = {"X-User": "joe", "X-Other": "no", "Set-Cookie": "session=1"}
    server = answering((200, good, ""), (401, {"WWW-Authenticate": "Mine"}, "log in"), (403, {}, "no"), (500, {}, "x"))
    url = "http://auth.default.svc.cluster.local:80/check?host=$host"
    await edge.apply(
        [
            *web,
            *make.service("auth", await server.start()),
            guarded(
                "a", auth_url=url, auth_response_headers="X-User, X-Missing", auth_snippet="proxy_set_header X-S s;"
            ),
        ]
    )
    sent = {"X-User": "forged", "X-Missing": "forged", "Cookie": "c=1", "Content-Length": "0"}
    answers = [await edge.get("a.test/path?q=1", method="POST", headers=sent) for _ in range(4)]
    assert [one.status for one in answers] == [200, 401, 403, 500]
    assert (answers[0].sent("x-user"), answers[0].sent("x-missing")) == ("joe", None)
    assert answers[0].headers["set-cookie"] == "session=1"
    assert (answers[1].headers["www-authenticate"], answers[1].body) == ("Mine", "log in")
    asked = server.seen[0].lower()
    assert asked.startswith("get /check?host=a.test http/1.1")
    for line in ("cookie: c=1", "x-original-url: http://a.test/path?q=1", "x-original-method: post", "x-s: s"):
        assert f"{line}\r\n" in asked
    assert "x-fairway-backend" not in asked


async def test_the_way_to_services_survives_reloads(
    edge: Any, make: Any, guarded: Any, web: Any, answering: Any
) -> None:
    server = answering((200, {"X-User": "joe"}, ""))
    edge.options = msgspec.structs.replace(edge.options, hard_stop_seconds=1)  # the old ones' ends are waited for
    raws = [
        *web,
        *make.service("auth", await server.start()),
        guarded("a", auth_url="http://auth.default.svc/", auth_response_headers="X-User"),
    ]
    for number in range(3):
        raws.append(guarded(f"new{number}", auth_url="http://auth.default.svc/", proxy_connect_timeout=str(number + 1)))
        old = edge.process.pid
        assert type(await edge.apply(raws)).__name__ == "Reload"
        while old and Path(f"/proc/{old}/cmdline").exists() and Path(f"/proc/{old}/cmdline").read_bytes():
            await asyncio.sleep(0.05)
        assert (await edge.get("a.test/")).sent("x-user") == "joe"


async def test_auth_signin_keeps_where_the_client_wanted_to_go(
    edge: Any, make: Any, guarded: Any, web: Any, answering: Any
) -> None:
    server = answering((401, {}, ""))
    await edge.apply(
        [
            *web,
            *make.service("auth", await server.start()),
            guarded("a", auth_url="http://auth.default.svc/check", auth_signin="https://login.test/start"),
            guarded(
                "b", auth_url="http://auth.default.svc/check", auth_signin="https://$host/in?rd=$escaped_request_uri"
            ),
        ]
    )
    answer = await edge.get("a.test/x?y=z&v=1")
    assert answer.status == 302
    assert answer.headers["location"] == "https://login.test/start?rd=http://a.test%2Fx%3Fy%3Dz%26v%3D1"
    assert (await edge.get("b.test/x")).headers["location"] == "https://b.test/in?rd=%2Fx"


async def test_auth_is_cached_by_its_key_and_closed_without_a_server(
    edge: Any, make: Any, guarded: Any, web: Any, answering: Any
) -> None:
    server = answering((200, {"X-User": "joe"}, ""))
    url = "http://auth.default.svc/check"
    await edge.apply(
        [
            *web,
            *make.service("auth", await server.start()),
            guarded("a", auth_url=url, auth_cache_key="$cookie_s", auth_response_headers="X-User"),
            guarded("gone", auth_url="http://gone.default.svc/check"),
        ]
    )
    for cookie in ("s=1", "s=1", "s=2", "s=1"):
        assert (await edge.get("a.test/", headers={"Cookie": cookie})).sent("x-user") == "joe"
    assert len(server.seen) == 2
    assert (await edge.get("gone.test/")).status == 500


async def test_auth_url_on_a_host_of_the_edge_itself(
    edge: Any, make: Any, guarded: Any, web: Any, answering: Any
) -> None:
    """As with oauth2-proxy: https://$host/oauth2/auth is another path of the same host; it never asks for itself."""
    server = answering((202, {"X-User": "joe"}, ""))
    await edge.apply(
        [
            *web,
            *make.service("proxy", await server.start()),
            guarded("a", auth_url="https://$host/oauth2/auth", auth_response_headers="X-User"),
            make.ingress("login", ("a.test", "/oauth2", "Prefix", "proxy")),
            guarded("loop", auth_url="https://$host/auth"),
        ]
    )
    assert (await edge.get("a.test/x")).sent("x-user") == "joe"
    assert "x-forwarded-proto: https" in server.seen[0] and "x-real-ip: 127.0.0.1" in server.seen[0]
    assert (await edge.get("loop.test/")).status == 500


async def test_limits_count_what_is_let_through(edge: Any, guarded: Any, web: Any) -> None:
    await edge.apply(
        [
            *web,
            guarded("s", limit_rps="1", limit_burst_multiplier="30"),  # a window of 30 s, for a busy machine
            guarded("m", limit_rpm="2", limit_burst_multiplier="1"),
            guarded("free", limit_rps="1", limit_burst_multiplier="1", limit_whitelist="127.0.0.1"),
        ]
    )
    for host, passing, refused in (("s", 30, 3), ("m", 2, 4), ("free", 6, 0)):
        found = [(await edge.get(f"{host}.test/")).status for _ in range(passing + refused)]
        assert found == [200] * passing + [503] * refused, host


async def test_satisfy_any_needs_one_of_both(edge: Any, guarded: Any, web: Any) -> None:
    both = {"auth_type": "basic", "auth_secret": "users", "allowlist_source_range": "10.0.0.0/8"}
    await edge.apply(
        [*web, opaque("users", auth=f"bob:{SHA}"), guarded("any", satisfy="any", **both), guarded("all", **both)]
    )
    assert (await edge.get("any.test/")).status == 401
    assert (await edge.get("any.test/", headers=basic("bob", "secret"))).status == 200
    assert (await edge.get("all.test/", headers=basic("bob", "secret"))).status == 403


async def test_mirrors_and_error_pages(edge: Any, make: Any, guarded: Any, answering: Any) -> None:
    copies, pages = answering((200, {}, "")), answering((200, {"Content-Type": "text/x"}, "sorry"))
    failing = answering((404, {}, "raw"), (200, {}, "fine"), (503, {}, "raw"))
    await edge.apply(
        [
            *make.service("web", await failing.start()),
            *make.service("copies", await copies.start()),
            *make.service("pages", await pages.start()),
            guarded("m", mirror_target="http://copies.default.svc$request_uri"),
            guarded("e", custom_http_errors="404,503", default_backend="pages"),
        ]
    )
    found = [await edge.get("e.test/x?y") for _ in range(3)]
    assert [(one.status, one.body) for one in found] == [(404, "sorry"), (200, "fine"), (503, "sorry")]
    assert "x-code: 404" in pages.seen[0] and "x-original-uri: /x?y" in pages.seen[0]
    await edge.get("m.test/copy?q", method="GET")
    await asyncio.wait_for(copies.asked.wait(), 60)
    assert copies.seen[0].startswith("GET /copy?q HTTP/1.1")
