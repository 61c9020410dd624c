"""Secrets on disk: encrypted, bound to their place, written anew when the key changes."""

import base64
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fairway.engine.apiserver.store import Corrupt, Key, SqliteStore, StoreError
from fairway.engine.apiserver.store.encryption import KeyFileVault
from fairway.engine.apiserver.store.sqlite import SqliteBackend

SECRET, OTHER = Key("secrets", "ns", "s"), Key("secrets", "ns", "other")
WORD = "hunter2-hunter2-hunter2"


def secret(key: Key, word: str = WORD) -> dict[str, Any]:
    metadata = {"name": key.name, "namespace": key.namespace, "uid": f"uid-{key.name}"}
    return {"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "data": {"word": word}}


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(folder)
    store.open()
    try:
        yield store
    finally:
        store.close()


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.name.startswith("objects.db"))


def new_key(name: str) -> str:
    return f"{name} {base64.b64encode(os.urandom(32)).decode()}\n"


async def test_secrets_are_not_on_the_disk_but_come_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        entry = await store.put(SECRET, secret(SECRET), None)
        entry = await store.put(SECRET, secret(SECRET, WORD + "!"), entry)
        await store.put(Key("things", "ns", "t"), secret(Key("things", "ns", "t"), "plain-thing"), None)
        await store.put(OTHER, secret(OTHER), None)
        gone = store.latest(OTHER)
        assert gone is not None
        await store.delete(OTHER, gone.object(), gone)
    assert WORD.encode() not in on_disk(tmp_path)
    assert b"plain-thing" in on_disk(tmp_path)
    assert (tmp_path / "encryption.keys").stat().st_mode & 0o777 == 0o600
    async with opened(tmp_path) as store:
        found = store.get(SECRET)
        assert found is not None and found.object()["data"]["word"] == WORD + "!"
        past = [event.previous.object()["data"]["word"] for event in store.since("secrets", 0) if event.previous]
        assert past == [WORD, WORD]


async def test_a_new_key_on_top_rewrites_everything(tmp_path: Path) -> None:
    keys = tmp_path / "encryption.keys"
    async with opened(tmp_path) as store:
        entry = await store.put(SECRET, secret(SECRET), None)
        await store.put(SECRET, secret(SECRET, "second"), entry)
    first = keys.read_text()
    keys.write_text("# newest first\n" + new_key("next") + first)
    async with opened(tmp_path) as store:
        assert store.get(SECRET) is not None
    keys.write_text(keys.read_text().replace(first, ""))
    async with opened(tmp_path) as store:
        found = store.get(SECRET)
        assert found is not None and found.object()["data"]["word"] == "second"
    assert first.split()[0].encode() not in on_disk(tmp_path)


async def test_what_was_in_the_clear_is_overwritten(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path)
    store = SqliteStore(tmp_path)
    store._backend = backend  # as an older version wrote it
    store.open()
    await store.put(SECRET, secret(SECRET), None)
    store.close()
    assert WORD.encode() in on_disk(tmp_path)
    async with opened(tmp_path) as store:
        found = store.get(SECRET)
        assert found is not None and found.object()["data"]["word"] == WORD
        assert WORD.encode() not in on_disk(tmp_path)


async def test_without_the_key_nothing_starts(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.put(SECRET, secret(SECRET), None)
    (tmp_path / "encryption.keys").write_text(new_key("stranger"))
    with pytest.raises(StoreError, match=r"which .* does not hold"):
        async with opened(tmp_path):
            pass


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no key"),
        ("k notbase64!\n", "not Base64"),
        ("k c2hvcnQ=\n", "32 bytes, it has 5"),
        ("just-a-name\n", "line 1"),
        (new_key("twice") * 2, "line 2"),
        (new_key("a:b"), "line 1"),
    ],
    ids=["empty", "not-base64", "short", "no-key", "twice", "name"],  # keys are random, names of tests are not
)
def test_files_that_are_no_key_files(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "keys"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(StoreError, match=says):
        KeyFileVault(path).open()


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(new_key("k"))
    path.chmod(0o644)
    with pytest.raises(StoreError, match="chmod 600"):
        KeyFileVault(path).open()


def test_a_secret_cannot_take_another_s_place(tmp_path: Path) -> None:
    vault = KeyFileVault(tmp_path / "keys")
    vault.open()
    sealed = vault.seal(SECRET, b"{}")
    assert vault.unseal(SECRET, sealed) == b"{}"
    assert vault.seal(SECRET, b"{}") != sealed
    for key, data in ((OTHER, sealed), (SECRET, sealed[:-1] + bytes([sealed[-1] ^ 1])), (SECRET, sealed[:-20])):
        with pytest.raises(Corrupt):
            vault.unseal(key, data)


async def test_a_backup_needs_the_keys(tmp_path: Path) -> None:
    async with opened(tmp_path / "a") as store:
        await store.put(SECRET, secret(SECRET), None)
        (tmp_path / "b").mkdir()
        await store.backup(tmp_path / "b" / "objects.db")
    assert WORD.encode() not in on_disk(tmp_path / "b")
    shutil.copy(tmp_path / "a" / "encryption.keys", tmp_path / "b")
    async with opened(tmp_path / "b") as store:
        assert store.get(SECRET) is not None
