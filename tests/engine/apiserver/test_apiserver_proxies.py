"""What a URL with `/proxy` is about, and which permission is enough for it."""

import pytest

from fairway.engine.apiserver.endpoints import Target, finer, parse_path
from fairway.engine.apiserver.endpoints.routes import proxied

NODE, POD = "/api/v1/nodes/n/proxy", "/api/v1/namespaces/a/pods/http:p:80/proxy"


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        (NODE, (NODE, "")),
        (f"{NODE}/metrics/cadvisor", (NODE, "/metrics/cadvisor")),
        (f"{POD}//a%2Fb/", (POD, "//a%2Fb/")),
        (f"{POD}/x/api/v1/nodes/n/proxy/y", (POD, "/x/api/v1/nodes/n/proxy/y")),
        (f"{NODE}y/metrics", (f"{NODE}y/metrics", "")),
        ("/api/v1/namespaces/a/secrets/s/proxy/x", ("/api/v1/namespaces/a/secrets/s/proxy/x", "")),
        ("/apis/x/v1/nodes/n/proxy/x", ("/apis/x/v1/nodes/n/proxy/x", "")),
    ],
)
def test_what_is_passed_on_stays_as_it_was_sent(path: str, parts: tuple[str, str]) -> None:
    assert proxied(path) == parts


def test_the_target_ends_with_the_subresource() -> None:
    assert parse_path(f"{POD}//x") == Target("", "v1", "pods", "a", "http:p:80", "proxy")
    assert parse_path("/api/v1/nodes/n/%70roxy/exec") == Target("", "v1", "nodes", None, "n", "proxy", ("exec",))


@pytest.mark.parametrize(
    ("path", "verb", "enough"),
    [
        (f"{NODE}/metrics", "get", "metrics"),
        (f"{NODE}//metrics/cadvisor", "get", "metrics"),
        (f"{NODE}/stats/summary", "get", "stats"),
        (f"{NODE}/containerLogs/a/b/c", "get", "log"),
        (f"{NODE}/pods", "get", "pods"),
        (f"{NODE}/metrics", "create", ""),
        (f"{NODE}/metricsx", "get", ""),
        (f"{NODE}/exec/a/b/c", "get", ""),
        (NODE, "get", ""),
        (f"{POD}/metrics", "get", ""),
    ],
)
def test_a_part_of_a_node_has_a_permission_of_its_own(path: str, verb: str, enough: str) -> None:
    target = parse_path(path)
    assert target is not None and finer(target, verb, path) == enough
