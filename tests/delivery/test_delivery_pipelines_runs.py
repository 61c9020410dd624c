"""Runs in a cluster whose pods only pretend: queue, jobs, images, cancelling, restarts."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import controllers_world
import pretend_node
import pytest
from delivery_world import delivery_world

from fairway.delivery.builds.images import Images
from fairway.delivery.config import Config
from fairway.delivery.git import Repositories
from fairway.delivery.kinds.apps import App
from fairway.delivery.kinds.resources import APPS, PIPELINE_RUNS, RUN_LABEL
from fairway.delivery.kinds.runs import PipelineRun
from fairway.delivery.pipelines.room import Pipelines
from fairway.delivery.pipelines.storage import Storage
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.resource import CONFIG_MAPS, JOBS, PODS, SECRETS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.kube.reconcile.reflector import Reflector, run_reflectors, wait_synced
from fairway.toolkit.clock import SystemClock
from fairway.toolkit.http_client import HttpClient, unix_connector
from fairway.toolkit.oci.draft import Draft
from fairway.toolkit.oci.layers import Entry
from fairway.toolkit.oci.reference import parse
from fairway.toolkit.oci.store import ImageStore

Raw = dict[str, Any]
SITE = {"index.html": "<h1>hello</h1>"}
TWO_JOBS = """
stages: [build, test]
build: {image: "busybox", script: [mkdir dist, "echo hi > dist/index.html"], artifacts: {paths: [dist]}}
test: {image: "busybox", script: [test -f dist/index.html], stage: test}
"""


class World:
    """A cluster, a repository, and the room's loop over runs."""

    def __init__(self, cluster: controllers_world.Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.client = cluster.client
        self.folder = folder
        self.config = Config(folder / "state", images_dir=folder / "images")
        self.repositories = Repositories(folder / "repositories", local=True)

    @asynccontextmanager
    async def room(self, client: ApiClient | None = None) -> AsyncIterator[Pipelines]:
        """The room, until the end of the block; then it is as if it had been killed."""
        clock = SystemClock()
        apps, runs = Reflector(self.client, APPS, App, clock), Reflector(self.client, PIPELINE_RUNS, PipelineRun, clock)
        images = Images(self.folder / "images", is_node_store=True)
        made = Pipelines(client or self.client, self.config, clock, apps, runs, self.repositories, images, b"k" * 32)
        reflecting = asyncio.create_task(run_reflectors(apps, runs, *made.reflectors))
        await wait_synced(apps, runs, *made.reflectors)
        working = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            for task in (working, reflecting):
                task.cancel()
            await asyncio.gather(working, reflecting, return_exceptions=True)

    async def app(self, name: str = "site", **spec: Any) -> None:
        meta = {"name": name, "namespace": "default"}
        await self.client.create(
            APPS, {"apiVersion": "fairway.dev/v1alpha1", "kind": "App", "metadata": meta, "spec": spec}
        )

    async def commit(self, files: Mapping[str, str], app: str = "site") -> str:
        """A commit in the App's repository, made by the real git."""
        work = self.folder / f"work-{app}"
        for name, text in files.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(text)
        git(work, "init", "-q", "-b", "main")
        git(work, "add", "-A")
        git(work, "commit", "-q", "--allow-empty", "-m", "a change")
        key = ObjectKey("default", app)
        await self.repositories.ensure(key)
        return await self.repositories.fetch(key, str(work), "main")

    async def start(self, number: int, commit: str, app: str = "site") -> str:
        spec = {"app": app, "number": number, "commit": commit, "ref": "main", "message": "a change"}
        meta = {"name": f"{app}-{number}", "namespace": "default"}
        raw = {"apiVersion": "fairway.dev/v1alpha1", "kind": "PipelineRun", "metadata": meta, "spec": spec}
        await self.client.create(PIPELINE_RUNS, raw)
        return f"{app}-{number}"

    async def phase(self, run: str, *wanted: str) -> Raw:
        """The run's status once it has one of the phases."""
        found = await self.cluster.until(
            lambda: self.cluster.get(PIPELINE_RUNS, run),
            lambda raw: raw.get("status", {}).get("phase") in wanted,
            f"{run} {wanted}",
        )
        return dict(found["status"])

    async def job(self, name: str) -> Raw:
        """A Job and its pod, once both are there."""
        await self.cluster.until(lambda: self.cluster.get(JOBS, name), lambda raw: raw, f"job {name}")
        selector = f"job-name={name}"
        pods = await self.cluster.until(
            lambda: self.cluster.all(PODS, labels=selector),
            lambda found: found and found[0]["status"].get("phase") == "Running",
            f"pod of {name}",
        )
        return dict(pods[0])

    async def finish(self, name: str, code: int = 0) -> None:
        """Let the pod of a Job end."""
        pod = (await self.job(name))["metadata"]["name"]
        ended = {"exitCode": code, "reason": "Error" if code else "Completed"}
        status = {
            "phase": "Failed" if code else "Succeeded",
            "initContainerStatuses": [
                {
                    "name": "script",
                    "image": "busybox",
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": ended},
                }
            ],
        }
        await self.client.patch(PODS, pod, {"status": status}, namespace="default", subresource="status")


class Mortal(ApiClient):
    """Stops for ever at its n-th writing request, before it is sent or after it was done; `dead` says when."""

    def __init__(self, http: HttpClient, writes: int, *, after: bool) -> None:
        super().__init__(http)
        self.dead = asyncio.Event()
        self._left = writes
        self._after = after

    async def _request(self, method: str, *arguments: Any, **more: Any) -> Any:
        if method == "GET" or "/events" in arguments[0]:
            return await super()._request(method, *arguments, **more)
        self._left -= 1
        if self._left > 0:
            return await super()._request(method, *arguments, **more)
        if self._after and self._left == 0:
            async with await super()._request(method, *arguments, **more) as response:
                await response.read()
        self.dead.set()
        return await asyncio.Event().wait()


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", *who, "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    draft = Draft(ImageStore(tmp_path / "images"), None)
    draft.add([Entry("usr/share/nginx/html/index.html", data=b"", mode=0o644)], "base")
    draft.commit(parse("nginx:latest"))
    async with delivery_world(tmp_path) as cluster:
        yield World(cluster, tmp_path)


async def test_a_plain_site_becomes_an_image_without_any_job(world: World) -> None:
    await world.app()
    commit = await world.commit(SITE)
    async with world.room() as room:
        run = await world.start(1, commit)
        status = await world.phase(run, "Succeeded", "Failed")
        lines = [line async for line in room.follow(ObjectKey("default", run))]
    assert status["image"].startswith("registry.fairway.local/default/site@sha256:") and status["port"] == 8080
    assert (status["framework"], [step["phase"] for step in status["steps"]]) == ("static", ["Succeeded"])
    assert not await world.cluster.all(JOBS)
    assert lines[0] == "-----> Detected a static site (index.html)" and lines[-1] == f"-----> Built {status['image']}"
    store = ImageStore(world.folder / "images")
    assert store.find(parse(status["image"])) is not None


async def test_jobs_run_in_the_order_of_their_stages(world: World) -> None:
    await world.app()
    commit = await world.commit({**SITE, ".fairway.yml": TWO_JOBS})
    async with world.room():
        run = await world.start(1, commit)
        pod = await world.job("site-1-build")
        assert not await world.cluster.get(JOBS, "site-1-test")
        await world.finish("site-1-build")
        await world.finish("site-1-test")
        status = await world.phase(run, "Succeeded", "Failed")
        assert not await world.cluster.all(SECRETS, labels=f"{RUN_LABEL}={run}")
    assert [step["name"] for step in status["steps"]] == ["build", "test", "image"]
    assert status["phase"] == "Succeeded" and status["image"]
    script = next(one for one in pod["spec"]["initContainers"] if one["name"] == "script")
    assert [mount["name"] for mount in script["volumeMounts"]] == ["workspace", "script"]
    assert pod["spec"]["automountServiceAccountToken"] is False


async def test_a_job_that_fails_ends_the_run(world: World) -> None:
    await world.app()
    commit = await world.commit({".fairway.yml": TWO_JOBS})
    async with world.room() as room:
        run = await world.start(1, commit)
        await world.finish("site-1-build", 3)
        status = await world.phase(run, "Succeeded", "Failed")
        lines = [line async for line in room.follow(ObjectKey("default", run))]
    assert status["phase"] == "Failed" and status["message"] == "build: the script ended with exit code 3"
    assert [step["phase"] for step in status["steps"]] == ["Failed", "Skipped", "Skipped"]
    assert [line for line in lines if "exit code 3" in line] == ["       failed: the script ended with exit code 3"]
    assert lines[-1] == "-----> Failed: build"


async def test_a_job_is_tried_again(world: World) -> None:
    await world.app(build={"retries": 1})
    commit = await world.commit({".fairway.yml": "build: {script: [make]}\nstages: [build]"})
    async with world.room():
        run = await world.start(1, commit)
        await world.finish("site-1-build", 1)
        await world.finish("site-1-build-2")
        status = await world.phase(run, "Succeeded", "Failed")
    assert status["phase"] == "Succeeded" and status["steps"][0]["attempt"] == 2


async def test_a_mistake_in_the_pipeline_file_is_told(world: World) -> None:
    await world.app()
    commit = await world.commit({".fairway.yml": "stages: [build]\nbuild:\n  stage: deploy\n  script: [x]"})
    async with world.room() as room:
        run = await world.start(1, commit)
        status = await world.phase(run, "Failed")
        lines = [line async for line in room.follow(ObjectKey("default", run))]
        wanted = ".fairway.yml:3: build.stage: there is no stage 'deploy'; the stages are build"
        await world.cluster.told("CannotBuild", wanted)
    assert status["message"] == wanted and status["reason"] == "CannotBuild"
    assert lines == [f"-----> Failed: {wanted}"]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("build: {variables: {'A=B': x}, script: [x]}", "cannot be started: "),
        ("build: {services: [{name: x, alias: 'no_host!'}], script: [x]}", "cannot be started: "),
    ],
)
async def test_what_the_api_does_not_take_fails_the_run(world: World, file: str, said: str) -> None:
    await world.app()
    commit = await world.commit({".fairway.yml": f"stages: [build]\n{file}"})
    async with world.room():
        run = await world.start(1, commit)
        status = await world.phase(run, "Failed", "Succeeded")
    assert status["phase"] == "Failed" and said in status["message"]


async def test_a_name_that_somebody_else_has_fails_the_run(world: World) -> None:
    await world.app()
    commit = await world.commit(SITE)
    meta = {"name": "site-1-pipeline", "namespace": "default"}
    await world.client.create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
    async with world.room():
        run = await world.start(1, commit)
        status = await world.phase(run, "Failed", "Succeeded")
    assert status["message"] == "ConfigMap default/site-1-pipeline belongs to somebody else; delete or rename it"


async def test_runs_wait_for_each_other(world: World) -> None:
    await world.app("one")
    await world.app("two")
    file = {".fairway.yml": "stages: [build]\nbuild: {script: [make]}"}
    first, second = await world.commit(file, "one"), await world.commit(file, "two")
    async with world.room():
        await world.start(1, first, "one")
        await world.job("one-1-build")
        await world.start(1, second, "two")
        await world.phase("two-1", "Queued")
        await world.finish("one-1-build")
        await world.finish("two-1-build")
        assert (await world.phase("two-1", "Succeeded", "Failed"))["phase"] == "Succeeded"


async def test_a_newer_commit_supersedes_what_runs(world: World) -> None:
    await world.app()
    commit = await world.commit({".fairway.yml": "stages: [build]\nbuild: {script: [make]}"})
    async with world.room():
        await world.start(1, commit)
        await world.job("site-1-build")
        await world.start(2, commit)
        await world.finish("site-2-build")
        old = await world.phase("site-1", "Superseded", "Succeeded")
        new = await world.phase("site-2", "Succeeded", "Failed")
    assert old["phase"] == "Superseded" and old["steps"][0]["phase"] == "Cancelled"
    assert new["phase"] == "Succeeded"
    assert not await world.cluster.all(PODS, labels=f"{RUN_LABEL}=site-1")


async def test_cancelling_ends_the_pods(world: World) -> None:
    await world.app()
    commit = await world.commit({".fairway.yml": "stages: [build]\nbuild: {script: [make]}"})
    async with world.room():
        await world.start(1, commit)
        await world.job("site-1-build")
        await world.client.patch(PIPELINE_RUNS, "site-1", {"spec": {"cancelled": True}}, namespace="default")
        status = await world.phase("site-1", "Cancelled", "Succeeded", "Failed")
    assert status["phase"] == "Cancelled" and status["steps"][0]["phase"] == "Cancelled"
    assert not await world.cluster.all(JOBS) and not await world.cluster.all(PODS)


async def test_a_run_goes_on_after_a_restart(world: World) -> None:
    await world.app()
    commit = await world.commit({**SITE, ".fairway.yml": TWO_JOBS})
    async with world.room():
        await world.start(1, commit)
        await world.job("site-1-build")
    await world.finish("site-1-build")  # while nobody looks
    async with world.room():
        await world.job("site-1-test")
    async with world.room():
        await world.finish("site-1-test")
        status = await world.phase("site-1", "Succeeded", "Failed")
    assert status["phase"] == "Succeeded" and [step["attempt"] for step in status["steps"]] == [1, 1, 1]


async def test_an_app_that_is_gone_ends_its_run(world: World) -> None:
    async with world.room():
        await world.start(1, "a" * 40, "nobody")
        assert (await world.phase("nobody-1", "Failed"))["reason"] == "NoApp"


async def test_what_a_deleted_run_left_is_removed(world: World) -> None:
    await world.app()
    commit = await world.commit(SITE)
    async with world.room() as room:
        run = await world.start(1, commit)
        await world.phase(run, "Succeeded")
        file = room.log_file(ObjectKey("default", run), "image")
        assert file.exists()
        await world.client.delete(PIPELINE_RUNS, run, namespace="default")

        async def there() -> bool:
            return file.exists()

        await world.cluster.until(there, lambda found: not found, "removed log")
    with pytest.raises(NotFound):
        await world.client.get(PIPELINE_RUNS, run, "default")


async def test_caches_go_with_their_app(world: World) -> None:
    await world.app()
    cache = Storage(world.config.state_dir).cache(ObjectKey("default", "site"), "a")
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"x")

    async def there() -> bool:
        return cache.exists()

    async with world.room():
        assert cache.exists()
        await world.client.delete(APPS, "site", namespace="default")
        await world.cluster.until(there, lambda found: not found, "removed cache")


async def finish_all(world: World) -> None:
    """End every pod of a build well, as soon as it runs."""
    while True:
        for pod in await world.cluster.all(PODS, labels=RUN_LABEL):
            if pod["status"].get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp"):
                await world.finish(pod["metadata"]["labels"]["job-name"])
        await asyncio.sleep(0.02)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("after", [False, True], ids=["before a write", "after a write"])
async def test_a_run_survives_the_end_of_the_process_at_every_write(world: World, tmp_path: Path, after: bool) -> None:
    finishing = asyncio.create_task(finish_all(world))
    alive = asyncio.create_task(pretend_node.stay_alive(world.client, controllers_world.NODE))
    images, died = set(), True
    for writes in range(1, 60):
        name = f"app{writes}"
        await world.app(name)
        commit = await world.commit({**SITE, ".fairway.yml": TWO_JOBS}, name)
        async with HttpClient(unix_connector(tmp_path / "api.sock"), host_header="localhost") as http:
            mortal = Mortal(http, writes, after=after)
            async with world.room(mortal):
                run = await world.start(1, commit, name)
                ended = asyncio.create_task(world.phase(run, "Succeeded", "Failed"))
                dead = asyncio.create_task(mortal.dead.wait())
                await asyncio.wait((ended, dead), return_when=asyncio.FIRST_COMPLETED)
                died = mortal.dead.is_set()
                ended.cancel()
                dead.cancel()
        async with world.room():
            status = await world.phase(run, "Succeeded", "Failed")
        steps = [(step["phase"], step["attempt"]) for step in status["steps"]]
        assert (status["phase"], steps) == ("Succeeded", [("Succeeded", 1)] * 3), (writes, status)
        images.add(status["image"].partition("@")[2])
        if not died:
            break
    alive.cancel()
    finishing.cancel()
    await asyncio.gather(finishing, return_exceptions=True)
    assert not died and writes > 10 and len(images) == 1
