"""Annotations that change requests, answers and routes, at a real HAProxy."""

import asyncio
import base64
import ssl
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cluster import free_port

from fairway.edge.abilities import lacking


@pytest.fixture
async def served(edge: Any, make: Any, pods: Any) -> Any:
    """Apply Ingresses (host, annotations) with a pod behind all of them."""

    async def served(table: dict[str, dict[str, str]], *more: Any, **tls: Any) -> Any:
        raws = [make.ingress(host.partition(".")[0], (host, "/", "Prefix", "web"), annotations=annotations, **tls)
                for host, annotations in table.items()]  # fmt: skip
        return await edge.apply([*make.service("web", await pods("web").start()), *raws, *more])

    return served


async def test_snippets_do_what_nginx_would(edge: Any, served: Any) -> None:
    snippet = """
      # comments are fine; so are semicolons in them
      proxy_set_header X-Env "prod $host";
      proxy_set_header X-Drop "";
      set $flag no;
      if ($http_x_beta = "yes") { set $flag $http_x_beta; }
      more_set_headers "X-Flag: $flag" ;
      add_header X-Path $request_uri always;
      proxy_hide_header X-Pod;
      if ($arg_block ~ ^(a|b)$) { return 403; }
      if ($http_user_agent ~* bot) { return 200 "hello $remote_addr"; }
      if ($cookie_old) { return 301 https://new.test$request_uri; }
      rewrite ^/old/(.*)$ /new/$1 break;
      rewrite ^/gone/(.*)$ /there/$1 permanent;
    """
    await served({"a.test": {"configuration-snippet": snippet}})
    plain = await edge.get("a.test/old/x?y=1", headers={"X-Drop": "x"})
    assert (plain.status, plain.path) == (200, "/new/x?y=1")
    assert (plain.sent("x-env"), plain.sent("x-drop")) == ("prod a.test", None)
    assert (plain.headers["x-flag"], plain.headers["x-path"], plain.pod) == ("no", "/old/x?y=1", "")
    table: list[tuple[str, dict[str, str], Any]] = [
        ("/", {"X-Beta": "yes"}, (200, None)),
        ("/?block=a", {}, (403, None)),
        ("/?block=ab", {}, (200, None)),
        ("/", {"User-Agent": "a BOT"}, (200, None)),
        ("/p?q", {"Cookie": "old=1"}, (301, "https://new.test/p?q")),
        ("/gone/x?y", {}, (301, "/there/x?y")),
    ]
    found = [await edge.get(f"a.test{path}", headers=headers) for path, headers, _ in table]
    assert [(one.status, one.headers.get("location")) for one in found] == [row[2] for row in table]
    assert (found[0].headers["x-flag"], found[3].body) == ("yes", "hello 127.0.0.1")


async def test_redirects_aliases_and_www(edge: Any, make: Any, served: Any) -> None:
    await served(
        {
            "keep.test": {"permanent-redirect": "https://new.test$request_uri"},
            "www.w.test": {"from-to-www-redirect": "true"},
            "bare.test": {"from-to-www-redirect": "true", "server-alias": "other.test, *.more.test"},
            "loop.test": {"temporal-redirect": "http://loop.test/x"},
        },
        make.ingress(
            "groups",
            ("g.test", "/a/(.*)", "ImplementationSpecific", "web"),
            annotations={"use-regex": "true", "permanent-redirect": "https://new.test/$1"},
        ),
    )
    expected = {
        "keep.test/a?b": (301, "https://new.test/a?b"),
        "w.test/a?b": (308, "//www.w.test/a?b"),
        "www.bare.test/a": (308, "//bare.test/a"),
        "other.test/": (200, None),
        "x.more.test/": (200, None),
        "loop.test/": (404, None),
        "g.test/a/b": (301, "https://new.test/b"),
    }
    found = {url: await edge.get(url) for url in expected}
    assert {url: (one.status, one.headers.get("location")) for url, one in found.items()} == expected
    assert [one.reason for one in edge.translation.problems] == ["RedirectLoop"]


async def test_conditions_choose_among_routes_of_one_path(edge: Any, make: Any, pods: Any) -> None:
    def when(name: str, match: str, path: str = "/app") -> Any:
        raw = make.ingress(name, ("a.test", path, "Prefix", name))
        raw["metadata"]["annotations"]["fairway.dev/match"] = match
        return raw

    matches = {
        "beta": "header X-Env = beta",
        "both": "header X-Env = beta; query v = 2",
        "post": "method = POST",
        "german": "language = de",
        "fox": "header User-Agent ~ .*Firefox/1[0-9]+.*",
        "cook": "cookie try ~ a|b",
    }
    raws = [
        make.ingress("all", ("a.test", "/", "Prefix", "all")),
        *(when(name, text) for name, text in matches.items()),
    ]
    for name in (*matches, "all"):
        raws += make.service(name, await pods(name).start())
    await edge.apply(raws)
    table: list[tuple[str, str, dict[str, str], str]] = [
        ("GET", "/app", {}, "all"),
        ("GET", "/app", {"X-Env": "beta"}, "beta"),
        ("GET", "/app?v=2", {"X-Env": "beta"}, "both"),
        ("GET", "/app?v=2", {}, "all"),
        ("POST", "/app/x", {"Content-Length": "0"}, "post"),
        ("GET", "/app", {"Accept-Language": "de-AT,en;q=0.5"}, "german"),
        ("GET", "/app", {"Accept-Language": "en,de"}, "all"),
        ("GET", "/app", {"User-Agent": "x Firefox/115 y"}, "fox"),
        ("GET", "/app", {"Cookie": "try=b"}, "cook"),
        ("GET", "/app", {"Cookie": "try=bc"}, "all"),
        ("GET", "/other", {"X-Env": "beta"}, "all"),
        ("GET", "/app%2e/../app", {"X-Env": "beta"}, "beta"),
    ]
    found = [
        (await edge.get(f"a.test{path}", method=method, headers=headers)).pod for method, path, headers, _ in table
    ]
    assert found == [row[3] for row in table]
    assert edge.translation.problems == ()


async def test_several_canaries_share_one_path(edge: Any, make: Any, pods: Any) -> None:
    def canary(name: str, **annotations: str) -> Any:
        fields = {key.replace("_", "-"): value for key, value in annotations.items()}
        return make.ingress(name, ("a.test", "/", "Prefix", name), annotations={"canary": "true", **fields})

    raws = [
        make.ingress("main", ("a.test", "/", "Prefix", "main"), annotations={"affinity": "cookie"}),
        canary("one", canary_weight="30", canary_by_header="X-One"),
        canary("three", canary_by_header="X-Three", canary_by_header_pattern="^(x|y)z"),
        canary("two", canary_weight="30", canary_by_cookie="two"),
    ]
    for name in ("main", "one", "two", "three"):
        raws += make.service(name, await pods(name).start())
    await edge.apply(raws)
    table: list[tuple[dict[str, str], str]] = [
        ({"X-One": "always"}, "one"),
        ({"Cookie": "two=always"}, "two"),
        ({"X-One": "never", "X-Three": "yz!"}, "three"),
    ]
    assert [(await edge.get("a.test/", headers=headers)).pod for headers, _ in table] == [pod for _, pod in table]
    reader, writer = await edge.connect()
    request = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
    drawn = Counter([(await make.exchange(reader, writer, request)).pod for _ in range(1200)])
    writer.close()
    # 30, 30 and 40 of a hundred; chance itself goes beyond these bounds less than once in a million times
    assert drawn["three"] == 0 and all(270 <= drawn[name] <= 450 for name in ("one", "two"))
    assert 390 <= drawn["main"] <= 570
    nobody = {"X-One": "never", "Cookie": "two=never"}
    assert {(await edge.get("a.test/", headers=nobody)).pod for _ in range(30)} == {"main"}
    for name in ("one", "main"):
        stays = {"X-One": "always"} if name == "one" else nobody
        cookie = (await edge.get("a.test/", headers=stays)).headers["set-cookie"].partition(";")[0]
        assert {(await edge.get("a.test/", headers={"Cookie": cookie})).pod for _ in range(20)} == {name}


async def test_regular_expressions_of_one_ingress_only(edge: Any, make: Any, pods: Any) -> None:
    regex = make.ingress("r", ("a.test", "/v[0-9]+", "ImplementationSpecific", "r"), annotations={"use-regex": "true"})
    regex["metadata"]["annotations"]["fairway.dev/regex-scope"] = "ingress"
    raws = [regex, make.ingress("p", ("a.test", "/plain", "Prefix", "p"), ("a.test", "/exact", "Exact", "p"))]
    for name in ("r", "p"):
        raws += make.service(name, await pods(name).start())
    await edge.apply(raws)
    table = {"/V1x": "r", "/plain/x": "p", "/plain": "p", "/plainly": "", "/PLAIN": "", "/exact": "p", "/exact/": ""}
    assert {path: (await edge.get(f"a.test{path}")).pod for path in table} == table
    assert edge.translation.problems == ()


async def test_headers_cookies_and_hashing(edge: Any, make: Any, pods: Any, served: Any) -> None:
    headers = {"kind": "ConfigMap", "metadata": {"name": "h", "namespace": "default"}, "data": {"X-One": "1 % of 'a'"}}
    await served(
        {
            "c.test": {"custom-headers": "h", "x-forwarded-prefix": "/pre", "upstream-vhost": "in.test"},
            "s.test": {"affinity": "cookie", "session-cookie-domain": "s.test", "session-cookie-expires": "9",
                       "session-cookie-samesite": "None", "session-cookie-conditional-samesite-none": "true"},
            "cache.test": {},
        },
        headers,
    )  # fmt: skip
    answer = await edge.get("c.test/")
    assert (answer.headers["x-one"], answer.sent("x-forwarded-prefix"), answer.sent("host")) == (
        "1 % of 'a'",
        "/pre",
        "in.test",
    )
    cookie = (await edge.get("s.test/")).headers["set-cookie"]
    assert all(part in cookie for part in ("domain=s.test", "SameSite=None", "Max-Age=9"))
    old = (await edge.get("s.test/", headers={"User-Agent": "x Chrome/55.0"})).headers["set-cookie"]
    assert "SameSite" not in old


async def test_consistent_hashing_keeps_a_key_on_one_server(edge: Any, make: Any, pods: Any) -> None:
    addresses = [await pods(f"p{number}").start() for number in range(4)]
    raw = make.ingress("h", ("h.test", "/", "Prefix", "web"), annotations={"upstream-hash-by": "$arg_user"})
    await edge.apply([raw, *make.service("web", *addresses)])
    first = {user: (await edge.get(f"h.test/?user={user}")).pod for user in range(20)}
    again = {user: (await edge.get(f"h.test/x?user={user}")).pod for user in range(20)}
    assert first == again and len(set(first.values())) > 1


async def test_the_cache_maintenance_and_whats_off(edge: Any, make: Any, pods: Any) -> None:
    pod = pods("web")
    raws = [*make.service("web", await pod.start())]
    for host, annotation in (("cache", {"cache": "60s"}), ("work", {"maintenance": "true"})):
        raw = make.ingress(host, (f"{host}.test", "/", "Prefix", "web"))
        raw["metadata"]["annotations"] = {f"fairway.dev/{name}": value for name, value in annotation.items()}
        raws.append(raw)
    await edge.apply(raws)
    answers = [await edge.get("cache.test/x") for _ in range(3)]
    assert (await edge.get("cache.test/mine", headers={"Cookie": "me"})).status == 200
    assert (await edge.get("cache.test/mine")).headers.get("x-cache") is None
    assert pod.requests == 3 and [one.headers.get("x-cache") for one in answers] == [None, "HIT", "HIT"]
    answer = await edge.get("work.test/any")
    assert answer.status == 503 and "being worked on" in answer.body and answer.headers["retry-after"]


async def test_client_certificates_by_host(edge: Any, make: Any, pods: Any, tmp_path: Path) -> None:
    client = make.secret("client", "joe")
    pem = tmp_path / "client.pem"
    parts = [base64.b64decode(client["data"][name]) for name in ("tls.crt", "tls.key")]
    pem.write_bytes(b"".join(parts))
    authority = {"kind": "Secret", "metadata": {"name": "ca", "namespace": "default"},
                 "data": {"ca.crt": client["data"]["tls.crt"]}}  # fmt: skip
    asking = {"auth-tls-secret": "ca", "auth-tls-pass-certificate-to-upstream": "true"}
    raws = [
        make.ingress("m", ("m.test", "/", "Prefix", "web"), annotations=asking, tls={"s": ["m.test"]}),
        make.ingress("o", ("o.test", "/", "Prefix", "web"), tls={"t": ["o.test"]}),
        make.ingress("n", ("n.test", "/", "Prefix", "web"), tls={"s2": ["n.test"]},
                     annotations={**asking, "auth-tls-match-cn": "CN=jane"}),
        make.ingress("g", ("g.test", "/", "Prefix", "web"), tls={"s3": ["g.test"]},
                     annotations={"auth-tls-secret": "gone"}),
    ]  # fmt: skip
    secrets = [make.secret("s", "m.test"), make.secret("t", "o.test"), make.secret("s2", "n.test"), authority]
    secrets.append(make.secret("s3", "g.test"))
    await edge.apply([*raws, *secrets, *make.service("web", await pods("web").start())])

    async def get(name: str, host: str, certificate: bool) -> Any:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(pem)
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.https_port, ssl=context, server_hostname=name)
        try:
            return await make.exchange(reader, writer, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        finally:
            writer.close()

    shown = await get("m.test", "m.test", True)
    assert (shown.status, shown.sent("ssl-client-verify"), shown.sent("ssl-client-subject-dn")) == (
        200,
        "SUCCESS",
        "/CN=joe",
    )
    assert (shown.sent("ssl-client-cert") or "").startswith("-----BEGIN%20CERTIFICATE-----%0AMII")
    table = {
        ("m.test", "m.test", False): 400,
        ("o.test", "m.test", True): 421,
        ("o.test", "o.test", False): 200,
        ("n.test", "n.test", True): 403,
        ("g.test", "g.test", True): 400,
    }
    assert {row: (await get(*row)).status for row in table} == table
    assert (await edge.get("m.test/")).status == 308


async def test_tls_is_passed_through_and_tcp_ports_lead_to_services(edge: Any, make: Any, pods: Any) -> None:
    inside = make.secret("inside", "pass.test")
    pem = edge.folder / "inside.pem"
    pem.write_bytes(b"".join(base64.b64decode(inside["data"][name]) for name in ("tls.crt", "tls.key")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    pod = pods("tls")
    server = await asyncio.start_server(pod._serve, "127.0.0.1", 0, ssl=context)
    port = free_port()
    tcp = {"kind": "ConfigMap", "metadata": {"name": "tcp-services", "namespace": "ingress-nginx"},
           "data": {str(port): "default/web:80"}}  # fmt: skip
    raws = [
        make.ingress("p", ("pass.test", "/", "Prefix", "tls"), annotations={"ssl-passthrough": "true"}),
        make.ingress("o", ("o.test", "/", "Prefix", "web"), tls={"s": ["o.test"]}),
        *make.service("tls", server.sockets[0].getsockname()[:2]),
        *make.service("web", await pods("web").start()),
        make.secret("s", "o.test"),
        tcp,
    ]
    await edge.apply(raws)
    serial = (await edge.certificate("pass.test")).subject.rfc4514_string()
    assert serial == "CN=pass.test" and (await edge.get("https://pass.test/")).pod == "tls"
    ended = await edge.get("https://o.test/")
    assert (ended.pod, ended.sent("x-real-ip"), ended.sent("x-forwarded-proto")) == ("web", "127.0.0.1", "https")
    assert (await edge.get("pass.test/")).status == 308
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert (await make.exchange(reader, writer, b"GET /tcp HTTP/1.1\r\nHost: x\r\n\r\n")).pod == "web"
    writer.close()
    server.close()


async def test_a_proxy_in_front_is_believed(edge: Any, make: Any, pods: Any) -> None:
    def config(**data: str) -> Any:
        names = {"name": "ingress-nginx-controller", "namespace": "ingress-nginx"}
        return {
            "kind": "ConfigMap",
            "metadata": names,
            "data": {key.replace("_", "-"): text for key, text in data.items()},
        }

    raws = [
        make.ingress("a", ("a.test", "/", "Prefix", "web"), tls={"s": ["a.test"]}),
        make.secret("s", "a.test"),
        *make.service("web", await pods("web").start()),
    ]
    sent = {"X-Forwarded-For": "203.0.113.9, 10.0.0.1", "X-Forwarded-Proto": "https"}
    await edge.apply([*raws, config(use_forwarded_headers="true", proxy_real_ip_cidr="127.0.0.0/8, 10.0.0.0/8")])
    answer = await edge.get("a.test/", headers=sent)
    assert (answer.status, answer.sent("x-real-ip"), answer.sent("x-forwarded-proto")) == (200, "203.0.113.9", "https")
    assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
    await edge.apply([*raws, config(use_forwarded_headers="true", proxy_real_ip_cidr="10.0.0.0/8", hsts="false")])
    answer = await edge.get("https://a.test/", headers=sent)
    assert answer.sent("x-real-ip") == "127.0.0.1" and "strict-transport-security" not in answer.headers
    await edge.apply([*raws, config(use_proxy_protocol="true", use_gzip="true", gzip_types="*")])
    reader, writer = await edge.connect()
    line = b"PROXY TCP4 203.0.113.7 10.0.0.1 1000 80\r\n"
    answer = await make.exchange(reader, writer, line + b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n")
    assert answer.status == 404
    writer.close()


async def test_servers_are_spoken_to_over_tls_that_is_checked(edge: Any, make: Any, pods: Any) -> None:
    """proxy-ssl-*: a server with the right name, one with another, and one whose authority nobody gave."""
    inside = make.secret("inside", "in.test")
    pem = edge.folder / "inside.pem"
    pem.write_bytes(b"".join(base64.b64decode(inside["data"][name]) for name in ("tls.crt", "tls.key")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = await asyncio.start_server(pods("tls")._serve, "127.0.0.1", 0, ssl=context)
    data = {**inside["data"], "ca.crt": inside["data"]["tls.crt"]}
    trusted = {"kind": "Secret", "metadata": {"name": "ca", "namespace": "default"}, "data": data}
    base = {"backend-protocol": "HTTPS", "proxy-ssl-verify": "on", "proxy-ssl-server-name": "on"}
    table = {
        "right": ({**base, "proxy-ssl-secret": "ca", "proxy-ssl-name": "in.test"}, 200),
        "wrong": ({**base, "proxy-ssl-secret": "ca", "proxy-ssl-name": "other.test"}, 503),
        "nobody": (base, 502),
        "gone": ({**base, "proxy-ssl-secret": "gone"}, 502),
        "any": ({"backend-protocol": "HTTPS", "proxy-ssl-protocols": "TLSv1.2", "proxy-ssl-ciphers": "HIGH"}, 200),
    }
    raws = [make.ingress(name, (f"{name}.test", "/", "Prefix", "web"), annotations=annotations)
            for name, (annotations, _) in table.items()]  # fmt: skip
    await edge.apply([*raws, trusted, *make.service("web", server.sockets[0].getsockname()[:2])])
    assert {name: (await edge.get(f"{name}.test/")).status for name in table} == {
        name: status for name, (_, status) in table.items()
    }
    server.close()


async def test_every_kind_of_section_is_taken_by_haproxy(edge: Any, make: Any) -> None:
    """What has no server here to speak to: FastCGI, slow answers, retries, rewritten cookies and locations."""
    parameters = {"kind": "ConfigMap", "metadata": {"name": "p", "namespace": "default"},
                  "data": {"SCRIPT_FILENAME": "/app/index.php"}}  # fmt: skip
    table = {
        "fcgi": {"backend-protocol": "FCGI", "fastcgi-index": "index.php", "fastcgi-params-configmap": "p"},
        "slow": {"limit-rate": "1000", "limit-connections": "3", "load-balance": "ewma"},
        "again": {"proxy-next-upstream": "error timeout http_502 http_404", "proxy-next-upstream-tries": "2"},
        "never": {"proxy-next-upstream": "off", "enable-access-log": "false", "service-upstream": "true"},
        "back": {
            "proxy-cookie-domain": "a.test b.test",
            "proxy-cookie-path": "/a /b",
            "proxy-redirect-from": "http://a.test/",
        },
        "grpc": {"backend-protocol": "GRPCS", "proxy-read-timeout": "9", "ssl-ciphers": "HIGH:!aNULL"},
    }
    raws = [make.ingress(name, (f"{name}.test", "/", "Prefix", "web"), tls={"s": [f"{name}.test"]},
                         annotations=annotations)
            for name, annotations in table.items()]  # fmt: skip
    hosts = [f"{name}.test" for name in table]
    await edge.apply([*raws, parameters, make.secret("s", *hosts), *make.service("web", ("127.0.0.1", 1))])
    assert edge.translation.problems == ()
    (problem,) = lacking(edge.translation.parts, (2, 6))
    assert problem.ingress.name == "slow" and "limit-rate has no effect with HAProxy 2.6" in problem.message
    assert lacking(edge.translation.parts, (2, 8)) == ()
    assert (await edge.get("https://slow.test/")).status == 503
