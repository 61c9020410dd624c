"""RBAC as pure decisions: rules, what covers what, bindings, and the default roles."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.engine.apiserver.authentication import User
from fairway.engine.apiserver.authorization import policy
from fairway.engine.apiserver.authorization.rbac import Rbac
from fairway.engine.apiserver.authorization.rules import EVERYTHING, Rule, compact, from_raw, missing, text


def rule(verbs: str, groups: str = "", resources: str = "", names: str = "") -> Rule:
    """Words separated by blanks; `-` is the core group."""
    split = tuple("" if group == "-" else group for group in groups.split())
    return Rule(tuple(verbs.split()), split, tuple(resources.split()), tuple(names.split()))


def urls(verbs: str, paths: str) -> Rule:
    return Rule(tuple(verbs.split()), urls=tuple(paths.split()))


@pytest.mark.parametrize(
    ("given_rule", "asked", "allowed"),
    [
        (rule("get list", "-", "pods"), ("get", "", "pods", ""), True),
        (rule("get list", "-", "pods"), ("watch", "", "pods", ""), False),
        (rule("get", "-", "pods"), ("get", "apps", "pods", ""), False),
        (rule("get", "-", "pods"), ("get", "", "pods", "log"), False),
        (rule("get", "-", "pods/log"), ("get", "", "pods", "log"), True),
        (rule("get", "-", "pods/log"), ("get", "", "pods", ""), False),
        (rule("get", "-", "pods/*"), ("get", "", "pods", "log"), False),
        (rule("*", "-", "pods"), ("impersonate", "", "pods", ""), True),
        (rule("get", "*", "pods"), ("get", "metrics.k8s.io", "pods", ""), True),
        (rule("get", "-", "*"), ("get", "", "pods", "exec"), True),
        (rule("update", "*", "*/scale"), ("update", "apps", "deployments", "scale"), True),
        (rule("update", "*", "*/scale"), ("update", "apps", "deployments", ""), False),
        (rule("update", "*", "*/scale"), ("update", "apps", "deployments", "status"), False),
    ],
)
def test_what_a_rule_speaks_of(given_rule: Rule, asked: tuple[str, str, str, str], allowed: bool) -> None:
    assert given_rule.speaks_of(*asked) is allowed


@pytest.mark.parametrize(
    ("given_rule", "path", "allowed"),
    [
        (urls("get", "/healthz"), "/healthz", True),
        (urls("get", "/healthz"), "/healthz/ping", False),
        (urls("get", "/healthz/*"), "/healthz/ping", True),
        (urls("get", "/healthz/*"), "/healthz", False),
        (urls("get", "*"), "/anything", True),
        (urls("post", "*"), "/anything", False),
    ],
)
def test_urls(given_rule: Rule, path: str, allowed: bool) -> None:
    assert given_rule.allows_url("get", path) is allowed


@pytest.mark.parametrize(
    ("owned", "wanted", "lacking"),
    [
        ([rule("get list", "-", "pods secrets")], rule("get", "-", "pods"), []),
        (
            [rule("get", "-", "pods")],
            rule("get list", "-", "pods services"),
            [rule("list", "-", "pods"), rule("get list", "-", "services")],
        ),
        ([rule("*", "*", "*")], rule("get", "a b", "c/d"), []),
        ([rule("get", "-", "*")], rule("get", "-", "pods/log"), []),
        ([rule("get", "-", "*/log")], rule("get", "-", "pods/log"), []),
        ([rule("get", "-", "*/log")], rule("get", "-", "*"), [rule("get", "-", "*")]),
        ([rule("get", "-", "pods", "a b")], rule("get", "-", "pods", "a"), []),
        ([rule("get", "-", "pods", "a")], rule("get", "-", "pods"), [rule("get", "-", "pods")]),
        ([rule("get", "-", "pods")], rule("get", "-", "pods", "a"), []),
        ([rule("get", "-", "pods"), rule("list", "-", "pods")], rule("get list", "-", "pods"), []),
        ([urls("get", "/api/*")], urls("get", "/api/v1 /apis"), [urls("get", "/apis")]),
        ([urls("get", "*")], urls("get", "/x/*"), []),
        ([rule("get", "-", "pods")], rule("*", "-", "pods"), [rule("*", "-", "pods")]),
    ],
)
def test_what_is_missing(owned: list[Rule], wanted: Rule, lacking: list[Rule]) -> None:
    assert compact(missing(owned, [wanted])) == lacking


def test_rules_as_text() -> None:
    assert text(rule("get", "- apps", "pods", "a")) == (
        '{APIGroups:["" "apps"], Resources:["pods"], ResourceNames:["a"], Verbs:["get"]}'
    )
    assert text(urls("get", "/x")) == '{NonResourceURLs:["/x"], Verbs:["get"]}'


words = st.lists(st.sampled_from(["get", "list", "*", "update"]), min_size=1, max_size=3).map(tuple)
groups = st.lists(st.sampled_from(["", "apps", "*"]), min_size=1, max_size=2).map(tuple)
resources = st.lists(st.sampled_from(["pods", "pods/log", "*", "*/log", "nodes"]), min_size=1, max_size=3).map(tuple)
object_names = st.lists(st.sampled_from(["a", "b"]), max_size=2).map(tuple)
resource_rules = st.builds(Rule, words, groups, resources, object_names)
url_rules = st.builds(Rule, words, urls=st.lists(st.sampled_from(["/a", "/a/*", "*"]), min_size=1).map(tuple))
any_rules = st.lists(st.one_of(resource_rules, url_rules), max_size=4)


@given(any_rules)
def test_everybody_covers_themselves_and_masters_cover_everybody(rules: list[Rule]) -> None:
    assert missing(rules, rules) == []
    assert missing(EVERYTHING, rules) == []
    assert missing([], rules) or not rules


@given(any_rules, any_rules)
def test_compact_means_the_same(owned: list[Rule], wanted: list[Rule]) -> None:
    lacking = missing(owned, wanted)
    assert missing(compact(lacking), lacking) == []
    assert missing(lacking, compact(lacking)) == []


@given(any_rules, any_rules, st.sampled_from(["get", "list", "update", "patch"]), st.sampled_from(["", "apps", "x"]))
def test_who_is_covered_may_no_more(owned: list[Rule], wanted: list[Rule], verb: str, group: str) -> None:
    """The heart of escalation prevention: covered rules allow nothing that the owner's rules do not."""
    if missing(owned, wanted):
        return
    for resource, subresource in (("pods", ""), ("pods", "log"), ("nodes", ""), ("other", "log")):
        for name in ("", "a", "b", "c"):
            asked = (verb, group, resource, subresource)
            if allows(wanted, asked, name):
                assert allows(owned, asked, name), (asked, name)
    for path in ("/a", "/a/b", "/b"):
        if any(each.allows_url(verb, path) for each in wanted):
            assert any(each.allows_url(verb, path) for each in owned)


def allows(rules: list[Rule], asked: tuple[str, str, str, str], name: str) -> bool:
    return any(each.speaks_of(*asked) and (not each.names or name in each.names) for each in rules)


# --- bindings

READ = [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]


def binding(kind: str, role: str, *subjects: dict[str, str]) -> dict[str, Any]:
    return {"roleRef": {"kind": kind, "name": role}, "subjects": list(subjects)}


def may(rbac: Rbac, user: User, namespace: str, name: str = "") -> bool:
    return rbac.permissions(user, namespace).allows("get", "", "pods", "", name)


def test_bindings_reach_users_groups_and_accounts() -> None:
    rbac = Rbac()
    rbac.put_role(("", "read"), READ)
    rbac.put_role(("a", "read"), READ)
    rbac.put_binding(("", "all"), binding("ClusterRole", "read", {"kind": "Group", "name": "readers"}))
    rbac.put_binding(("a", "own"), binding("Role", "read", {"kind": "User", "name": "bob"}))
    account = {"kind": "ServiceAccount", "name": "robot", "namespace": "b"}
    rbac.put_binding(("b", "robot"), binding("ClusterRole", "read", account))
    assert may(rbac, User("x", ("readers",)), "")
    assert may(rbac, User("x", ("readers",)), "a")
    assert may(rbac, User("bob"), "a")
    assert not may(rbac, User("bob"), "")
    assert not may(rbac, User("bob"), "b")
    assert may(rbac, User("system:serviceaccount:b:robot"), "b")
    assert not may(rbac, User("system:serviceaccount:a:robot"), "b")


def test_changes_count_at_once() -> None:
    rbac, bob = Rbac(), User("bob")
    rbac.put_binding(("", "x"), binding("ClusterRole", "read", {"kind": "User", "name": "bob"}))
    assert rbac.permissions(bob, "").missing == ('clusterrole.rbac.authorization.k8s.io "read" not found',)
    rbac.put_role(("", "read"), READ)
    assert may(rbac, bob, "")
    rbac.put_role(("", "read"), [{**READ[0], "resourceNames": ["a"]}])
    assert may(rbac, bob, "", "a")
    assert not may(rbac, bob, "", "b")
    assert not may(rbac, bob, "")
    rbac.put_binding(("", "x"), binding("ClusterRole", "read", {"kind": "User", "name": "eve"}))
    assert not may(rbac, bob, "", "a")
    rbac.remove_binding(("", "x"))
    rbac.remove_role(("", "read"))
    assert not may(rbac, User("eve"), "", "a")


# --- default roles


def test_default_roles_are_named_as_upstream_s() -> None:
    names = {role.name for role in policy.ROLES}
    assert names >= {"cluster-admin", "admin", "edit", "view", "system:discovery", "system:basic-user", "system:node"}
    assert {given.name for given in policy.BINDINGS} <= names


@pytest.mark.parametrize("role", policy.ROLES, ids=lambda role: role.name)
def test_default_roles_survive_their_own_form(role: policy.Role) -> None:
    assert from_raw(role.raw().get("rules")) == role.rules


def test_who_views_reads_no_secrets_and_escalates_nothing() -> None:
    rules = {role.name: role.rules for role in policy.ROLES}
    for name in ("system:aggregate-to-view", "system:aggregate-to-edit"):
        assert not any(
            each.speaks_of(verb, "rbac.authorization.k8s.io", "roles", "")
            for each in rules[name]
            for verb in ("create",)
        )
    view = rules["system:aggregate-to-view"]
    assert not any(each.speaks_of("get", "", "secrets", "") for each in view)
    assert {verb for each in view for verb in each.verbs} == {"get", "list", "watch"}
