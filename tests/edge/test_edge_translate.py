"""What golden files show badly: translations that depend on the one before, and single cases."""

import base64
from typing import Any

import pytest

from fairway.edge.ir import Forward, Server
from fairway.edge.snapshot import Snapshot, of_manifests
from fairway.edge.status import changes, complaints
from fairway.edge.translate import Translation, checks, translate
from fairway.edge.translate.annotations import read
from fairway.edge.translate.checks import Refused
from fairway.edge.translate.table import NGINX, PREFIX, How


@pytest.fixture
def take(make: Any) -> Any:
    def take(*raws: Any) -> Snapshot:
        return of_manifests([*make.classes(), *raws])

    return take


def endpoints(*conditions: dict[str, bool]) -> dict[str, Any]:
    return {
        "kind": "EndpointSlice",
        "metadata": {"name": "w", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"port": 80}],
        "endpoints": [{"addresses": [f"10.0.0.{last}"], "conditions": one} for last, one in enumerate(conditions, 1)],
    }


READY = {"ready": True, "serving": True, "terminating": False}
ENDING = {"ready": False, "serving": True, "terminating": True}
GONE = {"ready": False, "serving": False, "terminating": True}
STARTING = {"ready": False, "serving": False, "terminating": False}


@pytest.mark.parametrize(
    ("conditions", "served"),
    [
        pytest.param((READY, ENDING), ["10.0.0.1"], id="ready ones only while there are any"),
        pytest.param((STARTING, ENDING, GONE), ["10.0.0.2"], id="else those that still serve while they end"),
        pytest.param((STARTING, GONE), [], id="never those that do not serve"),
        pytest.param(({}, STARTING), ["10.0.0.1"], id="unknown counts as ready"),
    ],
)
def test_which_endpoints_serve(take: Any, make: Any, conditions: Any, served: list[str]) -> None:
    service = make.service("web")[0]
    found = translate(take(make.ingress("i", ("a.test", "/", "Prefix", "web")), service, endpoints(*conditions)))
    assert [server.address for server in found.edge.backends[0].servers] == served


def test_endpoints_move_also_for_an_ingress_that_is_kept_at_its_last_good_version(take: Any, make: Any) -> None:
    good = make.ingress("i", ("a.test", "/", "Prefix", "web"))
    bad = make.ingress("i", ("a.test", "/", "Prefix", "web"), annotations={"proxy-read-timeout": "x"})
    first = translate(take(good, *make.service("web", ("10.0.0.1", 80))))
    second = translate(take(bad, *make.service("web", ("10.0.0.2", 80))), first)
    assert second.edge.routes == first.edge.routes
    assert second.edge.backends[0].servers == (Server("10.0.0.2", 80),)
    assert [problem.refused for problem in second.problems] == [True]


def test_a_secret_that_turns_bad_or_goes_leaves_its_certificate(take: Any, make: Any) -> None:
    ingress = make.ingress("i", ("a.test", "/", "Prefix", "web"), tls={"s": ["a.test"]})
    secret = make.secret("s", "a.test")
    broken = {**secret, "data": {**secret["data"], "tls.key": base64.b64encode(b"x").decode()}}
    first = translate(take(ingress, secret))
    for snapshot, reason in ((take(ingress, broken), "InvalidCertificate"), (take(ingress), "SecretNotFound")):
        second = translate(snapshot, first)
        assert second.edge.certificates == first.edge.certificates
        assert reason in [problem.reason for problem in second.problems]
        assert second.edge.routes[0].https_only


def shown(found: Translation) -> dict[str, str]:
    """The Secret that each host is served with."""
    return {host: one.name.split("_")[1] for one in found.edge.certificates for host in one.hosts}


def test_hosts_that_get_another_secret_keep_their_certificate_until_it_is_there(take: Any, make: Any) -> None:
    """One Secret for all, then one for each; they come one by one."""
    rules = [(host, "/", "Prefix", "web") for host in ("a.test", "b.test")]
    shared, own = make.secret("all", "a.test", "b.test"), make.secret("a", "a.test")
    each = make.ingress("i", *rules, tls={"a": ["a.test"], "b": ["b.test"], "c": ["c.test"]})
    found = translate(take(make.ingress("i", *rules, tls={"all": ["a.test", "b.test"]}), shared))
    for secrets, wanted in (
        ([shared], {"a.test": "all", "b.test": "all"}),
        ([own], {"a.test": "a", "b.test": "all"}),
        ([own, make.secret("b", "b.test")], {"a.test": "a", "b.test": "b"}),
    ):
        found = translate(take(each, *secrets), found)
        assert shown(found) == wanted
        assert all(route.https_only for route in found.edge.routes)
        said = {
            one.message.split()[1]: one.message.partition("; ")[2] for one in found.problems if "Secret" in one.reason
        }
        missing = {f"default/{name}" for name in "abc"} - {f"default/{one['metadata']['name']}" for one in secrets}
        before = dict.fromkeys(missing, "serving what its hosts had before")
        assert said == before | {"default/c": "serving the default certificate"}


def test_what_was_shown_before_gives_way_to_a_good_secret_and_stays_in_its_namespace(take: Any, make: Any) -> None:
    rule = ("a.test", "/", "Prefix", "web")
    found = translate(take(make.ingress("i", rule, tls={"old": ["a.test"]}), make.secret("old", "a.test")))
    lacking = make.ingress("i", rule, tls={"new": ["a.test"]})
    younger = make.ingress("j", ("b.test", "/", "Prefix", "web"), tls={"j": ["a.test"]}, created="2026-02-01T00:00:00Z")
    assert shown(translate(take(lacking, younger, make.secret("j", "a.test")), found)) == {"a.test": "j"}
    elsewhere = make.ingress("i", rule, tls={"new": ["a.test"]}, namespace="other")
    assert shown(translate(take(elsewhere), found)) == {}
    assert shown(translate(take(lacking), found)) == {"a.test": "old"}
    content = found.edge.certificates[0].pem
    assert shown(translate(take(lacking), found, refused={content: "too weak"})) == {}


def test_a_certificate_that_haproxy_refused_is_not_tried_again(take: Any, make: Any) -> None:
    ingress = make.ingress("i", ("a.test", "/", "Prefix", "web"), tls={"s": ["a.test"]})
    snapshot = take(ingress, make.secret("s", "a.test"))
    content = translate(snapshot).edge.certificates[0].pem
    again = translate(snapshot, refused={content: "too weak"})
    assert again.edge.certificates == ()
    assert "too weak" in next(problem.message for problem in again.problems if problem.reason == "InvalidCertificate")


def test_a_key_of_another_certificate_is_named(take: Any, make: Any) -> None:
    ingress = make.ingress("i", ("a.test", "/", "Prefix", "web"), tls={"s": ["a.test"]})
    one, two = make.secret("s", "a.test"), make.secret("s", "a.test")
    mixed = {**one, "data": {"tls.crt": one["data"]["tls.crt"], "tls.key": two["data"]["tls.key"]}}
    (problem,) = [one for one in translate(take(ingress, mixed)).problems if one.reason == "InvalidCertificate"]
    assert "not the key of the first certificate" in problem.message
    assert "PRIVATE" not in repr(translate(take(ingress, one)).edge)


@pytest.mark.parametrize("name", [one.name for one in NGINX if one.protects and not one.protects_with])
def test_what_protects_and_cannot_be_obeyed_lets_nobody_in(take: Any, make: Any, name: str) -> None:
    ingress = make.ingress("i", ("a.test", "/", "Prefix", "web"), annotations={name: "\x00"})
    found = translate(take(ingress, *make.service("web", ("10.0.0.1", 80))))
    assert found.edge.backends[0].profile.allowed_sources == ("0.0.0.0/32",)
    assert "nobody is let in" in found.problems[0].message


@pytest.mark.parametrize(
    ("snippet", "closed"), [("sub_filter a b;", False), ("deny all;", True), ("access_by_lua_block { x }", True)]
)
def test_a_snippet_that_is_not_understood_shuts_out_only_where_it_could_protect(
    take: Any, make: Any, snippet: str, closed: bool
) -> None:
    ingress = make.ingress("i", ("a.test", "/", "Prefix", "web"), annotations={"configuration-snippet": snippet})
    found = translate(take(ingress, *make.service("web", ("10.0.0.1", 80))))
    assert bool(found.edge.backends[0].profile.allowed_sources) is closed
    assert found.problems[0].refused


def test_canaries_need_a_main_and_are_eight_at_most(take: Any, make: Any) -> None:
    rule = ("a.test", "/", "Prefix", "web")
    marked = {"canary": "true", "canary-weight": "10"}
    found = translate(
        take(
            make.ingress("main", rule, annotations={"proxy-read-timeout": "9"}),
            *(
                make.ingress(
                    f"c{number}",
                    (*rule[:3], f"next{number}"),
                    annotations=marked,
                    created=f"2026-03-0{number + 1}T00:00:00Z",
                )
                for number in range(9)
            ),
            make.ingress("alone", ("b.test", "/", "Prefix", "third"), annotations=marked),
            *make.service("web"),
            *(raw for number in range(9) for raw in make.service(f"next{number}")),
        )
    )
    (route,) = [route for route in found.edge.routes if isinstance(route.action, Forward)]
    assert [one.backend.partition(":")[0] for one in route.action.canaries] == [f"default/next{n}" for n in range(8)]
    assert sorted(problem.reason for problem in found.problems) == ["CanaryConflict", "CanaryWithoutMain"]


def test_what_is_harmless_says_nothing() -> None:
    for row in NGINX:
        if row.how is How.HARMLESS:
            text = next(text for text in ("on", "true", "5", "1.1", "balanced") if _reads(row, text))
            assert read({PREFIX + row.name: text}).warnings == ()
    assert read({"kubernetes.io/tls-acme": "true"}).warnings == ()


def _reads(row: Any, text: str) -> bool:
    try:
        row.read(text)
    except Refused:
        return False
    return True


def test_a_huge_annotation_is_refused_by_its_size() -> None:
    (error,) = read({f"{PREFIX}allowlist-source-range": "10.0.0.0/8," * 100_000}).refused
    assert "1100000 characters are more than" in str(error)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (checks.host, ["a.test", "*.a.test", "A.Test.", "localhost", "10.0.0.1", "bücher.test"],
         ["", "*", "a..b", "a b", "-a", "a/b"]),
        (checks.path, ["/", "/a/b.c", "/@x:y", "/(x)*"], ["", "a", "/a b", "/%2e", "/a;b", "/a//b", "/../a", "/a/."]),
        (checks.regex, ["/a(/|$)(.*)", "/[a-z]{2,3}$", "/(?!x)y+?", r"/v\d+\.x"],
         ["/(", "/a{2}{3}", "/(a){9}", r"/\h", "/(?i)a", "/a b", "/(?<=x)", "/[[:x:]]"]),
        (checks.target, ["/", "/$1/$2", "$1", "/a:b"], ["", "/$", "/$0", "/$x", "/a b", "/a?b"]),
        (checks.url, ["https://a.test", "http://a.test:1/x?y=1#z"],
         ["a.test", "https://a b", "https://a/$request_uri", "javascript:x"]),
        (checks.size, ["0", "8m", "1K"], ["", "m", "8x", "-1"]),
        (checks.networks, ["10.0.0.0/8, ::1", "1.2.3.4"], ["x", "10.0.0.0/99"]),
    ],
)  # fmt: skip
def test_checks(check: Any, good: list[str], bad: list[str]) -> None:
    for text in good:
        check(text)
    for text in bad:
        with pytest.raises(Refused):
            check(text)


def test_a_problem_is_told_once_and_a_status_is_written_when_it_differs(take: Any, make: Any) -> None:
    snapshot = take(make.ingress("i", ("a.test", "/", "Prefix", "none")))
    found = translate(snapshot)
    (complaint,) = complaints(snapshot, (), found.problems)
    assert (complaint.regarding.kind, complaint.regarding.name, complaint.reason) == ("Ingress", "i", "ServiceNotFound")
    assert complaints(snapshot, found.problems, found.problems) == ()
    (change,) = changes(snapshot, found, ("192.0.2.1", "edge.test"))
    assert [(one.ip, one.hostname) for one in change.status.load_balancer.ingress] == [
        ("192.0.2.1", ""),
        ("", "edge.test"),
    ]
    assert changes(snapshot, Translation(), ("192.0.2.1",)) == ()


def test_mistakes_in_the_controllers_own_configuration_are_told_there(take: Any) -> None:
    names = {"name": "ingress-nginx-controller", "namespace": "ingress-nginx"}
    snapshot = take({"kind": "ConfigMap", "metadata": names, "data": {"hsts-max-age": "long", "use-gzip": "true"}})
    found = translate(snapshot)
    (complaint,) = complaints(snapshot, (), found.problems)
    assert (complaint.regarding.kind, complaint.reason) == ("ConfigMap", "InvalidConfiguration")
    assert found.edge.entrance.gzip_types and "max-age=31536000" in found.edge.entrance.hsts
