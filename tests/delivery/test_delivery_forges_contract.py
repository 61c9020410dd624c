"""One contract for every forge, over real HTTP and git: from the webhook to the statuses beside a commit."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import controllers_world
import pytest
from delivery_world import delivery_world
from fake_forges import KINDS, TOKEN, FakeForge, post

from fairway.delivery import room
from fairway.delivery.config import Config
from fairway.delivery.forges.keeper import FINALIZER
from fairway.delivery.kinds.resources import APPS, PIPELINE_RUNS
from fairway.kube.api.resource import SECRETS
from fairway.kube.client.errors import Invalid, NotFound
from fairway.toolkit import signing
from fairway.toolkit.clock import Clock, SystemClock
from fairway.toolkit.http_messages import Response

Raw = dict[str, Any]


class Later(SystemClock):
    """Two minutes ahead: what has a minute is overdue."""

    def now(self) -> datetime:
        return super().now() + timedelta(minutes=2)


class World:
    """A cluster, a forge of one kind, and the room."""

    def __init__(self, cluster: controllers_world.Cluster, forge: FakeForge, folder: Path) -> None:
        self.cluster, self.client, self.forge = cluster, cluster.client, forge
        self.folder = folder

    @asynccontextmanager
    async def room(self, clock: Clock | None = None) -> AsyncIterator[None]:
        """The room, until the end of the block; then it is as if it had been killed."""
        with socket.create_server(("127.0.0.1", 0)) as sock:
            url = f"http://127.0.0.1:{sock.getsockname()[1]}"
            here = frozenset({"127.0.0.1"})
            config = Config(
                self.folder / "state", public_url=url, allowed_hosts=here, images_dir=self.folder / "images"
            )
            task = asyncio.create_task(room.run(self.client, config, clock or SystemClock(), sock))
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def make_app(self, *, token: str = TOKEN, **source: Any) -> None:
        await self.secret("forge", token=token)
        given = {
            "repository": self.forge.url,
            "provider": self.forge.kind,
            "apiUrl": self.forge.api_url,
            "credentialsSecret": "forge",
            "pollSeconds": 86400,
            **source,
        }
        build = {"strategy": "static"}
        if source.get("writePipelineFile"):
            build = {"image": "node:22", "command": "npm ci && npm run build", "output": "dist"}
        metadata = {"name": "site", "namespace": "default"}
        spec = {"source": given, "build": build}
        await self.client.create(
            APPS, {"apiVersion": APPS.api_version, "kind": "App", "metadata": metadata, "spec": spec}
        )

    async def secret(self, name: str, **data: str) -> None:
        metadata = {"name": name, "namespace": "default"}
        await self.client.create(
            SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
        )

    async def app(self) -> Raw:
        return await self.cluster.get(APPS, "site") or {}

    async def hook(self, status: str = "True") -> Raw:
        """The condition, once it has that status."""
        return dict(await self.cluster.until(self._hook, lambda found: found.get("status") == status, "the webhook"))

    async def _hook(self) -> Raw:
        conditions = (await self.app()).get("status", {}).get("conditions", ())
        return next((one for one in conditions if one["type"] == "HookReady"), {})

    async def run_of(self, commit: str) -> Raw:
        async def look() -> Raw | None:
            runs = await self.cluster.all(PIPELINE_RUNS)
            return next((one for one in runs if one["spec"]["commit"] == commit), None)

        return dict(await self.cluster.until(look, lambda found: found is not None, "the run"))

    async def run_of_next(self, commit: str) -> None:
        await self.forge.deliver(commit)
        await self.run_of(commit)


@asynccontextmanager
async def world_of(kind: str, folder: Path) -> AsyncIterator[World]:
    async with delivery_world(folder) as cluster:
        forge = FakeForge(kind, folder / "forge", SystemClock().now().timestamp())
        await forge.start()
        try:
            yield World(cluster, forge, folder)
        finally:
            await forge.stop()


@pytest.fixture(params=KINDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(request.param, tmp_path) as made:
        yield made


@pytest.fixture
async def github(tmp_path: Path) -> AsyncIterator[World]:
    async with world_of("github", tmp_path) as made:
        yield made


async def test_the_contract(world: World) -> None:
    forge = world.forge
    first = forge.commit("first", **{"index.html": "one"})
    await world.make_app()
    async with world.room():
        await world.hook()
        assert len(forge.hooks) == 1 and FINALIZER in (await world.app())["metadata"]["finalizers"]
        assert (await world.run_of(first))["spec"]["trigger"] == {"kind": "poll"}
        hook = next(iter(forge.hooks.values()))

        second = forge.commit("second", **{"index.html": "two"})
        body, headers = forge.delivery(second, forge.secret_of(hook))
        url = forge.url_of(hook)
        assert (await forge.deliver(second, secret="wrong"))[0] == 401
        assert (await post(url + "x", body, headers))[0] == 404
        assert (await post(url, body))[0] == 401
        assert (await post(url, body, headers))[0] == 202
        trigger = (await world.run_of(second))["spec"]["trigger"]
        assert trigger["kind"] == "webhook" and trigger["actor"] == "A Person" and trigger["delivery"]
        assert (await post(url, body, headers)) == (200, "this delivery was taken before\n")

        assert "made from branch main" in (await forge.deliver(second, ref="refs/heads/other"))[1]
        assert "was deleted" in (await forge.deliver("0" * 40))[1]
        assert "another repository" in (await forge.deliver(second, repository={"id": 99}))[1]
        assert (await post(url, b"x" * ((2 << 20) + 1), headers))[0] == 413

        def told(state: str) -> bool:
            return any(one[0] == second and one[2] == state for one in forge.statuses)

        async def ended() -> bool:
            return any(told(state) for state in ("success", "failure", "failed"))

        await world.cluster.until(ended, bool, "the last status")
        assert {one[1] for one in forge.statuses} >= {"fairway/build"}

    async def moved() -> bool:
        return all(forge.url_of(one) != url for one in forge.hooks.values())

    async with world.room():  # under another address now: the webhook follows, and no second one is made
        await world.cluster.until(moved, bool, "the webhook's new address")
        assert len(forge.hooks) == 1
        await world.client.delete(APPS, "site", namespace="default")
        await world.cluster.until(world.app, lambda found: not found, "the App's end")
    assert not forge.hooks


async def test_a_lost_delivery_is_found_by_polling(world: World) -> None:
    world.forge.commit("first", **{"index.html": "one"})
    await world.make_app(pollSeconds=5)
    async with world.room():
        await world.hook()
        lost = world.forge.commit("second", **{"index.html": "two"})
        assert (await world.run_of(lost))["spec"]["trigger"] == {"kind": "poll"}


async def test_the_pipeline_file_is_written_once(world: World) -> None:
    world.forge.commit("first", **{"index.html": "one"})
    await world.make_app(writePipelineFile=True)
    async with world.room():
        await world.hook()
    assert list(world.forge.files) == [".fairway.yml"]
    written = world.forge.files[".fairway.yml"]
    async with world.room():
        await world.hook()
    assert world.forge.files[".fairway.yml"] is written


async def test_without_a_token_a_person_is_told_what_to_paste(github: World) -> None:
    await github.make_app(credentialsSecret="")
    async with github.room():
        found = await github.hook("False")
        made = await github.cluster.get(SECRETS, "site-webhook")
    assert found["reason"] == "ByHand" and "/hooks/default/site/" in found["message"]
    assert "Secret site-webhook" in found["message"] and made is not None
    assert made["data"]["secret"] not in found["message"]


@pytest.mark.parametrize(
    ("answer", "reason", "said"),
    [
        (Response(403, b"{}"), "Refused", "needs the rights to webhooks"),
        (Response(404, b"{}"), "Refused", "spec.source.apiUrl"),
        (Response(422, b'{"message": "url is local"}'), "Refused", "url is local"),
        (Response(429, b"", (("Retry-After", "7"),)), "ForgeBusy", "429"),
        (Response(502, b"<html>"), "ForgeBusy", "cannot answer now"),
        (Response(200, b"<html>"), "Refused", "is not JSON"),
    ],
)
async def test_what_the_forge_says_is_told(github: World, answer: Response, reason: str, said: str) -> None:
    github.forge.broken = answer
    await github.make_app()
    async with github.room():
        found = await github.hook("False")
    assert found["reason"] == reason and said in found["message"] and TOKEN not in found["message"]


async def test_another_repository_under_the_same_name_is_not_fetched(github: World) -> None:
    github.forge.commit("first", **{"index.html": "one"})
    await github.make_app()
    async with github.room():
        await github.hook()
        await github.cluster.until(
            github.app, lambda app: app.get("status", {}).get("repositoryId") == "41", "the binding"
        )
    github.forge.repository_id = 42
    async with github.room():
        found = await github.hook("False")
        assert found["reason"] == "RepositoryChanged" and "id 42, was 41" in found["message"]


async def test_a_forge_with_a_private_certificate(tmp_path: Path) -> None:
    now = SystemClock().now()
    authority = signing.authority("corp", now)
    leaf = signing.server(authority, ["127.0.0.1"], now)
    (tmp_path / "pair.pem").write_bytes(leaf.certificate + leaf.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "pair.pem")
    async with delivery_world(tmp_path) as cluster:
        forge = FakeForge("gitlab", tmp_path / "forge", now.timestamp())
        await forge.start(context)
        world = World(cluster, forge, tmp_path)
        commit = forge.commit("first", **{"index.html": "one"})
        await world.make_app()
        async with world.room():
            assert "certificate" in (await world.hook("False"))["message"]
            assert not await cluster.all(PIPELINE_RUNS)
            await world.secret("corp-ca", **{"ca.crt": authority.certificate.decode()})
            patch = {"spec": {"source": {"caSecret": "corp-ca"}}}
            await world.client.patch(APPS, "site", patch, namespace="default")
            await world.hook()
            await world.run_of(commit)
        await forge.stop()


async def test_only_commits_in_the_watched_folder_start_runs(github: World) -> None:
    forge = github.forge
    (forge.work.folder / "web").mkdir()
    first = forge.commit("first", **{"web/index.html": "one", "other.txt": "one"})
    await github.make_app(path="web")
    async with github.room():
        await github.hook()
        name = (await github.run_of(first))["metadata"]["name"]
        await ended(github, name)
        status = {"status": {"phase": "Succeeded"}}
        await github.client.patch(PIPELINE_RUNS, name, status, namespace="default", subresource="status")
        other = forge.commit("other", **{"other.txt": "two"})
        assert (await forge.deliver(other))[0] == 202
        await github.cluster.until(
            github.app, lambda app: app.get("status", {}).get("commit") == other, "the commit to be seen"
        )
        assert len(await github.cluster.all(PIPELINE_RUNS)) == 1
        await github.run_of_next(forge.commit("web", **{"web/index.html": "two"}))


async def ended(world: World, run: str) -> None:
    async def look() -> str:
        return str((await world.cluster.get(PIPELINE_RUNS, run) or {}).get("status", {}).get("phase"))

    await world.cluster.until(look, lambda phase: phase in ("Succeeded", "Failed"), "the run's end")


async def test_gitee_without_check_runs_gets_one_comment(tmp_path: Path) -> None:
    async with world_of("gitee", tmp_path) as world:
        world.forge.without_checks = True
        world.forge.commit("first", **{"index.html": "one"})
        await world.make_app()

        async def said() -> list[str]:
            return world.forge.comments

        async with world.room():
            await world.cluster.until(said, bool, "the comment")
        assert len(world.forge.comments) == 1 and world.forge.comments[0].startswith("**fairway/build**: ")


async def test_a_repository_that_an_app_leaves_keeps_no_webhook(github: World, tmp_path: Path) -> None:
    old, new = github.forge, FakeForge("gitea", tmp_path / "new", SystemClock().now().timestamp())
    new.repository_id = 77
    await new.start()
    commit = new.commit("moved", **{"index.html": "moved"})
    await github.make_app()

    async def hooks() -> tuple[int, int]:
        return len(old.hooks), len(new.hooks)

    async def noted() -> list[str]:
        return [*await github.cluster.messages("WebhookLeft"), *await github.cluster.messages("WebhookRemoved")]

    try:
        async with github.room():
            await github.hook()
            old.broken = Response(503, b"{}", (("Retry-After", "1"),))
            moved = {"repository": new.url, "provider": "gitea", "apiUrl": new.api_url}
            await github.client.patch(APPS, "site", {"spec": {"source": moved}}, namespace="default")
            await github.run_of(commit)
            told = await github.cluster.until(noted, bool, "why the old webhook stays")
            assert old.url in told[0]
            await github.cluster.until(hooks, lambda counts: counts == (1, 1), "the new webhook beside the old one")
            old.broken = None

            async def left() -> list[str]:
                return [*map(str, old.hooks)]

            await github.cluster.until(left, lambda found: not found, "the end of the old webhook")
            bound = await github.cluster.until(
                github.app, lambda app: app["status"].get("repositoryId") == "77", "the binding"
            )
            assert bound["status"]["repositoryUrl"] == new.url
            await github.cluster.until(
                lambda: github.cluster.messages("WebhookRemoved"), bool, "the Event about its end"
            )
            await github.client.delete(APPS, "site", namespace="default")
            await github.cluster.until(github.app, lambda found: not found, "the App's end")
            assert not new.hooks
    finally:
        await new.stop()


async def test_a_forge_that_refuses_does_not_hold_the_app(github: World) -> None:
    await github.make_app()
    async with github.room():
        await github.hook()
        github.forge.broken = Response(403, b"{}")
        await github.client.delete(APPS, "site", namespace="default")
        await github.cluster.until(github.app, lambda found: not found, "the App's end")


async def test_a_dead_forge_holds_the_app_for_a_minute_at_most(github: World) -> None:
    await github.make_app()
    async with github.room():
        await github.hook()
    await github.forge.stop()
    await github.client.delete(APPS, "site", namespace="default")
    assert (await github.app())["metadata"]["deletionTimestamp"]
    async with github.room(Later()):
        await github.cluster.until(github.app, lambda found: not found, "the App's end")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("git@github.com:team/site.git", "over https, not ssh"),
        ("ssh://git@github.com/team/site.git", "over https, not ssh"),
        ("https://me:pw@github.com/team/site", "has credentials in it"),
        ("/srv/site", "is not like https://HOST/OWNER/NAME.git"),
    ],
)
async def test_what_cannot_be_fetched_is_refused_at_once(github: World, url: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        await github.make_app(repository=url)
    with pytest.raises(NotFound):
        await github.client.get(APPS, "site", "default")


@pytest.fixture(autouse=True)
def _no_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    if "GIT_SSL_CAINFO" in os.environ:
        monkeypatch.delenv("GIT_SSL_CAINFO")
