"""Events as people read them: in the order they happened, and once."""

from controllers_world import Cluster

from fairway.kube.api.meta import ObjectReference
from fairway.kube.api.resource import EVENTS
from fairway.kube.reconcile.events import EventRecorder
from fairway.toolkit.clock import FakeClock

ABOUT = ObjectReference(api_version="v1", kind="Pod", namespace="default", name="p", uid="u")


async def test_events_of_one_second_are_listed_in_the_order_they_happened(cluster: Cluster) -> None:
    clock = FakeClock()
    recorders = [EventRecorder(cluster.client, name, clock) for name in ("z", "a")]
    reasons = ["Zeta", "Alpha", "Mid", "Beta", "Alef"]
    for index, reason in enumerate(reasons):
        await recorders[index % 2].record(ABOUT, "Normal", reason, "happened")
        await clock.advance(0.001)
    assert [event["reason"] for event in await about_p(cluster)] == reasons


async def test_the_same_event_again_is_counted(cluster: Cluster) -> None:
    clock = FakeClock()
    recorder = EventRecorder(cluster.client, "kubelet", clock, host="node")
    for _ in range(3):
        await recorder.record(ABOUT, "Warning", "BackOff", "again")
        await clock.advance(60)
    (event,) = await about_p(cluster)
    assert event["count"] == 3
    assert event["firstTimestamp"] == "2026-01-01T00:00:00Z"
    assert event["lastTimestamp"] == "2026-01-01T00:02:00Z"
    assert event["source"] == {"component": "kubelet", "host": "node"}


async def test_two_components_in_the_same_moment_and_one_that_expired(cluster: Cluster) -> None:
    clock = FakeClock()
    recorders = [EventRecorder(cluster.client, name, clock) for name in ("one", "two")]
    for recorder in recorders:
        await recorder.record(ABOUT, "Normal", "Same", "moment")
    events = await about_p(cluster)
    assert [event["source"] for event in events] == [{"component": "one"}, {"component": "two"}]
    await cluster.client.delete(EVENTS, events[0]["metadata"]["name"], namespace="default")
    await recorders[0].record(ABOUT, "Normal", "Same", "moment")
    assert sorted(event["source"]["component"] for event in await about_p(cluster)) == ["one", "two"]


async def about_p(cluster: Cluster) -> list[dict[str, object]]:
    return [event for event in await cluster.all(EVENTS) if event["involvedObject"]["name"] == "p"]
