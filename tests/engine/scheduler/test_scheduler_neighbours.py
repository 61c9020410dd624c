"""Affinity between pods, spreading, and which of several nodes is the best."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.engine.scheduler.plan import Bind, plan
from fairway.engine.scheduler.snapshot import take
from fairway.kube.api.config import Node
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod


def node(name: str, zone: str = "", *, taints: list[dict[str, str]] | None = None, cpu: str = "8") -> Node:
    labels = {"host": name, **({"zone": zone} if zone else {})}
    status = {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "50"}}
    return decode(
        Node, {"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints or []}, "status": status}
    )


def pod(app: str, place: str = "", namespace: str = "default", name: str = "", **spec: Any) -> Pod:
    metadata = {"name": name or f"{app}-{place}", "uid": name or f"{app}-{place}", "namespace": namespace}
    return decode(Pod, {"metadata": {**metadata, "labels": {"app": app}}, "spec": {"nodeName": place, **spec}})


def term(app: str, key: str = "host", **more: Any) -> dict[str, Any]:
    return {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key, **more}


def wants(kind: str, *terms: dict[str, Any]) -> dict[str, Any]:
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}}


def prefers(kind: str, weight: int, wanted: dict[str, Any]) -> dict[str, Any]:
    listed = [{"weight": weight, "podAffinityTerm": wanted}]
    return {"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": listed}}}


def spread(key: str = "zone", app: str = "web", skew: int = 1, **more: Any) -> dict[str, Any]:
    rule = {"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule", **more}
    return {"topologySpreadConstraints": [{**rule, "labelSelector": {"matchLabels": {"app": app}}}]}


NODES = [node("a", "east"), node("b", "west"), node("c", "west")]
NAMESPACES = {"default": {}, "other": {"team": "x"}}
TEAM = {"namespaceSelector": {"matchLabels": {"team": "x"}}}


def where(one: Pod, *others: Pod, nodes: list[Node] | None = None) -> str:
    """The node, or the reasons."""
    found = plan(one, take(nodes or NODES, others, {}), NAMESPACES)
    return found.node if isinstance(found, Bind) else found.message.partition(" preemption:")[0]


FAR = "0/3 nodes are available: 3 node(s) didn't match pod affinity rules."
NEAR = "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."


@pytest.mark.parametrize(
    ("one", "others", "wanted"),
    [
        (pod("web", **wants("podAffinity", term("db"))), [pod("db", "b")], "b"),
        (pod("web", **wants("podAffinity", term("db", "zone"))), [pod("db", "a"), pod("x", "b")], "a"),
        (pod("web", **wants("podAffinity", term("db"))), [], FAR),
        (pod("web", **wants("podAffinity", term("db"))), [pod("db", "b", "other")], FAR),
        (pod("web", **wants("podAffinity", term("db", namespaces=["other"]))), [pod("db", "b", "other")], "b"),
        (pod("web", **wants("podAffinity", term("db", **TEAM))), [pod("db", "b", "other")], "b"),
        (pod("web", **wants("podAffinity", term("web", "rack"))), [], FAR),
        (pod("web", **wants("podAntiAffinity", term("web"))), [pod("web", "a"), pod("web", "c")], "b"),
        (pod("web", **wants("podAntiAffinity", term("web", "zone"))), [pod("web", "c")], "a"),
        (
            pod("web", **wants("podAntiAffinity", term("web", "zone"))),
            [pod("web", "a"), pod("web", "c")],
            NEAR,
        ),
        (
            pod("web"),
            [pod("shy", place, **wants("podAntiAffinity", term("web", "zone"))) for place in ("a", "b")],
            "0/3 nodes are available: 3 node(s) didn't satisfy existing pods anti-affinity rules.",
        ),
        (pod("web", **prefers("podAffinity", 50, term("db"))), [pod("db", "c")], "c"),
        (pod("web", **prefers("podAntiAffinity", 50, term("db", "zone"))), [pod("db", "c")], "a"),
        (pod("web"), [pod("fan", "c", **prefers("podAffinity", 1, term("web")))], "c"),
    ],
)
def test_affinity(one: Pod, others: list[Pod], wanted: str) -> None:
    assert where(one, *others) == wanted


def test_the_first_of_a_group_goes_anywhere() -> None:
    assert where(pod("web", **wants("podAffinity", term("web")))) in ("a", "b", "c")


UNEVEN = "node(s) didn't match pod topology spread constraints"


@pytest.mark.parametrize(
    ("one", "others", "wanted"),
    [
        (pod("web", **spread()), [pod("web", "b")], "a"),
        (pod("web", **spread(skew=2)), [pod("web", "b"), pod("web", "b", name="2"), pod("x", "c")], "a"),
        (
            pod("web", **spread(minDomains=3)),
            [pod("web", "a"), pod("web", "b")],
            f"0/3 nodes are available: 3 {UNEVEN}.",
        ),
        (pod("web", **spread("rack")), [], f"0/3 nodes are available: 3 {UNEVEN} (missing required label)."),
        (pod("web", **spread("host")), [pod("web", "a"), pod("web", "b")], "c"),
        (pod("web", **spread(whenUnsatisfiable="ScheduleAnyway")), [pod("web", "b")], "a"),
        # A node that the pod may not use does not count as a domain, unless the policy says so.
        (pod("web", nodeSelector={"host": "c"}, **spread()), [pod("web", "b"), pod("web", "b", name="2")], "c"),
        (
            pod("web", nodeSelector={"zone": "west"}, **spread(nodeAffinityPolicy="Ignore")),
            [pod("web", "b")],
            f"0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 {UNEVEN}.",
        ),
    ],
)
def test_spreading(one: Pod, others: list[Pod], wanted: str) -> None:
    assert where(one, *others) == wanted


def test_pods_that_go_do_not_count() -> None:
    going = pod("web", "b")
    raw = {"metadata": {"name": "x", "namespace": "default", "labels": {"app": "web"}}}
    raw["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"  # type: ignore[index]
    leaving = decode(Pod, {**raw, "spec": {"nodeName": "a"}})
    assert where(pod("web", **spread()), going, leaving) == "a"


def test_preferred_nodes_and_discouraged_ones() -> None:
    rules = [{"weight": 1, "preference": {"matchExpressions": [{"key": "host", "operator": "In", "values": ["b"]}]}}]
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": rules}}
    assert where(pod("web", affinity=affinity), pod("x", "b"), pod("x", "b", name="2")) == "b"
    tainted = [node("a", taints=[{"key": "slow", "effect": "PreferNoSchedule"}]), node("b", cpu="2")]
    assert where(pod("web"), pod("x", "b"), nodes=tainted) == "b"


@given(count=st.integers(1, 20), skew=st.integers(1, 3))
def test_spreading_keeps_within_the_skew(count: int, skew: int) -> None:
    pods: list[Pod] = []
    for number in range(count):
        place = where(pod("web", **spread(skew=skew)), *pods)
        pods.append(pod("web", place, name=str(number)))
        zones = [sum(other.spec.node_name in names for other in pods) for names in (("a",), ("b", "c"))]
        assert max(zones) - min(zones) <= skew
