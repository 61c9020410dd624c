"""TLS, redirects, rewriting and the other annotations through a real HAProxy."""

from collections import Counter
from typing import Any

import pytest


@pytest.fixture
async def pod(pods: Any) -> Any:
    return await pods("web").start()


async def serve(edge: Any, make: Any, pod: Any, *raws: Any) -> None:
    await edge.apply([*make.service("web", pod), *raws])


async def test_each_name_gets_its_certificate_and_others_the_default(edge: Any, make: Any, pod: Any) -> None:
    await serve(
        edge,
        make,
        pod,
        make.ingress("one", ("one.test", "/", "Prefix", "web"), tls={"one": ["one.test"]}),
        make.ingress("wild", ("x.w.test", "/", "Prefix", "web"), tls={"wild": ["*.w.test"]}),
        make.secret("one", "one.test"),
        make.secret("wild", "*.w.test"),
    )
    served = {name: await edge.certificate(name) for name in ("one.test", "x.w.test", "other.test")}
    names = {name: one.subject.rfc4514_string() for name, one in served.items()}
    assert names == {"one.test": "CN=one.test", "x.w.test": "CN=*.w.test", "other.test": "CN=Fairway default"}
    answer = await edge.get("https://one.test/x")
    assert (answer.status, answer.sent("x-forwarded-proto")) == (200, "https")


async def test_plain_http_is_redirected_where_there_is_a_certificate(edge: Any, make: Any, pod: Any) -> None:
    await serve(
        edge,
        make,
        pod,
        make.ingress("one", ("one.test", "/", "Prefix", "web"), tls={"one": ["one.test"]}),
        make.ingress(
            "off", ("off.test", "/", "Prefix", "web"), tls={"one": ["off.test"]}, annotations={"ssl-redirect": "false"}
        ),
        make.ingress("forced", ("forced.test", "/", "Prefix", "web"), annotations={"force-ssl-redirect": "true"}),
        make.ingress("missing", ("missing.test", "/", "Prefix", "web"), tls={"none": ["missing.test"]}),
        make.secret("one", "one.test", "off.test"),
    )
    for host, path in (("one.test", "/a/../b?c=%2F"), ("ONE.test:80", "/"), ("forced.test", "/x")):
        answer = await edge.get(host + path)
        assert answer.status == 308
        name = host.lower().partition(":")[0]
        assert answer.headers["location"] == f"https://{name}:{edge.https_port}{path}"
    assert (await edge.get("off.test/")).status == 200
    assert (await edge.get("missing.test/")).status == 200
    assert (await edge.get("one.test/.well-known/acme-challenge/x")).status == 200
    assert {problem.reason for problem in edge.translation.problems} == {"SecretNotFound"}


REWRITES = [
    ("app.test/something", "/"),
    ("app.test/something/", "/"),
    ("app.test/something/new/x?q=1", "/new/x?q=1"),
    ("app.test/SOMETHING/New", "/New"),
    ("APP.test:80/something/new", "/new"),
    ("app.test/something/a%20b", "/a%20b"),
    ("app.test/something/a/../b", "/b"),
    ("app.test/something//b", "/b"),
    ("app.test/something/a%2Fb", "/a%2Fb"),
    ("app.test/other", 404),
    ("app.test/something/../other", 404),
    ("app.test/something%2F..%2Fother", 404),
    ("app.test/%73omething/x", "/x"),
    ("flat.test/foo", "/"),
    ("flat.test/foo/bar", "/"),
    ("same.test/x/y", "/x/y"),
    ("noslash.test/api/v1", "/v1"),
]


async def test_rewrites(edge: Any, make: Any, pod: Any) -> None:
    def rewriting(host: str, path: str, target: str) -> Any:
        name = host.partition(".")[0]
        kind = "ImplementationSpecific"
        return make.ingress(name, (host, path, kind, "web"), annotations={"rewrite-target": target})

    await serve(
        edge,
        make,
        pod,
        rewriting("app.test", "/something(/|$)(.*)", "/$2"),
        rewriting("flat.test", "/foo", "/"),
        rewriting("same.test", "/", "/"),
        rewriting("noslash.test", "/api/(.*)", "$1"),
    )
    found = {}
    for url, _ in REWRITES:
        answer = await edge.get(url)
        found[url] = answer.path if answer.status == 200 else answer.status
    assert found == dict(REWRITES)


async def test_a_regex_makes_the_whole_host_regex_and_the_longest_goes_first(edge: Any, make: Any, pods: Any) -> None:
    raws = [
        make.ingress(
            "regex",
            ("r.test", "/v[0-9]+", "ImplementationSpecific", "version"),
            ("r.test", "/v1/special", "ImplementationSpecific", "special"),
            annotations={"use-regex": "true"},
        ),
        make.ingress("plain", ("r.test", "/plain.txt", "Exact", "plain"), created="2026-02-01T00:00:00Z"),
    ]
    for name in ("version", "special", "plain"):
        raws += make.service(name, await pods(name).start())
    await edge.apply(raws)
    table = {
        "/v1": "version",
        "/v22/x": "version",
        "/V1/Special/x": "special",
        "/plain.txt": "plain",
        "/PLAIN.txtual": "plain",
        "/plainxtxt": 404,
        "/v": 404,
    }
    found = {path: await edge.get(f"r.test{path}") for path in table}
    assert {path: one.pod or one.status for path, one in found.items()} == table
    assert [problem.reason for problem in edge.translation.problems] == ["HostUsesRegex"]


async def test_redirects(edge: Any, make: Any, pod: Any) -> None:
    def redirecting(host: str, **annotations: str) -> Any:
        fields = {name.replace("_", "-"): value for name, value in annotations.items()}
        return make.ingress(host.partition(".")[0], (host, "/", "Prefix", "web"), annotations=fields)

    await serve(
        edge,
        make,
        pod,
        redirecting("perm.test", permanent_redirect="https://new.test/x?y=1"),
        redirecting("code.test", permanent_redirect="https://new.test", permanent_redirect_code="308"),
        redirecting("temp.test", temporal_redirect="http://new.test/"),
        redirecting("root.test", app_root="/app"),
    )
    expected = {
        "perm.test/any": (301, "https://new.test/x?y=1"),
        "code.test/": (308, "https://new.test"),
        "temp.test/": (302, "http://new.test/"),
        "root.test/": (302, "/app"),
        "root.test/app": (200, None),
    }
    found = {url: await edge.get(url) for url in expected}
    assert {url: (one.status, one.headers.get("location")) for url, one in found.items()} == expected


async def test_default_backends(edge: Any, make: Any, pods: Any) -> None:
    raws = [
        make.ingress("some", ("a.test", "/app", "Prefix", "app"), default="fallback"),
        make.ingress("all", default="everything"),
    ]
    for name in ("app", "fallback", "everything"):
        raws += make.service(name, await pods(name).start())
    await edge.apply(raws)
    table = {"a.test/app": "app", "a.test/other": "fallback", "unknown.test/x": "everything"}
    assert {url: (await edge.get(url)).pod for url in table} == table


async def test_profiles(edge: Any, make: Any, pod: Any) -> None:
    def asking(host: str, **annotations: str) -> Any:
        fields = {name.replace("_", "-"): value for name, value in annotations.items()}
        return make.ingress(host.partition(".")[0], (host, "/", "Prefix", "web"), annotations=fields)

    await serve(
        edge,
        make,
        pod,
        asking("here.test", whitelist_source_range="127.0.0.0/8, 10.0.0.1"),
        asking("there.test", allowlist_source_range="10.0.0.0/8"),
        asking("small.test", proxy_body_size="1k"),
        asking("vhost.test", upstream_vhost="inside.test"),
        asking("slow.test", proxy_read_timeout="120", proxy_send_timeout="10", proxy_connect_timeout="3"),
        asking("cors.test", enable_cors="true", cors_allow_origin="https://*.ok.test, http://one.test:81"),
        asking("sticky.test", affinity="cookie", session_cookie_name="STICK", session_cookie_max_age="60"),
    )
    assert (await edge.get("here.test/")).status == 200
    assert (await edge.get("there.test/")).status == 403
    assert (await edge.get("small.test/", method="POST", headers={"Content-Length": "2000"})).status == 413
    assert (await edge.get("vhost.test/")).sent("host") == "inside.test"
    assert (await edge.get("slow.test/")).status == 200
    origins = {"https://x.ok.test": True, "https://a.b.ok.test": False, "https://xok.test": False}
    for origin, allowed in {**origins, "http://one.test:81": True, "http://one.test": False}.items():
        answer = await edge.get("cors.test/", headers={"Origin": origin})
        assert (answer.headers.get("access-control-allow-origin") == origin) is allowed
        preflight = await edge.get("cors.test/", method="OPTIONS", headers={"Origin": origin})
        assert (preflight.status == 204) is allowed
    cookie = (await edge.get("sticky.test/")).headers["set-cookie"]
    assert cookie.startswith("STICK=") and "HttpOnly" in cookie and "Max-Age=60" in cookie


async def test_canaries_by_header_cookie_and_weight(edge: Any, make: Any, pods: Any) -> None:
    def canary(name: str, host: str, **annotations: str) -> Any:
        fields = {key.replace("_", "-"): value for key, value in annotations.items()}
        return make.ingress(name, (host, "/", "Prefix", "new"), annotations={"canary": "true", **fields})

    raws = [make.ingress(f"main-{host}", (f"{host}.test", "/", "Prefix", "old")) for host in ("h", "v", "c", "w", "t")]
    raws += [
        canary("h", "h.test", canary_by_header="X-New"),
        canary("v", "v.test", canary_by_header="X-New", canary_by_header_value="blue"),
        canary("c", "c.test", canary_by_cookie="try"),
        canary("w", "w.test", canary_weight="30"),
        canary("t", "t.test", canary_weight="10", canary_weight_total="10"),
    ]
    for name in ("old", "new"):
        raws += make.service(name, await pods(name).start())
    await edge.apply(raws)
    table = [
        ("h.test/", {"X-New": "always"}, "new"),
        ("h.test/", {"X-New": "never"}, "old"),
        ("h.test/", {"X-New": "perhaps"}, "old"),
        ("h.test/", {}, "old"),
        ("v.test/", {"X-New": "blue"}, "new"),
        ("v.test/", {"X-New": "always"}, "old"),
        ("c.test/", {"Cookie": "a=b; try=always"}, "new"),
        ("c.test/", {"Cookie": "try=never"}, "old"),
        ("t.test/", {}, "new"),
        ("T.test:80/a%2Fb", {}, "new"),
    ]
    assert [(await edge.get(url, headers=headers)).pod for url, headers, _ in table] == [row[2] for row in table]
    drawn = Counter([(await edge.get("w.test/")).pod for _ in range(200)])
    assert 20 <= drawn["new"] <= 110


async def test_a_canary_changes_weight_without_a_reload(edge: Any, make: Any, pods: Any) -> None:
    async def weigh(weight: str) -> Any:
        return await edge.apply(
            [
                *services,
                make.ingress("main", ("w.test", "/", "Prefix", "old")),
                make.ingress(
                    "c", ("w.test", "/", "Prefix", "new"), annotations={"canary": "true", "canary-weight": weight}
                ),
            ]
        )

    services = [*make.service("old", await pods("old").start()), *make.service("new", await pods("new").start())]
    await weigh("0")
    assert (await edge.get("w.test/")).pod == "old"
    assert type(await weigh("100")).__name__ == "RuntimeCommands"
    assert (await edge.get("w.test/")).pod == "new"
