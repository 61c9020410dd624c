"""Where a pod goes, and what is said when it goes nowhere."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.engine.scheduler.plan import Bind, Unschedulable, plan
from fairway.engine.scheduler.snapshot import Place, requests, take
from fairway.kube.api.config import Node, NodeSpec, NodeStatus, Taint
from fairway.kube.api.meta import ObjectMeta
from fairway.kube.api.placement import tolerates
from fairway.kube.api.pods import Container, ContainerPort, Pod, PodSpec, PodStatus, ResourceRequirements, Toleration


def node(
    name: str = "n", *taints: Taint, labels: dict[str, str] | None = None, closed: bool = False, **has: str
) -> Node:
    amounts = {"cpu": "2", "memory": "4Gi", "pods": "10", **has}
    return Node(
        metadata=ObjectMeta(name=name, labels=labels or {}),
        spec=NodeSpec(taints=taints, unschedulable=closed),
        status=NodeStatus(allocatable=amounts),
    )


def container(host_port: int = 0, **asks: str) -> Container:
    ports = (ContainerPort(container_port=80, host_port=host_port),) if host_port else ()
    return Container(name="c", resources=ResourceRequirements(requests=asks), ports=ports)


def pod(*containers: Container, name: str = "p", **spec: Any) -> Pod:
    return Pod(metadata=ObjectMeta(name=name, uid=name), spec=PodSpec(containers=containers or (container(),), **spec))


def required(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}


def label(operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": "disk", "operator": operator, "values": list(values)}]}


NO_VICTIMS = " preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
NO_HELP = " preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
SSD = {"disk": "ssd", "size": "5"}


@pytest.mark.parametrize(
    ("one", "place", "message"),
    [
        pytest.param(pod(), Place(node()), None, id="fits"),
        pytest.param(
            pod(container(cpu="1500m")),
            Place(node(), (pod(container(cpu="1")),)),
            "0/1 nodes are available: 1 Insufficient cpu." + NO_VICTIMS,
            id="cpu is taken",
        ),
        pytest.param(
            pod(container(cpu="3", memory="5Gi")),
            Place(node()),
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory." + NO_HELP,
            id="never enough",
        ),
        pytest.param(
            pod(Container(name="c", resources=ResourceRequirements(requests={"example.com/gpu": "1"}))),
            Place(node()),
            "0/1 nodes are available: 1 Insufficient example.com/gpu." + NO_HELP,
            id="no such thing",
        ),
        pytest.param(
            pod(),
            Place(node(pods="1"), (pod(),)),
            "0/1 nodes are available: 1 Too many pods." + NO_VICTIMS,
            id="too many pods",
        ),
        pytest.param(
            pod(),
            Place(node(closed=True)),
            "0/1 nodes are available: 1 node(s) were unschedulable." + NO_HELP,
            id="cordoned",
        ),
        pytest.param(
            pod(),
            Place(node("n", Taint(key="a", value="b", effect="NoSchedule"))),
            "0/1 nodes are available: 1 node(s) had untolerated taint {a: b}." + NO_HELP,
            id="tainted",
        ),
        pytest.param(
            pod(tolerations=(Toleration(key="a", operator="Exists"),)),
            Place(node("n", Taint(key="a", value="b", effect="NoSchedule"))),
            None,
            id="tolerated",
        ),
        pytest.param(pod(), Place(node("n", Taint(key="a", effect="PreferNoSchedule"))), None, id="only discouraged"),
        pytest.param(
            pod(node_selector={"disk": "ssd"}),
            Place(node()),
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector." + NO_HELP,
            id="node selector",
        ),
        pytest.param(pod(node_selector={"disk": "ssd"}), Place(node(labels=SSD)), None, id="node selector matches"),
        pytest.param(
            pod(container(host_port=80)),
            Place(node(), (pod(container(host_port=80)),)),
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports." + NO_VICTIMS,
            id="host port",
        ),
    ],
)
def test_one_node(one: Pod, place: Place, message: str | None) -> None:
    assert plan(one, [place]) == (Bind("n") if message is None else Unschedulable(message))


@pytest.mark.parametrize(
    ("terms", "fits"),
    [
        ([label("In", "ssd", "nvme")], True),
        ([label("NotIn", "ssd")], False),
        ([label("Exists")], True),
        ([label("DoesNotExist")], False),
        ([label("In", "hdd"), label("Exists")], True),
        ([{}], False),
        ([{"matchExpressions": [{"key": "size", "operator": "Gt", "values": ["4"]}]}], True),
        ([{"matchExpressions": [{"key": "size", "operator": "Lt", "values": ["4"]}]}], False),
        ([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}], True),
        ([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["m"]}]}], False),
    ],
)
def test_node_affinity(terms: list[dict[str, Any]], fits: bool) -> None:
    assert isinstance(plan(pod(affinity=required(*terms)), [Place(node(labels=SSD))]), Bind) is fits


def test_no_nodes() -> None:
    assert plan(pod(), []) == Unschedulable("no nodes available to schedule pods")


def test_several_nodes_and_several_reasons() -> None:
    places = [Place(node("a", closed=True)), Place(node("b", cpu="1")), Place(node("c", cpu="1"))]
    assert plan(pod(container(cpu="1500m")), places) == Unschedulable(
        "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu. "
        "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )


def test_the_emptier_node_is_taken() -> None:
    places = [Place(node("a"), (pod(container(cpu="1")),)), Place(node("b"))]
    assert plan(pod(container(cpu="500m")), places) == Bind("b")


def test_what_a_pod_asks_for() -> None:
    sidecar = Container(name="s", restart_policy="Always", resources=ResourceRequirements(requests={"cpu": "100m"}))
    init = Container(name="i", resources=ResourceRequirements(requests={"cpu": "3"}))
    one = pod(container(cpu="1"), container(cpu="1"), init_containers=(sidecar, init))
    assert requests(one)["cpu"] * 1000 == 3100
    assert requests(pod(container(cpu="2"), init_containers=(sidecar,)))["cpu"] * 1000 == 2100


@pytest.mark.parametrize(
    ("toleration", "wanted"),
    [
        (Toleration(operator="Exists"), True),
        (Toleration(key="a", value="b"), True),
        (Toleration(key="a", value="c"), False),
        (Toleration(key="a", operator="Exists", effect="NoExecute"), False),
        (Toleration(key="b", operator="Exists"), False),
    ],
)
def test_tolerations(toleration: Toleration, wanted: bool) -> None:
    assert tolerates(toleration, Taint(key="a", value="b", effect="NoSchedule")) is wanted


def test_pods_sent_a_moment_ago_count() -> None:
    sent, ended = pod(name="sent"), Pod(spec=PodSpec(node_name="n"), status=PodStatus(phase="Succeeded"))
    (place,) = take([node()], [sent, ended], {"sent": "n"})
    assert place.pods == (sent,)


@given(st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 3000)), max_size=30))
def test_no_node_is_ever_overcommitted(asks: list[tuple[int, int]]) -> None:
    pods: list[Pod] = []
    assumed: dict[str, str] = {}
    nodes = [node("a"), node("b", cpu="1")]
    for number, (cpu, memory) in enumerate(asks):
        one = pod(container(cpu=f"{cpu}m", memory=f"{memory}Mi"), name=str(number))
        decided = plan(one, take(nodes, pods, assumed))
        if isinstance(decided, Bind):
            assumed[one.metadata.uid] = decided.node
        pods.append(one)
    for place in take(nodes, pods, assumed):
        assert all(place.used.get(name, 0) <= place.allocatable[name] for name in ("cpu", "memory"))
        assert len(place.pods) <= 10
