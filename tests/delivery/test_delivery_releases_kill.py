"""A Release survives the end of the process at every request: what remains is the same, and nothing is done twice."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import controllers_world
import pytest
from controllers_world import BROKEN_IMAGE
from delivery_world import delivery_world

from fairway.delivery.config import Config
from fairway.delivery.domains.claims import Claimant
from fairway.delivery.kinds.apps import App, environments
from fairway.delivery.kinds.resources import APPS, RELEASES
from fairway.delivery.releases.controller import run_releases
from fairway.delivery.releases.create import ReleaseWorld, create_release
from fairway.delivery.releases.objects import Place
from fairway.delivery.releases.repeat import promote
from fairway.kube.api.noun import decode
from fairway.kube.api.resource import DEPLOYMENTS, INGRESSES, SECRETS, SERVICES
from fairway.kube.client.client import ApiClient
from fairway.toolkit.clock import SystemClock
from fairway.toolkit.http_client import HttpClient, unix_connector

GOOD = "registry.example.com/site@sha256:" + "a" * 64


class Killed(BaseException):
    """The process ends here."""


class MortalClient(ApiClient):
    """Ends its process at its n-th writing request: before it is sent, or after it was done and nobody heard of it."""

    def __init__(self, http: HttpClient, writes: int, *, after: bool) -> None:
        super().__init__(http)
        self.left = writes
        self._after = after

    async def _request(self, method: str, *arguments: Any, **more: Any) -> Any:
        if method == "GET" or "/events" in arguments[0]:
            return await super()._request(method, *arguments, **more)
        self.left -= 1
        if self.left > 0:
            return await super()._request(method, *arguments, **more)
        if self._after and self.left == 0:
            async with await super()._request(method, *arguments, **more) as response:
                await response.read()
        raise Killed


class NoFiles:
    """Sources of Apps that need none."""

    async def checkout(self, *_: object, **__: object) -> object:
        raise AssertionError("nothing is checked out for generated manifests")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[controllers_world.Cluster]:
    async with delivery_world(tmp_path) as made:
        yield made


async def make_app(cluster: controllers_world.Cluster, name: str, **more: Any) -> App:
    raw = {"apiVersion": "fairway.dev/v1alpha1", "kind": "App", "metadata": {"name": name, "namespace": "default"}}
    spec = {"domains": [f"{name}.example.com"], "env": [{"name": "A", "value": "1"}], **more}
    app = decode(App, await cluster.client.create(APPS, {**raw, "spec": spec}))
    await Claimant(cluster.client).claim(app, [host for one in environments(app) for host in one.domains])
    return app


async def release(client: ApiClient, folder: Path, app: App, run: int, image: str) -> str:
    world = ReleaseWorld(client, SystemClock(), NoFiles(), folder)
    environment = environments(app)[0]
    given = {"image": image, "port": 80, "commit": "c" * 40, "ref": "refs/heads/main"}
    return await create_release(world, app, environment, run=f"{app.metadata.name}-{run}", reason="deploy", **given)  # type: ignore[arg-type]


async def phases(
    cluster: controllers_world.Cluster, name: str, environment: str = "production"
) -> dict[int, tuple[str, str, str]]:
    labels = f"fairway.dev/app={name},fairway.dev/environment={environment}"
    return {
        raw["spec"]["number"]: (
            raw.get("status", {}).get("phase", ""),
            raw["spec"]["reason"],
            raw["spec"]["image"],
        )
        for raw in await cluster.all(RELEASES, labels=labels)
    }


async def until_killed(http: HttpClient, folder: Path, writes: int, after: bool, work: Any) -> bool:
    """Whether the process got to its n-th write within what `work` waits for."""
    client = MortalClient(http, writes, after=after)
    loop = asyncio.ensure_future(run_releases(client, Config(folder), SystemClock()))
    job = asyncio.ensure_future(work(client))
    await asyncio.wait((loop, job), return_when=asyncio.FIRST_COMPLETED)
    for task in (loop, job):
        task.cancel()
    await asyncio.gather(loop, job, return_exceptions=True)
    return client.left <= 0


@pytest.mark.parametrize("after", [False, True], ids=["before a write", "after a write"])
async def test_a_good_release_goes_live_wherever_the_process_ends(
    cluster: controllers_world.Cluster, tmp_path: Path, after: bool
) -> None:
    async with HttpClient(unix_connector(tmp_path / "api.sock"), host_header="localhost") as http:
        reached = True
        writes = 0
        while reached:
            writes += 1
            app = await make_app(cluster, f"app{writes}")
            name = app.metadata.name

            async def work(client: ApiClient, app: App = app, name: str = name) -> None:
                await release(client, tmp_path, app, 1, GOOD)
                await cluster.until(lambda: phases(cluster, name), lambda found: found[1][0] == "Live")

            reached = await until_killed(http, tmp_path, writes, after, work)
            await release(cluster.client, tmp_path, app, 1, GOOD)
            await settled(cluster, tmp_path, name, {1: ("Live", "deploy", GOOD)})
            made = [await cluster.get(kind, name) for kind in (DEPLOYMENTS, SERVICES, INGRESSES)]
            assert all(made), (writes, made)
            assert len(await cluster.all(SECRETS, labels=f"fairway.dev/app={name}")) == 1
    assert writes > 8


async def test_a_bad_release_is_taken_back_once_wherever_the_process_ends(
    cluster: controllers_world.Cluster, tmp_path: Path
) -> None:
    wanted = {
        1: ("Superseded", "deploy", GOOD),
        2: ("Failed", "deploy", BROKEN_IMAGE),
        3: ("Live", "rollback", GOOD),
    }
    async with HttpClient(unix_connector(tmp_path / "api.sock"), host_header="localhost") as http:

        async def one(writes: int) -> bool:
            app = await make_app(cluster, f"app{writes}")
            name = app.metadata.name
            await release(cluster.client, tmp_path, app, 1, GOOD)
            await settled(cluster, tmp_path, name, {1: ("Live", "deploy", GOOD)})
            hasty = {"spec": {"deploy": {"progressDeadlineSeconds": 2}}}
            app = decode(App, await cluster.client.patch(APPS, name, hasty, namespace="default"))

            async def work(client: ApiClient) -> None:
                await release(client, tmp_path, app, 2, BROKEN_IMAGE)
                await cluster.until(lambda: phases(cluster, name), lambda found: found == wanted)

            reached = await until_killed(http, tmp_path, writes, False, work)
            await release(cluster.client, tmp_path, app, 2, BROKEN_IMAGE)
            await settled(cluster, tmp_path, name, wanted)
            return reached

        writes = 0
        while await one(writes := writes + 1):
            pass
    assert writes > 16


@pytest.mark.parametrize("after", [False, True], ids=["before a write", "after a write"])
async def test_a_promotion_is_done_once_wherever_the_process_ends(
    cluster: controllers_world.Cluster, tmp_path: Path, after: bool
) -> None:
    """At the writes of the promotion itself and the first behind them; from there on it is a Release like any other."""
    staged, first = {1: ("Live", "deploy", GOOD)}, "registry.example.com/site@sha256:" + "b" * 64
    wanted = {1: ("Superseded", "deploy", first), 2: ("Live", "promote", GOOD)}

    async def asked(client: ApiClient, name: str) -> None:
        mortal = ReleaseWorld(client, SystemClock(), NoFiles(), tmp_path)
        await promote(mortal, Place("default", name, "staging"), "production", actor="ann")

    async with HttpClient(unix_connector(tmp_path / "api.sock"), host_header="localhost") as http:
        for writes in range(1, 5):
            app = await two_environments(cluster, tmp_path, f"app{writes}", first)
            name = app.metadata.name

            async def work(client: ApiClient, name: str = name) -> None:
                await asked(client, name)
                await cluster.until(lambda: phases(cluster, name), lambda found: found == wanted)

            assert await until_killed(http, tmp_path, writes, after, work)
            live = await cluster.get(DEPLOYMENTS, name)
            assert live and live["spec"]["template"]["spec"]["containers"][0]["image"] in (first, GOOD)
            await asked(cluster.client, name)  # as a person does whose command failed
            await settled(cluster, tmp_path, name, wanted)
            assert await phases(cluster, name, "staging") == staged
            assert len(await cluster.all(SECRETS, labels=f"fairway.dev/app={name}")) == 2


async def two_environments(cluster: controllers_world.Cluster, folder: Path, name: str, first: str) -> App:
    """An App with a good version in staging, and `first` in production."""
    staging = {"name": "staging", "domains": [f"s.{name}.example.com"]}
    production = {"name": "production", "domains": [f"{name}.example.com"], "env": [{"name": "A", "value": "2"}]}
    app = await make_app(cluster, name, domains=[], environments=[staging, production])
    world = ReleaseWorld(cluster.client, SystemClock(), NoFiles(), folder)
    given: Any = {"image": first, "port": 80, "commit": "b" * 40, "ref": "refs/heads/main", "run": "r0"}
    await create_release(world, app, environments(app)[1], reason="deploy", **given)
    await release(cluster.client, folder, app, 1, GOOD)
    await settled(cluster, folder, name, {1: ("Live", "deploy", GOOD)}, "staging")
    await settled(cluster, folder, name, {1: ("Live", "deploy", first)})
    return app


async def settled(
    cluster: controllers_world.Cluster,
    folder: Path,
    name: str,
    wanted: dict[int, tuple[str, str, str]],
    environment: str = "production",
) -> None:
    """A new process brings it to its end."""
    task = asyncio.create_task(run_releases(cluster.client, Config(folder), SystemClock()))
    try:
        await cluster.until(
            lambda: phases(cluster, name, environment), lambda found: found == wanted, f"{name}: {wanted}"
        )
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
