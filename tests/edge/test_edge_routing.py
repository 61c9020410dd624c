"""Hosts, paths and spellings through a real HAProxy."""

import uuid
from typing import Any

import pytest

RULES = (
    ("a.test", "/", "Prefix", "root"),
    ("a.test", "/foo", "Prefix", "foo"),
    ("a.test", "/foo/bar", "Prefix", "foobar"),
    ("a.test", "/exact", "Exact", "exact"),
    ("a.test", "/closed/", "Exact", "closed"),
    ("a.test", "/str", "ImplementationSpecific", "string"),
    ("a.test", "/admin", "Prefix", "admin"),
    ("b.test", "/only", "Prefix", "only"),
    ("*.w.test", "/", "Prefix", "wild"),
    ("exact.w.test", "/only", "Prefix", "only"),
    ("", "/any", "Prefix", "any"),
)

TABLE = [
    ("a.test/", "root"),
    ("a.test/x", "root"),
    ("a.test/foo", "foo"),
    ("a.test/foo/", "foo"),
    ("a.test/foo/x", "foo"),
    ("a.test/foobar", "root"),
    ("a.test/foo/bar", "foobar"),
    ("a.test/foo/bar/baz", "foobar"),
    ("a.test/foo/barbaz", "foo"),
    ("a.test/FOO", "root"),
    ("a.test/exact", "exact"),
    ("a.test/exact/", "root"),
    ("a.test/exactly", "root"),
    ("a.test/exact?q=/foo", "exact"),
    ("a.test/closed", "root"),
    ("a.test/closed/", "closed"),
    ("a.test/closed/x", "root"),
    ("a.test/closed//", "closed"),
    ("a.test/strange", "string"),
    ("a.test/str", "string"),
    # spellings of the host
    ("A.TEST/foo", "foo"),
    ("a.test:8080/foo", "foo"),
    ("a.test./foo", "foo"),
    ("A.Test.:99/exact", "exact"),
    # spellings of the path: what is compared is the normal form
    ("a.test/%61dmin", "admin"),
    ("a.test//admin", "admin"),
    ("a.test/./admin", "admin"),
    ("a.test/foo/../admin/x", "admin"),
    ("a.test/foo/%2e%2e/admin", "admin"),
    ("a.test/foo%2F..%2Fadmin", "admin"),
    ("a.test/admin%2Fx", "admin"),
    ("a.test/exact%3F/../admin", "admin"),
    ("a.test/foo/..", "root"),
    ("a.test/foo/.", "foo"),
    ("a.test/../../admin", "admin"),
    ("a.test/a%20b", "root"),
    # wildcards
    ("x.w.test/", "wild"),
    ("X.W.test:80/y", "wild"),
    ("x.y.w.test/", 404),
    ("w.test/", 404),
    ("exact.w.test/only", "only"),
    ("exact.w.test/other", 404),
    # nobody's
    ("b.test/other", 404),
    ("unknown.test/", 404),
    ("unknown.test/any", "any"),
    ("unknown.test/any/thing", "any"),
    ("b.test/any", 404),
    # refused
    ("a.test/%zz", 400),
    ("a.test/x%00y", 400),
]


@pytest.fixture
async def routed(edge: Any, pods: Any, make: Any) -> Any:
    names = sorted({rule[3] for rule in RULES})
    raws = [make.ingress("all", *RULES)]
    for name in names:
        raws += make.service(name, await pods(name).start())
    await edge.apply(raws)
    return edge


async def test_every_row_of_the_table_goes_where_it_should(routed: Any) -> None:
    found = {}
    for url, _ in TABLE:
        answer = await routed.get(url)
        found[url] = answer.pod if answer.status == 200 else answer.status
    assert found == dict(TABLE)


async def test_the_pod_gets_the_path_as_it_was_sent(routed: Any) -> None:
    for path in ("/a%20b?x=%2F", "/foo/../admin", "//admin", "/p?q=1", "/@scope%2fname"):
        assert (await routed.get(f"a.test{path}")).path == path


async def test_a_host_with_a_slash_or_a_comma_is_refused(routed: Any) -> None:
    for host in ("a.test/foo", "a.test,b.test", "a.test/foo,a.test"):
        answer = await routed.get("a.test/admin", headers={"Host": host})
        assert answer.status == 400


async def test_the_headers_of_ingress_nginx_are_set(routed: Any) -> None:
    fake = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Real-IP": "6.6.6.6", "Proxy": "evil"}
    answer = await routed.get("a.test/", headers=fake)
    assert answer.sent("x-forwarded-for") == "127.0.0.1"
    assert answer.sent("x-original-forwarded-for") == "6.6.6.6"
    assert answer.sent("x-real-ip") == "127.0.0.1"
    assert answer.sent("x-forwarded-proto") == answer.sent("x-scheme") == "http"
    assert answer.sent("x-forwarded-host") == "a.test"
    assert answer.sent("x-forwarded-port") == str(routed.http_port)
    first, again = answer.sent("x-request-id"), (await routed.get("a.test/")).sent("x-request-id")
    assert first != again
    assert {len(uuid.UUID(one[:36]).bytes) for one in (first, again)} == {16}
    assert answer.sent("proxy") is None
    kept = await routed.get("a.test/", headers={"X-Request-ID": "mine"})
    assert kept.sent("x-request-id") == "mine"


async def test_pages_name_the_host_and_nothing_that_could_be_markup(routed: Any) -> None:
    answer = await routed.get("unknown.test/")
    assert answer.status == 404
    assert "<code>unknown.test</code>" in answer.body
    hostile = await routed.get("unknown.test/", headers={"Host": "<script>x.test"})
    assert "<script>" not in hostile.body


async def test_a_service_without_pods_gives_503_with_a_page(routed: Any, make: Any) -> None:
    await routed.apply([make.ingress("down", ("down.test", "/", "Prefix", "none")), *make.service("none")])
    answer = await routed.get("down.test/")
    assert answer.status == 503
    assert "<code>down.test</code>" in answer.body
    assert answer.headers["retry-after"] == "5"
