"""The loops: cache, workqueue, keyed and whole."""

import asyncio
from contextlib import suppress

import pytest

from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.services import Service
from fairway.kube.reconcile.cache import Cache
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.whole import Dirty, run_whole
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit.clock import FakeClock

WEB = ObjectKey("shop", "web")


def service(name: str = "web", **spec: object) -> dict[str, object]:
    return {"metadata": {"namespace": "shop", "name": name}, "spec": spec}


class TestCache:
    def test_subscribers_hear_changes_and_only_changes(self) -> None:
        heard = []
        cache = Cache(Service)
        cache.subscribe(lambda key, old, new: heard.append((key, old is None, new is None)))
        cache.apply(service())
        cache.apply(service(unknownField=1))
        cache.apply(service(type="NodePort"))
        cache.remove(WEB)
        cache.remove(WEB)
        assert heard == [(WEB, True, False), (WEB, False, False), (WEB, False, True)]

    def test_replace_removes_what_is_not_listed(self) -> None:
        cache = Cache(Service)
        cache.apply(service("old"))
        cache.replace([service("web")])
        assert cache.keys() == (WEB,)
        assert cache.synced.is_set()

    def test_indexes_follow_changes(self) -> None:
        cache = Cache(Service, {"type": lambda found: [found.spec.type]})
        cache.apply(service())
        assert [found.metadata.name for found in cache.by_index("type", "ClusterIP")] == ["web"]
        cache.apply(service(type="NodePort"))
        assert cache.by_index("type", "ClusterIP") == ()
        assert len(cache.by_index("type", "NodePort")) == 1
        cache.remove(WEB)
        assert cache.by_index("type", "NodePort") == ()

    def test_an_index_that_was_not_declared_is_an_error(self) -> None:
        with pytest.raises(KeyError):
            Cache(Service).by_index("color", "red")


class TestWorkQueue:
    async def test_a_key_waits_once(self) -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        queue.add("a")
        assert (len(queue), await queue.get(), len(queue)) == (1, "a", 0)

    async def test_a_key_is_not_worked_on_twice_at_once(self) -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        await queue.get()
        queue.add("a")
        assert len(queue) == 0
        queue.done("a")
        assert await queue.get() == "a"

    async def test_failures_wait_longer_each_time_until_forgotten(self) -> None:
        queue: WorkQueue[str] = WorkQueue()
        delays = [queue.add_rate_limited("a") for _ in range(3)]
        queue.forget("a")
        assert [*delays, queue.add_rate_limited("a")] == [0.005, 0.01, 0.02, 0.005]

    async def test_the_earlier_of_two_times_stands(self) -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add_after("a", 0.001)
        queue.add_after("a", 60)
        async with asyncio.timeout(60):
            assert await queue.get() == "a"


async def test_keyed_retries_what_raised_and_revisits_when_asked() -> None:
    queue: WorkQueue[str] = WorkQueue()
    seen: list[str] = []
    done = asyncio.Event()

    async def reconcile(key: str) -> float | None:
        seen.append(key)
        if len(seen) == 1:
            raise RuntimeError("first time")
        if len(seen) == 2:
            return 0.001
        done.set()
        return None

    queue.add("a")
    task = asyncio.create_task(run_keyed("test", queue, reconcile, workers=2))
    async with asyncio.timeout(60):
        await done.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert seen == ["a", "a", "a"]


async def test_whole_runs_at_the_start_after_failures_and_once_for_a_burst_of_marks() -> None:
    clock, dirty = FakeClock(), Dirty()
    passes: list[int] = []

    async def once() -> float | None:
        passes.append(len(passes))
        if len(passes) == 1:
            raise RuntimeError("not yet")
        return None

    task = asyncio.create_task(run_whole("test", dirty, once, clock=clock))
    await clock.advance(1)
    assert passes == [0, 1]
    for _ in range(5):
        dirty.mark("any", "arguments")
    await clock.advance(0)
    assert passes == [0, 1, 2]
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_a_subscriber_that_left_hears_nothing_more() -> None:
    cache: Cache[Service] = Cache(Service)
    heard: list[str] = []

    def hear(key: ObjectKey, old: Service | None, new: Service | None) -> None:
        heard.append(key.name)

    first, _second = cache.subscribe(hear), cache.subscribe(hear)
    cache.apply({"metadata": {"name": "a"}})
    first()
    first()
    cache.apply({"metadata": {"name": "b"}})
    assert heard == ["a", "a", "b"]


def test_what_is_borrowed_is_the_same_until_given_back() -> None:
    cache: Cache[Service] = Cache(Service)
    heard: list[str] = []
    with cache.borrow() as lent:
        lent.subscribe(lambda key, old, new: heard.append(key.name))
        cache.apply({"metadata": {"name": "a"}})
        assert lent.get(ObjectKey("", "a")) is cache.get(ObjectKey("", "a"))
        assert lent.synced is cache.synced
    cache.apply({"metadata": {"name": "b"}})
    assert heard == ["a"]
