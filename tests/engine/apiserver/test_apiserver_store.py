"""The store's contract, run against every backend; and what only the durable one must withstand."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fairway.engine.apiserver.store import (
    AlreadyOpen,
    Broken,
    CommitFailed,
    Conflict,
    Corrupt,
    Entry,
    Event,
    Expired,
    Key,
    MemoryStore,
    SqliteStore,
    Store,
    StoreError,
)
from fairway.engine.apiserver.store.backend import MemoryBackend
from fairway.engine.apiserver.store.history import KEPT_EVENTS, KEPT_SECONDS, History
from fairway.engine.apiserver.store.sqlite import SqliteBackend
from fairway.toolkit.clock import FakeClock

Open = Callable[[], Store]


def thing(name: str, value: int = 0, namespace: str = "ns", **labels: str) -> tuple[Key, dict[str, Any]]:
    meta = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "labels": labels}
    return Key("things", namespace, name), {"kind": "Thing", "apiVersion": "v1", "metadata": meta, "value": value}


async def put(store: Store, name: str, value: int = 0, namespace: str = "ns") -> Entry:
    key, obj = thing(name, value, namespace)
    return await store.put(key, obj, store.latest(key))


async def delete(store: Store, name: str) -> Entry:
    key = Key("things", "ns", name)
    previous = store.latest(key)
    assert previous is not None
    return await store.delete(key, previous.object(), previous)


def names(entries: Sequence[Entry]) -> list[str]:
    return [entry.key.name for entry in entries]


@pytest.fixture(params=["memory", "sqlite"])
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens a store; opening again closes the one before and keeps its contents."""
    backend, opened = MemoryBackend(), list[Store]()

    def make() -> Store:
        for store in opened:
            store.close()
        store = MemoryStore(backend) if request.param == "memory" else SqliteStore(tmp_path)
        store.open()
        opened[:] = [store]
        return store

    yield make
    for store in opened:
        store.close()


async def test_what_is_put_can_be_read(open_store: Open) -> None:
    store = open_store()
    entry = await put(store, "a", 1)
    assert store.get(entry.key) is entry
    assert entry.object()["value"] == 1
    assert entry.object()["metadata"]["resourceVersion"] == str(entry.revision) == str(store.revision)
    assert entry.uid == "uid-a"


async def test_revisions_grow_over_all_resources(open_store: Open) -> None:
    store = open_store()
    revisions = [(await put(store, name)).revision for name in ("a", "b", "a")]
    assert revisions == sorted(set(revisions))


async def test_a_write_is_visible_only_when_durable(open_store: Open) -> None:
    store = open_store()
    key, obj = thing("a")
    future = store.put(key, obj, None)
    assert store.get(key) is None
    assert store.latest(key) is not None
    await future
    assert store.get(key) is store.latest(key)


async def test_a_write_against_another_version_conflicts(open_store: Open) -> None:
    store = open_store()
    first = await put(store, "a")
    await put(store, "a", 2)
    key, obj = thing("a", 3)
    for previous in (first, None):
        with pytest.raises(Conflict):
            store.put(key, obj, previous)
    with pytest.raises(Conflict):
        store.delete(key, obj, first)


async def test_writes_build_on_writes_that_are_under_way(open_store: Open) -> None:
    store = open_store()
    key, obj = thing("a", 1)
    first = store.put(key, obj, None)
    with pytest.raises(Conflict):
        store.put(key, obj, None)
    second = store.put(key, thing("a", 2)[1], store.latest(key))
    latest = store.latest(key)
    assert latest is not None
    gone = store.delete(key, latest.object(), latest)
    again = store.put(key, thing("a", 3)[1], None)
    revisions = [entry.revision for entry in await asyncio.gather(first, second, gone, again)]
    assert revisions == sorted(revisions)
    assert (found := store.get(key)) is not None and found.object()["value"] == 3


async def test_lists_are_sorted_and_by_namespace(open_store: Open) -> None:
    store = open_store()
    for name, namespace in [("b", "ns"), ("a", "ns"), ("c", "a-ns"), ("d", "ns2")]:
        await put(store, name, namespace=namespace)
    assert names(store.select("things")) == ["c", "a", "b", "d"]
    assert names(store.select("things", "ns")) == ["a", "b"]
    assert store.select("others") == []


async def test_lists_of_the_past(open_store: Open) -> None:
    store = open_store()
    await put(store, "a", 1)
    then = (await put(store, "b", 1)).revision
    await put(store, "a", 2)
    await put(store, "c")
    await delete(store, "b")
    past = store.select_at("things", "ns", then)
    assert [(entry.key.name, entry.object()["value"]) for entry in past] == [("a", 1), ("b", 1)]


async def test_subscribers_see_every_change_in_order(open_store: Open) -> None:
    store, seen = open_store(), list[Event]()
    store.subscribe("things", seen.append)
    first = await put(store, "a", 1)
    await put(store, "a", 2)
    await delete(store, "a")
    assert [event.type for event in seen] == ["ADDED", "MODIFIED", "DELETED"]
    assert seen[1].previous is first
    last = seen[2].entry.object()
    assert (last["value"], last["metadata"]["resourceVersion"]) == (2, str(store.revision))
    store.unsubscribe("things", seen.append)
    await put(store, "b")
    assert len(seen) == 3


async def test_one_broken_subscriber_harms_nobody(open_store: Open) -> None:
    store, seen = open_store(), list[Event]()

    def broken(event: Event) -> None:
        raise ValueError("oops")

    store.subscribe("things", broken)
    store.subscribe("things", seen.append)
    await asyncio.wait_for(put(store, "a"), 60)
    assert len(seen) == 1


async def test_one_waiter_that_left_harms_nobody(open_store: Open) -> None:
    store = open_store()
    (key_a, a), (key_b, b) = thing("a"), thing("b")
    left, stays = store.put(key_a, a, None), store.put(key_b, b, None)
    left.cancel()
    await stays
    assert store.get(key_a) is not None


async def test_waiting_for_a_revision(open_store: Open) -> None:
    store = open_store()
    waiting = asyncio.create_task(store.reached(store.revision + 2))
    await put(store, "a")
    assert not waiting.done()
    await put(store, "b")
    await waiting


async def test_changes_since_a_revision(open_store: Open) -> None:
    store = open_store()
    first = await put(store, "a")
    await put(store, "b")
    await delete(store, "a")
    assert [(event.type, event.key.name) for event in store.since("things", first.revision)] == [
        ("ADDED", "b"),
        ("DELETED", "a"),
    ]
    assert store.since("things", store.revision + 100) == []


async def test_everything_survives_a_restart_with_its_history(open_store: Open) -> None:
    store = open_store()
    first = await put(store, "a", 1)
    await put(store, "a", 2)
    await put(store, "b", 1)
    await delete(store, "b")
    await put(store, "b", 2)
    before, revision = store.since("things", first.revision - 1), store.revision
    store = open_store()
    after = store.since("things", first.revision - 1)
    assert [(e.type, e.revision, e.entry.data, e.previous and e.previous.data) for e in after] == [
        (e.type, e.revision, e.entry.data, e.previous and e.previous.data) for e in before
    ]
    assert [entry.object()["value"] for entry in store.select("things")] == [2, 2]
    assert store.revision >= revision
    assert (await put(store, "c")).revision > revision


async def test_the_past_before_a_restart_is_the_same_after_new_writes(open_store: Open) -> None:
    """It is made into events when first asked for, and by then everything in it may have changed again."""
    store = open_store()
    await put(store, "kept", 1)
    first = await put(store, "changed", 1)
    await put(store, "changed", 2)
    await put(store, "deleted", 1)
    await put(store, "made-again", 1)
    await delete(store, "made-again")
    before = [(e.type, e.revision, e.entry.data) for e in store.since("things", first.revision)]
    listed, then = store.select("things"), store.revision
    store = open_store()
    await put(store, "changed", 3)
    await delete(store, "deleted")
    await put(store, "made-again", 2)
    await put(store, "new", 1)
    after = [(e.type, e.revision, e.entry.data) for e in store.since("things", first.revision)]
    assert after[: len(before)] == before
    assert [change for change, _, _ in after[len(before) :]] == ["MODIFIED", "DELETED", "ADDED", "ADDED"]
    assert [entry.data for entry in store.select_at("things", None, then)] == [entry.data for entry in listed]


async def test_loaded_objects_are_themselves_every_time(open_store: Open) -> None:
    """Writes are compared with what was read: the same version must be the same entry."""
    store = open_store()
    for name in ("b", "a", "ä", "a.b", "Z"):
        await put(store, name)
        await put(store, name, namespace="other")
    store = open_store()
    one = store.get(Key("things", "ns", "a"))
    assert one is not None
    assert one is store.get(Key("things", "ns", "a"))
    assert one in store.select("things")
    assert names(store.select("things", "ns")) == ["Z", "a", "a.b", "b", "ä"]
    every = store.select("things")
    assert [entry.key for entry in every] == sorted(entry.key for entry in every)
    assert all(entry is store.get(entry.key) for entry in every)
    await store.put(one.key, one.object(), one)
    await delete(store, "b")
    assert names(store.select("things", "ns")) == ["Z", "a", "a.b", "ä"]


def test_history_keeps_what_it_promises() -> None:
    history = History(0)
    for revision in range(1, KEPT_EVENTS + 101):
        history.append(Event("ADDED", Entry(Key("things", "", "a"), revision, b"{}"), None), 0.0)
    assert not history.trim(KEPT_SECONDS)
    assert history.trim(KEPT_SECONDS + 1)
    assert len(history) == KEPT_EVENTS
    assert history.compacted == 100
    assert next(history.since(100)).revision == 101
    with pytest.raises(Expired, match=r"too old resource version: 99 \(100\)"):
        history.since(99)


async def test_compaction_forgets_on_disk_too(tmp_path: Path) -> None:
    clock = FakeClock()
    store = SqliteStore(tmp_path, clock)
    store.open()
    await asyncio.gather(*(put(store, f"a{number % 100}") for number in range(KEPT_EVENTS + 1200)))
    await clock.advance(KEPT_SECONDS + 1)
    store.compact()
    store.close()
    store = SqliteStore(tmp_path)
    store.open()
    last = store.revision - 1000
    with pytest.raises(Expired):
        store.since("things", last - KEPT_EVENTS - 1)
    assert len(store.since("things", last - KEPT_EVENTS)) == KEPT_EVENTS
    assert len(store.select("things")) == 100
    store.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator["FaultyDisk"]:
    backend = FaultyDisk(tmp_path)
    yield backend
    backend.close()


class FaultyDisk(SqliteBackend):
    """A real database that can run out of space."""

    def limit(self, *, full: bool) -> None:
        database = self._connected()
        pages = database.execute("PRAGMA page_count").fetchone()[0] if full else 1_000_000
        database.execute(f"PRAGMA max_page_count = {pages}")


async def test_a_full_disk_refuses_writes_and_goes_on_reading(disk: FaultyDisk) -> None:
    store = Store(disk)
    store.open()
    await put(store, "a", 1)
    disk.limit(full=True)
    key, obj = thing("big")
    obj["value"] = "x" * 1_000_000
    big = store.put(key, obj, None)
    on_top = store.put(key, thing("big")[1], store.latest(key))
    for future in (big, on_top):
        with pytest.raises(CommitFailed, match="no space left"):
            await future
    assert store.latest(key) is None
    assert names(store.select("things")) == ["a"]
    disk.limit(full=False)
    assert (await put(store, "big")).revision > store.revision - 1
    assert not store.broken.done()
    store.close()


class SlowDisk(MemoryBackend):
    """Does not finish a commit before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def commit(self, batch: Sequence[Event]) -> None:
        assert self.go_on.wait(120)
        super().commit(batch)


async def test_a_slow_disk_keeps_only_writers_waiting() -> None:
    disk = SlowDisk()
    store = MemoryStore(disk)
    store.open()
    seen: list[Event] = []
    store.subscribe("things", seen.append)
    writes = [asyncio.ensure_future(put(store, f"t{number}")) for number in range(1000)]
    await asyncio.sleep(0)
    assert len(store.select("things")) == len(seen) == 0
    assert store.latest(Key("things", "ns", "t999")) is not None
    disk.go_on.set()
    entries = await asyncio.gather(*writes)
    assert [event.revision for event in seen] == [entry.revision for entry in entries]
    store.close()


async def test_a_broken_disk_ends_writing(tmp_path: Path) -> None:
    class Broke(MemoryBackend):
        def commit(self, batch: Sequence[Event]) -> None:
            raise OSError("input/output error")

    store = MemoryStore(Broke())
    store.open()
    with pytest.raises(Broken):
        await put(store, "a")
    assert store.broken.done()
    with pytest.raises(Broken):
        store.put(*thing("b"), None)
    store.close()


async def test_a_database_is_opened_once(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.open()
    with pytest.raises(AlreadyOpen):
        SqliteStore(tmp_path).open()
    store.close()


async def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "objects.db").write_bytes(b"this is not a database" * 1000)
    backend = SqliteBackend(tmp_path)
    with pytest.raises(Corrupt, match=r"objects\.db is damaged"):
        Store(backend).open()
    backend.close()


async def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "objects.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    backend = SqliteBackend(tmp_path)
    with pytest.raises(StoreError, match="newer version"):
        Store(backend).open()
    backend.close()


async def test_a_backup_can_be_opened(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "one")
    store.open()
    await put(store, "a", 7)
    (tmp_path / "two").mkdir()
    await store.backup(tmp_path / "two" / "objects.db")
    store.close()
    copy = SqliteStore(tmp_path / "two")
    copy.open()
    assert [entry.object()["value"] for entry in copy.select("things")] == [7]
    copy.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from fairway.engine.apiserver.store import Key, SqliteStore

async def write(store, slot, count):
    for number in range(count):
        key = Key("things", "ns", f"t{slot}")
        obj = {"kind": "Thing", "apiVersion": "v1", "metadata": {"name": key.name, "uid": "u"}, "value": number}
        entry = await store.put(key, obj, store.latest(key))
        print(slot, number, entry.revision, flush=True)

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    store.open()
    await asyncio.gather(*(write(store, slot, 100_000) for slot in range(4)))

asyncio.run(main())
"""


async def test_no_acknowledged_write_is_lost_by_kill_9(tmp_path: Path) -> None:
    """Kills a writer at many points; each time the last acknowledged values must be there, under growing revisions."""
    newest = 0
    for lines in (1, 5, 20, 60, 150, 301):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(lines)]
        os.kill(process.pid, signal.SIGKILL)
        seen += process.stdout.readlines()
        process.stdout.close()
        process.wait()
        acknowledged = [tuple(map(int, line.split())) for line in seen if line.endswith("\n")]
        assert acknowledged[0][2] > newest
        newest = max(revision for _, _, revision in acknowledged)
        check_survivors(tmp_path, acknowledged)


def check_survivors(folder: Path, acknowledged: Sequence[tuple[int, ...]]) -> None:
    backend = SqliteBackend(folder)
    stored = {row[1]: row for rows in backend.load().objects.values() for row in rows}
    backend.close()
    for slot, number, revision in acknowledged:
        _, _, found, data = stored[f"t{slot}"]
        assert found >= revision
        assert found > revision or json.loads(data)["value"] == number
