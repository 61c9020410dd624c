"""What goes and what stays."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from fairway.registry.documents import Record
from fairway.registry.errors import RegistryProblem
from fairway.registry.plan import Contents, plan
from fairway.registry.uploads import Uploads
from fairway.toolkit.clock import FakeClock
from fairway.toolkit.content_store import ContentStore, sha256

OLD, YOUNG = 1000.0, 1.0


def contents(*manifests: tuple[Record, float], blobs: dict[str, float], **tags: str) -> Contents:
    return Contents({record.digest: (record, age) for record, age in manifests}, blobs, tags)


def record(digest: str, *blobs: str, **more: Any) -> Record:
    return Record(digest, "m", 1, blobs, **more)


@pytest.mark.parametrize(
    ("given", "retained", "untagged", "gone"),
    [
        (contents((record("m1", "b1"), OLD), blobs={"b1": OLD, "b2": OLD}), (), None, {"b2"}),
        (contents((record("m1", "b1"), OLD), blobs={"b1": OLD, "b2": YOUNG}), (), None, set()),
        (contents((record("m1", "b1"), OLD), blobs={"b1": OLD}), (), 100, {"m1", "b1"}),
        (contents((record("m1", "b1"), YOUNG), blobs={"b1": OLD}), (), 100, set()),
        (contents((record("m1", "b1"), OLD), blobs={"b1": OLD}, v1="m1"), (), 100, set()),
        (contents((record("m1", "b1"), OLD), blobs={"b1": OLD}), ("m1",), 100, set()),
        (contents((record("m1", "b1"), OLD), blobs={"b1": OLD}), ("b1",), 100, {"m1"}),
        (
            contents(
                (record("i", manifests=("m1", "elsewhere")), OLD), (record("m1", "b1"), OLD), blobs={"b1": OLD}, v1="i"
            ),
            (),
            100,
            set(),
        ),
        (
            contents(
                (record("m1", "b1"), OLD),
                (record("s", "b2", subject="m1"), OLD),
                (record("t", "b3", subject="s"), OLD),
                (record("u", "b4", subject="gone"), OLD),
                blobs={"b1": OLD, "b2": OLD, "b3": OLD, "b4": OLD},
                v1="m1",
            ),
            (),
            100,
            {"u", "b4"},
        ),
        (
            contents(
                (record("a", "b1", subject="b"), OLD),
                (record("b", "b2", subject="a"), OLD),
                blobs={"b1": OLD, "b2": OLD},
            ),
            (),
            100,
            {"a", "b", "b1", "b2"},
        ),
        (
            contents((record("m1", "b1", "b2"), OLD), (record("m2", "b2"), OLD), blobs={"b1": OLD, "b2": OLD}, v1="m2"),
            (),
            100,
            {"m1", "b1"},
        ),
    ],
)
def test_plan(given: Contents, retained: tuple[str, ...], untagged: float | None, gone: set[str]) -> None:
    garbage = plan(given, frozenset(retained), untagged_seconds=untagged, garbage_seconds=100)
    assert {record.digest for record in garbage.manifests} | set(garbage.blobs) == gone


async def test_collecting_spares_tags_releases_and_fresh_blobs(tmp_path: Path, make: Any) -> None:
    bench = make.Bench(tmp_path, untagged_seconds=0.0)
    bench.start()
    try:
        digests = [await bench.push("team/app", "latest", make.Image(text)) for text in ("one", "two", "three")]
        await bench.blob("team/app", b"no manifest yet")
        freed_bytes = await bench.service().collect(retained=[digests[1]])
        assert freed_bytes > 0
        found = [(await bench.ask("GET", f"/v2/team/app/manifests/{digest}")).status for digest in digests]
        assert found == [404, 200, 200]
        for image, status in ((make.Image("one"), 404), (make.Image("two"), 200), (make.Image("three"), 200)):
            assert (await bench.ask("GET", f"/v2/team/app/blobs/{sha256(image.layer)}")).status in (status, 200)
        assert (await bench.ask("GET", f"/v2/team/app/blobs/{sha256(b'no manifest yet')}")).status == 200
        assert await bench.service().collect(retained=[digests[1]]) == 0
    finally:
        await bench.stop()


async def test_the_nodes_own_collection_spares_what_is_pushed(bench: Any, make: Any) -> None:
    """`fairway image rm` and the kubelet free content of the same store."""
    digest = await bench.push("team/app", "v1", make.Image("one"))
    await bench.ask("DELETE", "/v2/team/app/manifests/v1")
    await bench.blob("team/app", b"alone")
    bench.store.collect()
    assert (await bench.ask("GET", f"/v2/team/app/manifests/{digest}")).status == 200
    for data in (make.Image("one").layer, make.Image("one").config, b"alone"):
        assert (await bench.ask("GET", f"/v2/team/app/blobs/{sha256(data)}")).status == 200


async def test_old_blobs_without_a_manifest_go_and_asking_for_one_keeps_it(bench: Any) -> None:
    for data in (b"asked for", b"forgotten"):
        await bench.blob("team/app", data)
        link = bench.folder / "images/links/registry/team/app/_blobs" / sha256(data).removeprefix("sha256:")
        os.utime(link, (1, 1))
    await bench.ask("HEAD", f"/v2/team/app/blobs/{sha256(b'asked for')}")
    await bench.service().collect()
    assert (await bench.ask("GET", f"/v2/team/app/blobs/{sha256(b'asked for')}")).status == 200
    assert (await bench.ask("GET", f"/v2/team/app/blobs/{sha256(b'forgotten')}")).status == 404


async def test_pushes_and_collections_at_once(tmp_path: Path, make: Any) -> None:
    bench = make.Bench(tmp_path, untagged_seconds=0.0)
    bench.start()
    service = bench.service()
    try:

        async def push(number: int) -> None:
            for text in range(4):
                await bench.push(f"team/app{number}", f"v{text}", make.Image(f"{number}-{text}"))

        async def collect() -> None:
            for _ in range(8):
                await service.collect()

        await asyncio.gather(*(push(number) for number in range(4)), collect())
        await service.collect()
        for number in range(4):
            for text in range(4):
                image = make.Image(f"{number}-{text}")
                assert (await bench.ask("GET", f"/v2/team/app{number}/manifests/v{text}")).body == image.manifest
                found = await bench.ask("GET", f"/v2/team/app{number}/blobs/{sha256(image.layer)}")
                assert found.body == image.layer
    finally:
        await bench.stop()


async def test_uploads_that_nobody_goes_on_with_end(tmp_path: Path) -> None:
    clock = FakeClock()
    uploads = Uploads(ContentStore(tmp_path), clock, most=2)
    first, second = uploads.begin("a"), uploads.begin("a")
    with pytest.raises(RegistryProblem) as refused:
        uploads.begin("a")
    assert refused.value.status == 429
    await clock.advance(50)
    uploads.get("a", second.id)
    await clock.advance(50)
    assert uploads.expire(100) == 1
    with pytest.raises(RegistryProblem):
        uploads.get("a", first.id)
    async with second.lock:
        await clock.advance(100)
        assert uploads.expire(100) == 0, "somebody is writing"
    assert uploads.expire(100) == 1
    assert not [*(tmp_path / "ingest").iterdir()]


async def test_a_blob_that_is_too_large(tmp_path: Path, make: Any) -> None:
    bench = make.Bench(tmp_path, blob_bytes_max=1000)
    bench.start()
    try:
        assert (await bench.blob("team/app", b"x" * 1000)).status == 201
        answer = await bench.blob("team/app", b"x" * 1001)
        assert (answer.status, answer.code) == (413, "SIZE_INVALID")
        assert not [*(tmp_path / "images" / "ingest").iterdir()]
    finally:
        await bench.stop()
