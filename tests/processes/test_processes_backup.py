"""Backups of a state directory: taken under writes, put back, and what is refused."""

import asyncio
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fairway.engine.apiserver.store import Expired, Key, SqliteStore
from fairway.processes import backup, instance
from fairway.processes.main import main

SECRET = Key("secrets", "default", "s")


def thing(name: str, value: int) -> dict[str, Any]:
    return {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": name, "uid": f"uid-{name}"}, "value": value}


def opened(state_dir: Path) -> SqliteStore:
    store = SqliteStore(state_dir / "api")
    store.open()
    return store


async def put(store: SqliteStore, value: int) -> int:
    return (await store.put(SECRET, thing("s", value), store.latest(SECRET))).revision


@pytest.fixture
async def state_dir(tmp_path: Path) -> Path:
    """A cluster's state with one Secret, 7, and a certificate authority."""
    folder = tmp_path / "state"
    (folder / "pki").mkdir(parents=True)
    (folder / "pki" / "ca.key").write_text("key")
    store = opened(folder)
    await put(store, 7)
    store.close()
    return folder


async def test_what_was_there_comes_back(state_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "b.tar.gz"
    store = opened(state_dir)
    assert backup.back_up(state_dir, file) == 0  # while the store is open
    later = await put(store, 8)
    store.close()
    (state_dir / "pki" / "ca.key").write_text("another")
    assert backup.restore(state_dir, file) == 0
    assert (state_dir / "pki" / "ca.key").read_text() == "key"
    store = opened(state_dir)
    entry = store.get(SECRET)
    assert entry is not None
    assert entry.object()["value"] == 7
    assert store.revision > later
    with pytest.raises(Expired):
        store.since("secrets", later)
    store.close()
    assert [path.name for path in state_dir.glob("replaced-*/*")] != []
    assert file.stat().st_mode & 0o077 == 0


async def test_a_backup_restores_another_machine(state_dir: Path, tmp_path: Path) -> None:
    file, elsewhere = tmp_path / "b.tar.gz", tmp_path / "elsewhere"
    assert main(["backup", str(file), "--state-dir", str(state_dir)]) == 0
    assert main(["restore", str(file), "--state-dir", str(elsewhere)]) == 0
    store = opened(elsewhere)
    assert store.get(SECRET) is not None
    store.close()


async def test_a_backup_under_writes_is_consistent(state_dir: Path, tmp_path: Path) -> None:
    """Two objects always written together to the same value, in one batch."""
    store = opened(state_dir)
    pair = [Key("secrets", "default", name) for name in ("a", "b")]

    async def write() -> None:
        for value in range(100_000):
            await asyncio.gather(*(store.put(key, thing(key.name, value), store.latest(key)) for key in pair))

    writing = asyncio.create_task(write())
    await store.reached(store.revision + 10)
    await asyncio.to_thread(backup.write, state_dir, tmp_path / "b.tar.gz")
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    store.close()
    backup.put_back(state_dir, tmp_path / "b.tar.gz")
    store = opened(state_dir)
    values = [entry.object()["value"] for entry in store.select("secrets") if entry.key.name in "ab"]
    assert max(values) - min(values) <= 1
    store.close()


async def test_what_is_no_backup_changes_nothing(state_dir: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "text").write_text("hello")
    damaged, foreign = tmp_path / "damaged.tar", tmp_path / "foreign.tar"
    (tmp_path / "objects.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 9000)
    with tarfile.open(damaged, "w") as archive:
        archive.add(tmp_path / "objects.db", "api/objects.db")
    with tarfile.open(foreign, "w") as archive:
        archive.add(tmp_path / "text", "../text")
    for file in (tmp_path / "text", damaged, foreign, tmp_path / "absent"):
        assert backup.restore(state_dir, file) == 1
        assert "nothing has changed" in "".join(capsys.readouterr())
    assert sorted(path.name for path in state_dir.iterdir()) == ["api", "lock", "pki"]
    opened(state_dir).close()


def test_a_running_cluster_is_not_restored(state_dir: Path, tmp_path: Path) -> None:
    lock = instance.claim(state_dir)
    assert backup.back_up(state_dir, tmp_path / "b") == 0
    assert backup.restore(state_dir, tmp_path / "b") == 1
    os.close(lock)


def test_without_a_cluster_there_is_no_backup(tmp_path: Path) -> None:
    assert backup.back_up(tmp_path, tmp_path / "b") == 1
    assert list(tmp_path.iterdir()) == []
