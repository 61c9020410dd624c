"""Tokens, scopes, and who is let in."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fairway.registry.tokens import BadTable, Scope, Table, issue, load, revoke
from fairway.toolkit.content_store import sha256

NOW = datetime(2026, 11, 20, tzinfo=UTC)
BLOB = b"content"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_the_table_keeps_no_secret_and_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "registry" / "tokens.json"
    table = Table(path)
    assert table.find("anything", NOW) is None
    secret = issue(path, "builder", (Scope("team/*", ("pull", "push")),))
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    found = table.find(secret, NOW)
    assert found is not None
    assert found.name == "builder"
    again = issue(path, "builder", (Scope("team/*", ("pull",)),), NOW + timedelta(days=1))
    assert table.find(secret, NOW) is None, "a new secret ends the old one"
    assert table.find(again, NOW) is not None
    assert table.find(again, NOW + timedelta(days=1)) is None, "it has ended"
    assert len(load(path)) == 1
    assert revoke(path, "builder")
    assert not revoke(path, "builder")
    assert table.find(again, NOW) is None


@pytest.mark.parametrize(("name", "actions"), [("", ("pull",)), ("a b", ("pull",)), ("ok", ("pull", "admin"))])
def test_bad_wishes(tmp_path: Path, name: str, actions: tuple[str, ...]) -> None:
    with pytest.raises(BadTable):
        issue(tmp_path / "tokens.json", name, (Scope("*", actions),))


@pytest.mark.parametrize(
    ("pattern", "repository", "fits"),
    [
        ("team/app", "team/app", True),
        ("team/app", "team/app/more", False),
        ("team/*", "team/app", True),
        ("team/*", "team/app/more", True),
        ("team/*", "team", False),
        ("team/*", "teams/app", False),
        ("*", "anything/at/all", True),
    ],
)
def test_patterns(pattern: str, repository: str, fits: bool) -> None:
    assert Scope(pattern, ("pull",)).allows(repository, "pull") == fits
    assert not Scope(pattern, ("pull",)).allows(repository, "push")


async def test_scopes(locked: Any) -> None:
    writer = locked.token("writer", "team/*", "pull", "push")
    reader = locked.token("reader", "team/app", "pull")
    digest = sha256(BLOB)
    get, upload = f"/v2/team/app/blobs/{digest}", f"/v2/team/app/blobs/uploads/?digest={digest}"
    other = f"/v2/other/blobs/uploads/?digest={digest}"
    for method, path, authorization, status in (
        ("GET", "/v2/", "", 401),
        ("GET", "/v2/", basic("x", "wrong"), 401),
        ("GET", "/v2/", basic("", ""), 401),
        ("GET", "/v2/", "Basic !!!", 401),
        ("GET", "/v2/", "Bearer wrong", 401),
        ("GET", "/v2/", basic("reader", reader), 200),
        ("GET", "/v2/", f"Bearer {reader}", 200),
        ("POST", upload, "", 401),
        ("POST", upload, f"Bearer {reader}", 403),
        ("POST", other, f"Bearer {writer}", 403),
        ("POST", upload, f"Bearer {writer}", 201),
        ("GET", get, "", 401),
        ("GET", get, basic("anyone", reader), 200),
        ("GET", get, f"Bearer {writer}", 200),
        ("DELETE", get, f"Bearer {writer}", 403),
        ("GET", get.replace("team/app", "team/other"), f"Bearer {reader}", 403),
    ):
        headers = {"authorization": authorization} if authorization else {}
        answer = await locked.ask(method, path, BLOB if method == "POST" else None, **headers)
        assert answer.status == status, (method, path, authorization, answer.body)
        if status == 401:
            assert answer.headers["www-authenticate"].startswith("Basic realm=")
            assert answer.code == "UNAUTHORIZED"
        if status == 403:
            assert answer.code == "DENIED"


async def test_a_mount_needs_the_right_to_read_the_source(locked: Any) -> None:
    everything = locked.token("root", "*", "pull", "push")
    mine = locked.token("mine", "mine/*", "pull", "push")
    await locked.blob("theirs/app", BLOB, authorization=f"Bearer {everything}")
    path = f"/v2/mine/app/blobs/uploads/?mount={sha256(BLOB)}&from=theirs/app"
    assert (await locked.ask("POST", path, b"", authorization=f"Bearer {mine}")).status == 202
    assert (await locked.ask("POST", path, b"", authorization=f"Bearer {everything}")).status == 201


async def test_everybody_may_pull_where_it_is_so_configured(tmp_path: Path, make: Any) -> None:
    bench = make.Bench(tmp_path, anonymous="pull")
    bench.start()
    try:
        secret = bench.token("writer", "*", "push")
        assert (await bench.blob("team/app", BLOB)).status == 401
        assert (await bench.blob("team/app", BLOB, authorization=f"Bearer {secret}")).status == 201
        assert (await bench.ask("GET", f"/v2/team/app/blobs/{sha256(BLOB)}")).body == BLOB
        empty = {"authorization": basic("", "")}
        assert (await bench.ask("GET", f"/v2/team/app/blobs/{sha256(BLOB)}", **empty)).status == 200
        assert (await bench.ask("GET", "/v2/")).status == 401, "clients learn here that they may log in"
    finally:
        await bench.stop()
