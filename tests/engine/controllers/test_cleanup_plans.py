"""Garbage, namespaces, silent nodes and default accounts: what is decided."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from fairway.engine.controllers.conditions import find
from fairway.engine.controllers.garbage import plan as garbage
from fairway.engine.controllers.garbage.graph import Graph, Item
from fairway.engine.controllers.namespace import plan as namespace
from fairway.engine.controllers.node import plan as node
from fairway.engine.controllers.serviceaccount import plan as accounts
from fairway.kube.api.config import ConfigMap, Namespace, Node, NodeSpec, NodeStatus, ServiceAccount, Taint
from fairway.kube.api.meta import Condition, ObjectKey, ObjectMeta, OwnerReference
from fairway.kube.api.pods import Pod, PodStatus
from fairway.kube.api.resource import CONFIG_MAPS, PODS

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PRESENT, ABSENT, WAITING = garbage.Owner.PRESENT, garbage.Owner.ABSENT, garbage.Owner.WAITING


def meta(*owners: str, leaving: bool = False, finalizers: tuple[str, ...] = (), blocks: bool = True) -> ObjectMeta:
    return ObjectMeta(
        name="x",
        namespace="shop",
        uid="me",
        deletion_timestamp=NOW if leaving else None,
        finalizers=finalizers,
        owner_references=tuple(
            OwnerReference(api_version="v1", kind="K", name=uid, uid=uid, block_owner_deletion=blocks) for uid in owners
        ),
    )


CHILD = meta("me")


class TestGarbage:
    @pytest.mark.parametrize(
        ("seen", "wanted"),
        [
            pytest.param(garbage.Snapshot(meta(), {}), garbage.Keep(), id="no owner"),
            pytest.param(garbage.Snapshot(meta("a"), {"a": PRESENT}), garbage.Keep(), id="owned"),
            pytest.param(garbage.Snapshot(meta("a"), {"a": ABSENT}), garbage.Delete("Background"), id="abandoned"),
            pytest.param(
                garbage.Snapshot(meta("a", "b"), {"a": ABSENT, "b": PRESENT}),
                garbage.Disown(frozenset("a")),
                id="one of two is left",
            ),
            pytest.param(
                garbage.Snapshot(meta("a"), {"a": WAITING}),
                garbage.Delete("Background"),
                id="foreground, no dependents",
            ),
            pytest.param(
                garbage.Snapshot(meta("a"), {"a": WAITING}, (CHILD,)), garbage.Delete("Foreground"), id="foreground"
            ),
            pytest.param(
                garbage.Snapshot(meta("a", finalizers=("orphan",)), {"a": ABSENT}),
                garbage.Delete("Orphan"),
                id="orphan",
            ),
            pytest.param(
                garbage.Snapshot(meta("a", leaving=True), {"a": ABSENT}), garbage.Keep(), id="leaving already"
            ),
            pytest.param(
                garbage.Snapshot(meta(leaving=True, finalizers=("orphan",)), {}, (CHILD,)),
                garbage.FreeDependents(),
                id="set free",
            ),
            pytest.param(
                garbage.Snapshot(meta(leaving=True, finalizers=("orphan",)), {}),
                garbage.Finish("orphan"),
                id="all free",
            ),
            pytest.param(
                garbage.Snapshot(meta(leaving=True, finalizers=("foregroundDeletion",)), {}, (CHILD,)),
                garbage.WaitForDependents(),
                id="dependents first",
            ),
            pytest.param(
                garbage.Snapshot(
                    meta(leaving=True, finalizers=("foregroundDeletion",)), {}, (meta("me", blocks=False),)
                ),
                garbage.Finish("foregroundDeletion"),
                id="dependents that do not block",
            ),
        ],
    )
    def test_plan(self, seen: garbage.Snapshot, wanted: garbage.Action) -> None:
        assert garbage.plan(seen) == wanted

    def test_the_graph_follows_changes(self) -> None:
        graph, item = Graph(), Item(PODS, ObjectKey("shop", "x"))
        graph.put(item, meta("a"))
        assert graph.dependents("a") == (item,)
        graph.put(item, meta("b"))
        assert (graph.dependents("a"), graph.dependents("b")) == ((), (item,))
        assert graph.by_uid("me") == meta("b")
        graph.put(item, None)
        assert (graph.dependents("b"), graph.by_uid("me"), graph.metadata(item)) == ((), None, None)


class TestNamespace:
    def test_empty_is_done(self) -> None:
        assert namespace.plan(namespace.Contents({PODS: ()})) == namespace.Plan((), True, None)

    def test_what_is_leaving_is_not_deleted_again(self) -> None:
        fresh, leaving = meta(), meta(leaving=True)
        decided = namespace.plan(namespace.Contents({PODS: (leaving,), CONFIG_MAPS: (fresh,)}))
        assert decided.delete == ((CONFIG_MAPS, fresh),)
        assert not decided.finalize
        assert decided.again_seconds

    def test_conditions_say_what_is_left(self) -> None:
        contents = namespace.Contents({PODS: (meta(finalizers=("a/b",)), meta()), CONFIG_MAPS: ()})
        found = namespace.conditions((), contents, NOW)
        remaining = find(found, "NamespaceContentRemaining")
        waiting = find(found, "NamespaceFinalizersRemaining")
        assert remaining and waiting
        assert remaining.message == "Some resources are remaining: pods. has 2 resource instances"
        assert waiting.message == "Some content in the namespace has finalizers remaining: a/b in 1 resource instances"
        assert namespace.conditions(found, contents, NOW + timedelta(seconds=5)) == found


def ready(status: str) -> tuple[Condition, ...]:
    return (Condition(type="Ready", status=status),)


def a_node(status: str = "True", *taints: Taint) -> Node:
    return Node(spec=NodeSpec(taints=taints), status=NodeStatus(conditions=ready(status)))


def taint(key: str, effect: str) -> Taint:
    return Taint(key=f"node.kubernetes.io/{key}", effect=effect)


BOTH = ("NoSchedule", "NoExecute")


class TestNode:
    def test_a_node_that_is_heard_stays_as_it_is(self) -> None:
        decided = node.plan(a_node(), 10, NOW)
        assert (decided.conditions, decided.taints, decided.pods_unready) == (None, None, False)
        assert decided.again_seconds == pytest.approx(node.GRACE_SECONDS - 10 + 0.1)

    def test_silence_makes_everything_unknown(self) -> None:
        decided = node.plan(a_node(), 51, NOW)
        assert decided.conditions is not None
        assert {condition.type: condition.status for condition in decided.conditions} == dict.fromkeys(
            ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure"), "Unknown"
        )
        assert decided.taints == tuple(taint("unreachable", effect) for effect in BOTH)
        assert decided.pods_unready

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (a_node("False"), tuple(taint("not-ready", effect) for effect in BOTH)),
            (a_node("True", taint("not-ready", "NoSchedule"), taint("not-ready", "NoExecute")), ()),
            (a_node("True", Taint(key="mine", effect="NoSchedule")), None),
            (
                a_node("Unknown", taint("not-ready", "NoExecute"), Taint(key="mine", effect="NoSchedule")),
                (Taint(key="mine", effect="NoSchedule"), *(taint("unreachable", effect) for effect in BOTH)),
            ),
        ],
    )
    def test_taints(self, before: Node, after: Any) -> None:
        assert node.plan(before, 1, NOW).taints == after

    def test_a_cordoned_node_is_tainted(self) -> None:
        cordoned = replace(a_node(), spec=NodeSpec(unschedulable=True))
        assert node.plan(cordoned, 1, NOW).taints == (taint("unschedulable", "NoSchedule"),)
        assert node.plan(a_node("True", taint("unschedulable", "NoSchedule")), 1, NOW).taints == ()

    @pytest.mark.parametrize("status", ["False", "Unknown"])
    def test_what_an_earlier_run_left_behind_taints_nothing_until_the_grace_is_over(self, status: str) -> None:
        left = a_node(status, taint("not-ready", "NoSchedule"))
        decided = node.plan(a_node(status), 1, NOW, heard=False)
        assert (decided.conditions, decided.taints, decided.pods_unready) == (None, None, False)
        assert node.plan(left, 1, NOW, heard=False).taints == (() if status == "Unknown" else None)
        assert node.plan(a_node("True", taint("not-ready", "NoSchedule")), 1, NOW, heard=False).taints == ()
        assert node.plan(Node(), 1, NOW, heard=False).taints is None
        late = node.plan(a_node(status), 51, NOW, heard=False)
        assert late.taints == tuple(taint("unreachable", effect) for effect in BOTH)
        assert late.pods_unready

    def test_pods_become_unready_once(self) -> None:
        pod = Pod(status=PodStatus(conditions=ready("True")))
        changed = node.unready(pod, NOW)
        assert changed is not None
        assert (changed[0].status, changed[0].reason) == ("False", "NodeNotReady")
        assert node.unready(replace(pod, status=PodStatus(conditions=changed)), NOW) is None


class TestServiceAccount:
    SHOP = Namespace(metadata=ObjectMeta(name="shop"))
    ENDING = Namespace(metadata=ObjectMeta(name="shop", deletion_timestamp=NOW))

    def test_what_is_missing_is_made(self) -> None:
        account = accounts.missing_account(self.SHOP, None)
        authority = accounts.root_ca(self.SHOP, None, "PEM")
        assert account and authority
        assert account["metadata"] == {"name": "default", "namespace": "shop"}
        assert authority["data"] == {"ca.crt": "PEM"}

    def test_what_is_there_is_left(self) -> None:
        assert accounts.missing_account(self.SHOP, ServiceAccount()) is None
        assert accounts.root_ca(self.SHOP, ConfigMap(data={"ca.crt": "PEM"}), "PEM") is None
        assert accounts.root_ca(self.SHOP, None, "") is None

    def test_nothing_is_made_in_a_namespace_that_ends(self) -> None:
        assert accounts.missing_account(self.ENDING, None) is None
        assert accounts.root_ca(self.ENDING, None, "PEM") is None

    def test_another_ca_replaces_the_old_one(self) -> None:
        old = ConfigMap(metadata=ObjectMeta(resource_version="7"), data={"ca.crt": "OLD"})
        raw = accounts.root_ca(self.SHOP, old, "PEM")
        assert raw and raw["metadata"]["resourceVersion"] == "7"
