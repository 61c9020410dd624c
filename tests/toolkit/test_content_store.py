"""The content store: whole blobs or none, names that every process sees."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fairway.toolkit.content_store import (
    BadDigest,
    BlobNotFound,
    ContentStore,
    DigestMismatch,
    Name,
    Names,
    sha256,
)


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def test_a_blob_is_found_by_its_digest(store: ContentStore) -> None:
    digest = store.put(b"hello")
    assert digest == sha256(b"hello")
    assert (store.read(digest), store.size_bytes(digest), store.has(digest)) == (b"hello", 5, True)
    assert [*store.digests()] == [digest]


def test_wrong_bytes_leave_nothing(store: ContentStore) -> None:
    with pytest.raises(DigestMismatch):
        store.put(b"hello", expected=sha256(b"other"))
    assert [*store.digests()] == []
    assert os.listdir(store.root / "ingest") == []


def test_an_unfinished_blob_is_not_visible(store: ContentStore) -> None:
    with store.writer() as writer:
        writer.write(b"half")
        assert not store.has(sha256(b"half"))
    assert os.listdir(store.root / "ingest") == []


def test_restart_forgets(store: ContentStore) -> None:
    with store.writer() as writer:
        writer.write(b"wrong and long")
        writer.restart()
        writer.write(b"right")
        assert store.read(writer.commit(sha256(b"right"))) == b"right"


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../etc/passwd", "md5:" + "0" * 32, "sha256:" + "A" * 64])
def test_a_digest_cannot_be_a_path(store: ContentStore, digest: str) -> None:
    with pytest.raises(BadDigest):
        store.has(digest)


def test_missing_blob(store: ContentStore) -> None:
    for look in (store.read, store.size_bytes, store.verify):
        with pytest.raises(BlobNotFound):
            look(sha256(b"nothing"))
    assert store.remove(sha256(b"nothing")) == 0


def test_verify_notices_rot(store: ContentStore) -> None:
    digest = store.put(b"hello")
    assert store.verify(digest)
    store.path(digest).write_bytes(b"jello")
    assert not store.verify(digest)


def test_many_writers_of_the_same_blob(store: ContentStore) -> None:
    failures: list[Exception] = []

    def write() -> None:
        try:
            for number in range(50):
                store.put(b"%d" % (number % 7) * 1000)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len([*store.digests()]) == 7
    assert all(store.verify(digest) for digest in store.digests())


def test_sweep_takes_only_what_nobody_writes(store: ContentStore) -> None:
    script = (
        "import os, sys, pathlib; from fairway.toolkit.content_store import ContentStore\n"
        "writer = ContentStore(pathlib.Path(sys.argv[1])).writer(); writer.write(b'x' * 100000); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, str(store.root)], check=False)
    with store.writer() as living:
        living.write(b"alive")
        assert store.sweep() == 1
        assert store.read(living.commit()) == b"alive"


def test_names_move_and_go(tmp_path: Path) -> None:
    names, other = Names(tmp_path), Names(tmp_path)
    names.set(Name("b", sha256(b"1")))
    names.set(Name("a/../x:1", sha256(b"2"), {"origin": "here"}))
    names.set(Name("b", sha256(b"3")))
    assert other.get("b") == Name("b", sha256(b"3"))
    assert [name.name for name in other.all()] == ["a/../x:1", "b"]
    assert (other.delete("b"), other.delete("b"), names.get("b")) == (True, False, None)


def test_sync_and_locks(store: ContentStore) -> None:
    store.sync()
    with store.lock(exclusive=False), store.lock(exclusive=False):
        pass
    with store.lock(exclusive=True):
        pass
