"""Lists, watches, tables: what clients read, and from which revision."""

import asyncio
import base64
import gzip
import json
from typing import Any

import pytest

from fairway.engine.apiserver.endpoints.watches import BUFFERS_BYTES_MAX

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
ALL = "/api/v1/configmaps"
PODS = "/api/v1/namespaces/default/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


async def make(api: Any, name: str, namespace: str = "default", value: str = "1", **labels: str) -> Any:
    obj = {"metadata": {"name": name, "labels": labels}, "data": {"value": value}}
    return await api.create(f"/api/v1/namespaces/{namespace}/configmaps", obj)


async def change(api: Any, name: str, patch: Any) -> Any:
    return await api.patch(f"{CONFIG_MAPS}/{name}", patch)


def version(obj: Any) -> str:
    return str(obj["metadata"]["resourceVersion"])


def names(listed: Any) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


# --- lists


async def test_lists_by_namespace_and_over_all(api: Any) -> None:
    for name, namespace in [("b", "default"), ("a", "kube-system"), ("a", "default")]:
        await make(api, name, namespace)
    listed = await api.get(CONFIG_MAPS)
    assert (listed["kind"], listed["apiVersion"], names(listed)) == ("ConfigMapList", "v1", ["a", "b"])
    assert names(await api.get(ALL)) == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("labelSelector=app%3Dweb", ["a", "b"]),
        ("labelSelector=app%3Dweb,tier!%3Dfront", ["b"]),
        ("labelSelector=app+in+(web,db)", ["a", "b", "c"]),
        ("labelSelector=!app", ["d"]),
        ("fieldSelector=metadata.name%3Db", ["b"]),
        ("fieldSelector=metadata.name!%3Db,metadata.namespace%3Ddefault", ["a", "c", "d"]),
        ("fieldSelector=metadata.name%3Db&labelSelector=app%3Ddb", []),
    ],
)
async def test_selectors(api: Any, query: str, expected: list[str]) -> None:
    await make(api, "a", app="web", tier="front")
    await make(api, "b", app="web")
    await make(api, "c", app="db")
    await make(api, "d")
    assert names(await api.get(f"{CONFIG_MAPS}?{query}")) == expected


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("fieldSelector=spec.foo%3Db", 400, "field label not supported: spec.foo"),
        ("fieldSelector=nonsense", 400, "can't understand 'nonsense'"),
        ("labelSelector=a%3D%3D%3Db", 400, "unable to parse requirement"),
        ("limit=x", 400, 'parsing "x": invalid syntax'),
        ("resourceVersion=x", 400, "resourceVersion: Invalid value"),
        ("limit=99999999999999999999", 400, "value out of range"),
        ("resourceVersion=-1", 400, "invalid syntax"),
        pytest.param(f"resourceVersion={2**64}", 400, "value out of range", id="revision-of-65-bits"),
        pytest.param(f"resourceVersion={'9' * 5000}", 400, "value out of range", id="revision-of-5000-digits"),
        ("continue=x", 400, "continue key is not valid"),
        ("resourceVersionMatch=Exact", 422, "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        ("resourceVersionMatch=Foo&resourceVersion=1", 422, 'Unsupported value: "Foo"'),
        ("watch=1&sendInitialEvents=true", 422, "sendInitialEvents requires setting resourceVersionMatch"),
    ],
)
async def test_what_lists_refuse(api: Any, query: str, code: int, message: str) -> None:
    answer = await api.call("GET", f"{CONFIG_MAPS}?{query}")
    assert answer.status == code
    assert message in answer.message


@pytest.mark.parametrize(
    "path",
    [
        "/apis/apps/v1/replicasets?fieldSelector=status.replicas=0",
        "/apis/events.k8s.io/v1/events?fieldSelector=regarding.kind=Pod,reportingController=x,reason=y,type=Normal",
        "/api/v1/events?fieldSelector=involvedObject.name=a,involvedObject.fieldPath=b,source=c",
        "/api/v1/services?fieldSelector=spec.clusterIP=None,spec.type=ClusterIP",
    ],
)
async def test_fields_that_clients_select_by(api: Any, path: str) -> None:
    assert (await api.get(path))["items"] is not None


async def test_pages_show_one_revision(api: Any) -> None:
    for name in "abcde":
        await make(api, name)
    first = await api.get(f"{CONFIG_MAPS}?limit=2")
    assert (names(first), first["metadata"]["remainingItemCount"]) == (["a", "b"], 3)
    await api.delete(f"{CONFIG_MAPS}/c")
    await make(api, "aa")
    await change(api, "d", {"data": {"value": "2"}})
    second = await api.get(f"{CONFIG_MAPS}?limit=2&continue={first['metadata']['continue']}")
    assert [(item["metadata"]["name"], item["data"]["value"]) for item in second["items"]] == [("c", "1"), ("d", "1")]
    assert version(second) == version(first)
    last = await api.get(f"{CONFIG_MAPS}?limit=2&continue={second['metadata']['continue']}")
    assert names(last) == ["e"]
    assert "continue" not in last["metadata"]
    exact = f"resourceVersion={version(first)}&resourceVersionMatch=Exact"
    assert names(await api.get(f"{CONFIG_MAPS}?{exact}")) == ["a", "b", "c", "d", "e"]


async def test_a_page_of_forgotten_history(api: Any) -> None:
    await make(api, "a")
    await make(api, "b")
    token = base64.urlsafe_b64encode(json.dumps({"v": "meta.k8s.io/v1", "rv": 1, "start": "default\1b"}).encode())
    history = api.server._store._history
    history.compacted = 2
    answer = await api.call("GET", f"{CONFIG_MAPS}?continue={token.decode()}")
    assert (answer.status, answer.json["reason"]) == (410, "Expired")
    assert "The provided continue parameter is too old" in answer.message
    rest = await api.get(f"{CONFIG_MAPS}?continue={answer.json['metadata']['continue']}")
    assert names(rest) == ["b"]


async def test_a_revision_from_the_future(api: Any) -> None:
    answer = await api.call("GET", f"{CONFIG_MAPS}?resourceVersion=999999")
    assert answer.status == 504
    assert answer.message.startswith("Timeout: Too large resource version: 999999, current: ")
    assert answer.json["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


@pytest.mark.parametrize("revision", ["x", "-1", "9" * 5000])
async def test_a_get_of_no_revision(api: Any, revision: str) -> None:
    await make(api, "a")
    answer = await api.call("GET", f"{CONFIG_MAPS}/a?resourceVersion={revision}")
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")
    assert "resourceVersion: Invalid value" in answer.message


async def test_reads_wait_for_a_revision_that_is_about_to_come(api: Any) -> None:
    soon = int(version(await make(api, "a"))) + 1
    waiting = asyncio.create_task(api.get(f"{CONFIG_MAPS}?resourceVersion={soon}"))
    one = asyncio.create_task(api.get(f"{CONFIG_MAPS}/b?resourceVersion={soon}"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await make(api, "b")
    assert names(await waiting) == ["a", "b"]
    assert (await one)["metadata"]["name"] == "b"


async def test_big_answers_are_gzipped(api: Any) -> None:
    for number in range(40):
        await make(api, f"a{number}", value="x" * 5000)
    plain = await api.call("GET", CONFIG_MAPS)
    small = await api.client.request("GET", CONFIG_MAPS, headers=[("Accept-Encoding", "gzip")])
    assert small.headers["content-encoding"] == "gzip"
    assert int(small.headers["content-length"]) < len(plain.body) / 10
    assert await small.read() == plain.body
    assert gzip.compress(plain.body, 1)[:4] == b"\x1f\x8b\x08\x00"


# --- forms


async def test_tables(api: Any) -> None:
    await make(api, "a")
    table = await api.get(CONFIG_MAPS, Accept=TABLE)
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    [row] = table["rows"]
    assert row["cells"] == ["a", 1, "0s"]
    assert (row["object"]["kind"], row["object"]["metadata"]["name"]) == ("PartialObjectMetadata", "a")
    whole = await api.get(f"{CONFIG_MAPS}/a?includeObject=Object", Accept=TABLE)
    assert whole["rows"][0]["object"]["data"] == {"value": "1"}
    none = await api.get(f"{CONFIG_MAPS}/a?includeObject=None", Accept=TABLE)
    assert none["rows"][0]["object"] is None


async def test_metadata_only(api: Any) -> None:
    made = await make(api, "a", app="web")
    one = await api.get(f"{CONFIG_MAPS}/a", Accept=METADATA)
    assert one == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": made["metadata"],
    }
    listed = await api.get(CONFIG_MAPS, Accept=METADATA_LIST)
    assert (listed["kind"], listed["items"]) == ("PartialObjectMetadataList", [one])


async def test_the_best_alternative_is_served(api: Any) -> None:
    await make(api, "a")
    for accept in ("application/vnd.kubernetes.protobuf,application/json", "*/*", "text/html;q=0.9,*/*;q=0.1"):
        assert (await api.get(f"{CONFIG_MAPS}/a", Accept=accept))["kind"] == "ConfigMap"


# --- watches


async def test_a_watch_from_now_on(api: Any) -> None:
    await make(api, "a")
    watching = await api.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion={version(await api.get(CONFIG_MAPS))}")
    await make(api, "b")
    await change(api, "b", {"data": {"value": "2"}})
    deleted = await api.delete(f"{CONFIG_MAPS}/b")
    await make(api, "c", "kube-system")
    await make(api, "d")
    assert await watching.names(4) == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b"), ("ADDED", "d")]
    assert deleted["status"] == "Success"


async def test_a_watch_resumes_where_it_was(api: Any) -> None:
    first = await make(api, "a")
    await make(api, "b")
    await api.delete(f"{CONFIG_MAPS}/a")
    watching = await api.watch(f"{CONFIG_MAPS}?watch=true&resourceVersion={version(first)}")
    events = [await watching.next() for _ in range(2)]
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in events] == [
        ("ADDED", "b"),
        ("DELETED", "a"),
    ]
    assert int(version(events[1]["object"])) > int(version(events[0]["object"]))


async def test_a_watch_without_a_revision_shows_what_is_there(api: Any) -> None:
    await make(api, "a")
    watching = await api.watch(f"{CONFIG_MAPS}?watch=1")
    await make(api, "b")
    assert await watching.names(2) == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_selector_turns_changes_into_coming_and_going(api: Any) -> None:
    await make(api, "a", app="web")
    watching = await api.watch(f"{CONFIG_MAPS}?watch=1&labelSelector=app%3Dweb")
    await make(api, "b", app="db")
    await change(api, "b", {"metadata": {"labels": {"app": "web"}}})
    await change(api, "b", {"data": {"value": "2"}})
    gone = await change(api, "b", {"metadata": {"labels": {"app": "db"}}})
    await api.delete(f"{CONFIG_MAPS}/b")
    await api.delete(f"{CONFIG_MAPS}/a")
    assert await watching.names(3) == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "b")]
    left = await watching.next()
    assert (left["type"], left["object"]["metadata"]["labels"]) == ("DELETED", {"app": "web"})
    assert version(left["object"]) == version(gone)
    assert await watching.names(1) == [("DELETED", "a")]


async def test_one_object_can_be_watched(api: Any) -> None:
    for path in (f"{CONFIG_MAPS}/b?watch=1", f"{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Db"):
        watching = await api.watch(path)
        await make(api, "a")
        await make(api, "b")
        assert await watching.names(1) == [("ADDED", "b")]
        await api.delete(CONFIG_MAPS)
    watching = await api.watch("/api/v1/watch/namespaces/default/configmaps")
    await make(api, "b")
    assert await watching.names(1) == [("ADDED", "b")]


async def test_a_watch_of_forgotten_history_says_so(api: Any) -> None:
    await make(api, "a")
    api.server._store._history.compacted = 5
    watching = await api.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion=1")
    [event] = await watching.rest()
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert event["object"]["message"] == "too old resource version: 1 (5)"


async def test_streaming_lists(api: Any) -> None:
    await make(api, "a")
    await make(api, "b")
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    watching = await api.watch(f"{CONFIG_MAPS}?{query}")
    assert await watching.names(2) == [("ADDED", "a"), ("ADDED", "b")]
    bookmark = await watching.next()
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["kind"] == "ConfigMap"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert version(bookmark["object"]) == version(await api.get(CONFIG_MAPS))
    await make(api, "c")
    assert await watching.names(1) == [("ADDED", "c")]


async def test_a_watch_ends_in_time_with_a_bookmark(api: Any) -> None:
    events, tries = [], 0
    while not events and tries < 5:  # on a busy machine the second may be over before the other object is there
        revision, tries = version(await api.get(CONFIG_MAPS)), tries + 1
        watching = await api.watch(
            f"{CONFIG_MAPS}?watch=1&resourceVersion={revision}&timeoutSeconds=1&allowWatchBookmarks=true"
        )
        other = await api.create("/api/v1/namespaces/default/secrets", {"metadata": {"name": f"s{tries}"}})
        events = await watching.rest()
    [event] = events
    assert (event["type"], version(event["object"])) == ("BOOKMARK", version(other))


async def test_a_watch_as_tables_defines_columns_once(api: Any) -> None:
    await make(api, "a")
    first = await api.watch(f"{CONFIG_MAPS}?watch=1", Accept=TABLE)
    second = await api.watch(f"{CONFIG_MAPS}?watch=1", Accept=TABLE)
    await make(api, "b")
    for watching in (first, second):
        tables = [(await watching.next())["object"] for _ in range(2)]
        assert [bool(table["columnDefinitions"]) for table in tables] == [True, False]
        assert [table["rows"][0]["cells"][0] for table in tables] == ["a", "b"]


async def test_a_watch_of_metadata(api: Any) -> None:
    await make(api, "a")
    watching = await api.watch(f"{CONFIG_MAPS}?watch=1", Accept=METADATA)
    shown = (await watching.next())["object"]
    assert (shown["kind"], sorted(shown)) == ("PartialObjectMetadata", ["apiVersion", "kind", "metadata"])


async def test_a_slow_watcher_is_dropped_and_others_go_on(api: Any) -> None:
    slow = await api.watch(f"{CONFIG_MAPS}?watch=1")
    slow._response._connection.writer.transport.pause_reading()
    quick = await api.watch(f"{CONFIG_MAPS}?watch=1")
    subscribers = api.server._store._subscribers["configmaps"]
    await make(api, "a")
    assert len(subscribers) == 2
    seen = 0
    while len(subscribers) == 2:
        await change(api, "a", {"data": {"value": str(seen) + "x" * 500_000}})
        seen += 1
        assert seen < 100
    events = [await quick.next() for _ in range(seen + 1)]
    assert [event["type"] for event in events] == ["ADDED"] + ["MODIFIED"] * seen


async def test_a_storm_of_watchers(api: Any) -> None:
    """A thousand watchers get every event in order; those that left are forgotten."""
    watchers = await asyncio.gather(*(api.watch(f"{CONFIG_MAPS}?watch=1") for _ in range(1000)))
    for name in "abc":
        await make(api, name)
    seen = await asyncio.gather(*(watching.names(3) for watching in watchers))
    assert all(events == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")] for events in seen)
    subscribers = api.server._store._subscribers["configmaps"]
    assert len(subscribers) == 1000
    await asyncio.gather(*(watching.close() for watching in watchers))
    while subscribers:
        await asyncio.sleep(0)
    assert api.server._http.connections <= 1


async def test_where_many_are_slow_each_waits_for_less(api: Any) -> None:
    """Three hundred watchers that do not read: together they hold what is allowed, and everything else goes on."""
    slow = await asyncio.gather(*(api.watch(f"{CONFIG_MAPS}?watch=1") for _ in range(300)))
    for watching in slow:
        watching._response._connection.writer.transport.pause_reading()
    subscribers, count = api.server._store._subscribers["configmaps"], 0
    await make(api, "a")
    while len(subscribers) == len(slow):
        await change(api, "a", {"data": {"value": str(count) + "x" * 200_000}})
        count += 1
        assert count * 200_000 < 4 * 1024 * 1024  # the first go sooner than one alone would
    in_sockets = 3  # of the events, and the last one
    for _ in range(10):
        assert len(subscribers) * (count - in_sockets) * 200_000 < 1.2 * BUFFERS_BYTES_MAX
        await change(api, "a", {"data": {"value": str(count) + "x" * 200_000}})
        count += 1
    await change(api, "a", {"data": {"value": "end"}})
    assert (await api.get(f"{CONFIG_MAPS}/a"))["data"]["value"] == "end"


async def test_a_dropped_watcher_comes_back(api: Any) -> None:
    """Whoever was too slow goes on from the last revision it read, and misses nothing."""
    await make(api, "a")
    slow = await api.watch(f"{CONFIG_MAPS}?watch=1")
    last = version((await slow.next())["object"])
    slow._response._connection.writer.transport.pause_reading()
    subscribers, count = api.server._store._subscribers["configmaps"], 0
    while subscribers:
        await change(api, "a", {"data": {"value": str(count) + "x" * 500_000}})
        count += 1
        assert count < 100
    again = await api.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion={last}")
    events = [(await again.next())["object"]["data"]["value"] for _ in range(count)]
    assert [value.rstrip("x") for value in events] == [str(number) for number in range(count)]


async def test_a_watch_over_everything_while_much_happens(api: Any) -> None:
    """Nothing is lost or doubled between the initial objects and the stream."""
    creating = asyncio.gather(*(make(api, f"a{number:03}") for number in range(100)))
    watching = await api.watch(f"{ALL}?watch=1")
    await creating
    events = await watching.names(100)
    assert sorted(name for _, name in events) == [f"a{number:03}" for number in range(100)]


async def test_selecting_by_order(api: Any) -> None:
    for name, weight in (("a", "1"), ("b", "5"), ("c", "heavy")):
        labels = {"weight": weight}
        await api.create("/api/v1/namespaces/default/configmaps", {"metadata": {"name": name, "labels": labels}})
    listed = await api.get("/api/v1/configmaps?labelSelector=weight%3E2")
    assert [item["metadata"]["name"] for item in listed["items"]] == ["b"]
    listed = await api.get("/api/v1/configmaps?labelSelector=weight%3C2")
    assert [item["metadata"]["name"] for item in listed["items"]] == ["a"]


async def test_events_and_autoscalers_in_two_shapes(api: Any) -> None:
    event = {
        "metadata": {"name": "e"},
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "note": "hello",
        "reason": "Said",
        "action": "Say",
        "type": "Normal",
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "example.com/c",
        "reportingInstance": "i",
    }
    made = await api.create("/apis/events.k8s.io/v1/namespaces/default/events", event)
    assert (made["apiVersion"], made["note"]) == ("events.k8s.io/v1", "hello")
    core = await api.get("/api/v1/namespaces/default/events/e")
    assert (core["apiVersion"], core["message"], core["involvedObject"]["name"]) == ("v1", "hello", "p")
    target = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}
    spec = {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 70}
    path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
    first = await api.create(path, {"metadata": {"name": "h"}, "spec": spec})
    assert first["spec"] == {**spec, "minReplicas": 1}
    second = await api.get(path.replace("/v1/", "/v2/") + "/h")
    assert second["spec"]["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}


async def test_a_put_may_create(api: Any) -> None:
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l"
    answer = await api.call("PUT", path, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}})
    assert (answer.status, answer.json["spec"]) == (201, {"holderIdentity": "me"})
    assert (await api.call("PUT", "/api/v1/namespaces/default/configmaps/c", {"metadata": {"name": "c"}})).status == 404


async def test_answers_in_yaml(api: Any) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1'}\n"
    path = "/api/v1/namespaces/default/configmaps"
    made = await api.call("POST", path, body, "application/yaml", Accept="application/yaml")
    assert (made.status, made.headers["content-type"]) == (201, "application/yaml")
    assert b"\ndata:\n  a: '1'\n" in b"\n" + made.body
    assert (await api.call("GET", f"{path}/c", Accept="application/yaml")).body.startswith(b"apiVersion: v1\n")
