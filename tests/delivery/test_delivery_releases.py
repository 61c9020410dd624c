"""Releases against a real API with controllers and pretended pods."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import controllers_world
import pytest
from controllers_world import BROKEN_IMAGE
from delivery_world import delivery_world

from fairway.delivery.config import Config
from fairway.delivery.domains.claims import Claimant
from fairway.delivery.kinds.apps import App, environments
from fairway.delivery.kinds.releases import Release
from fairway.delivery.kinds.resources import APPS, RELEASES
from fairway.delivery.kinds.runs import Change, PipelineRun, PipelineRunSpec, PipelineRunStatus
from fairway.delivery.releases.adopt import adopt, reconfigure
from fairway.delivery.releases.controller import run_releases
from fairway.delivery.releases.create import ReleaseRefused, ReleaseWorld, create_release, releases_of
from fairway.delivery.releases.follow import follow_release
from fairway.delivery.releases.objects import Place
from fairway.delivery.releases.opening import FrontDoor
from fairway.delivery.releases.plan import Row
from fairway.delivery.releases.repeat import promote, rollback
from fairway.delivery.releases.retention import forget, retained_images
from fairway.kube.api import issued
from fairway.kube.api.meta import ObjectKey, ObjectMeta
from fairway.kube.api.noun import decode
from fairway.kube.api.resource import CONFIG_MAPS, DEPLOYMENTS, EVENTS, INGRESSES, PODS, SECRETS, SERVICES
from fairway.toolkit import signing
from fairway.toolkit.clock import SystemClock

Raw = dict[str, Any]
GOOD = "registry.example.com/site@sha256:" + "a" * 64
BETTER = "registry.example.com/site@sha256:" + "b" * 64
PRODUCTION = Place("default", "site", "production")


class NoFiles:
    """Sources of Apps that need none."""

    async def checkout(self, key: ObjectKey, commit: str, path: str, destination: Path, *, bytes_max: int) -> object:
        raise AssertionError("nothing is checked out for generated manifests")


class World:
    """The cluster, and Releases as tests make them."""

    def __init__(self, cluster: controllers_world.Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.client = cluster.client
        self.folder = folder
        self.releases = ReleaseWorld(cluster.client, SystemClock(), NoFiles(), folder / "scratch")
        self._run = 0

    async def app(self, name: str = "site", **spec: Any) -> App:
        raw = {"apiVersion": "fairway.dev/v1alpha1", "kind": "App", "metadata": {"name": name, "namespace": "default"}}
        made = decode(App, await self.client.create(APPS, {**raw, "spec": spec}))
        await Claimant(self.client).claim(made, [host for one in environments(made) for host in one.domains])
        return made

    async def change(self, name: str = "site", **spec: Any) -> App:
        return decode(App, await self.client.patch(APPS, name, {"spec": spec}, namespace="default"))

    async def deadline(self, seconds: int) -> App:
        """The App with another one: what is to fail has two seconds, and what is to go live as long as it takes."""
        return await self.change(deploy={"progressDeadlineSeconds": seconds})

    async def release(self, app: App, image: str = GOOD, environment: int = 0, **more: Any) -> str:
        self._run += 1
        given: Raw = {"port": 80, "commit": "c" * 40, "ref": "refs/heads/main", "reason": "deploy"}
        given |= {"run": f"site-{self._run}", "image": image, **more}
        return await create_release(self.releases, app, environments(app)[environment], **given)

    async def seen(self, name: str) -> Release | None:
        raw = await self.cluster.get(RELEASES, name)
        return decode(Release, raw) if raw is not None else None

    async def ended(self, name: str, phase: str = "Live") -> Release:
        def there(found: Release | None) -> bool:
            return found is not None and found.status.phase == phase

        found = await self.cluster.until(lambda: self.seen(name), there, f"{name} {phase}")
        assert isinstance(found, Release)
        return found

    @asynccontextmanager
    async def working(
        self,
        door: FrontDoor | None = None,
        opening_seconds: float = 5.0,
        gone: frozenset[str] = frozenset(),
    ) -> AsyncIterator[None]:
        """The controller runs until the end of the block; somebody removed the images `gone`."""

        async def is_gone(image: str) -> bool:
            return image in gone

        running = run_releases(
            self.client, Config(self.folder), SystemClock(), door, opening_seconds=opening_seconds, is_gone=is_gone
        )
        task = asyncio.create_task(running)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class Door:
    """A front door that leads where the test says."""

    def __init__(self) -> None:
        self.leads_to: frozenset[str] | None = frozenset()
        self.certificates = True
        self.left: set[str] = set()

    def leaves(self, ingress: ObjectKey) -> bool:
        return ingress.name in self.left

    def certified(self, host: str) -> bool:
        return self.certificates

    def addresses(self, host: str, ingress: ObjectKey, service: ObjectKey) -> frozenset[str] | None:
        assert (host, ingress, service) == ("site.example.com", PRODUCTION.key, PRODUCTION.key)
        return self.leads_to


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with delivery_world(tmp_path) as cluster:
        yield World(cluster, tmp_path)


async def test_a_release_goes_live_with_its_objects(world: World) -> None:
    app = await world.app(domains=["site.example.com"], replicas=2)
    async with world.working():
        name = await world.release(app)
        live = await world.ended(name)
    assert (name, live.spec.number, live.status.reason) == ("site-v1", 1, "RolledOut")
    for resource in (DEPLOYMENTS, SERVICES, INGRESSES):
        made = await world.client.get(resource, "site", "default")
        assert made["metadata"]["labels"]["fairway.dev/release"] == "v1"
        assert made["metadata"]["ownerReferences"][0]["uid"] == app.metadata.uid
    deployed = await world.client.get(DEPLOYMENTS, "site", "default")
    assert deployed["status"]["availableReplicas"] == 2


async def test_the_same_run_is_released_once(world: World) -> None:
    app = await world.app()
    names = await asyncio.gather(*(world.release(app, run="site-7") for _ in range(8)))
    assert set(names) == {"site-v1"}
    assert await world.release(app, run="site-8") == "site-v2"


async def test_a_configuration_that_changes_nothing_makes_no_release(world: World) -> None:
    app = await world.app(env=[{"name": "A", "value": "1"}])
    await world.release(app, run="site-1")
    app = await world.change(history={"releases": 3})
    assert await world.release(app, run="site-1", reason="config") == "site-v1"
    app = await world.change(env=[{"name": "A", "value": "2"}])
    assert await world.release(app, run="site-1", reason="config") == "site-v2"


async def test_a_certificate_that_a_person_brought_stays_in_use_and_one_of_our_own_does_not(world: World) -> None:
    now = SystemClock().now()
    pair = signing.server(signing.authority("theirs", now), ("site.example.com", "*.apps.example.com"), now)
    data = {"tls.crt": base64.b64encode(pair.certificate).decode(), "tls.key": base64.b64encode(pair.key).decode()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "site-tls", "namespace": "default"}}
    await world.client.create(SECRETS, {**secret, "type": issued.TYPE, "data": data})
    hosts = ["site.example.com", "a.apps.example.com", "other.example.com"]
    app = await world.app(domains=hosts)

    async def certificates(name: str) -> list[Raw]:
        found = await world.seen(name)
        assert found is not None
        return list(found.spec.manifests[-1]["spec"]["tls"])

    own = [{"hosts": [host], "secretName": f"{host}-tls"} for host in hosts]
    assert await certificates(await world.release(app)) == [{"hosts": hosts[:2], "secretName": "site-tls"}, own[2]]
    mark = {issued.CONTENT: issued.content_mark(data["tls.crt"])}
    notes = {"metadata": {"labels": {issued.LABEL: issued.ISSUER}, "annotations": mark}}
    await world.client.patch(SECRETS, "site-tls", notes, namespace="default")
    assert await certificates(await world.release(app)) == own


async def test_scaling_restarts_no_pod(world: World) -> None:
    app = await world.app()
    async with world.working():
        await world.ended(await world.release(app, run="site-1"))
        before = {pod["metadata"]["name"] for pod in await world.cluster.all(PODS)}
        app = await world.change(replicas=3)
        await world.ended(await world.release(app, run="site-1", reason="config"))
        after = {pod["metadata"]["name"] for pod in await world.cluster.all(PODS)}
    assert before < after and len(after) == 3


async def test_a_failed_rollout_is_taken_back_and_the_old_version_serves_on(world: World) -> None:
    app = await world.app(replicas=2)
    async with world.working():
        await world.ended(await world.release(app))
        app = await world.deadline(2)
        world.cluster.kubelet.count_from_now()
        bad = await world.ended(await world.release(app, BROKEN_IMAGE), "Failed")
        back = await world.ended("site-v3")
        bad = await world.cluster.until(lambda: world.seen("site-v2"), lambda one: one.status.rolled_back_to)
        await world.ended("site-v1", "Superseded")
        assert await world.seen("site-v4") is None
    assert world.cluster.kubelet.fewest_ready == 2
    assert (bad.status.reason, bad.status.rolled_back_to) == ("ProgressDeadlineExceeded", "site-v3")
    assert "0 of 2 pods became ready" in bad.status.message and "v1 serves on" in bad.status.message
    assert bad.status.diagnosis is not None and bad.status.diagnosis.pod.startswith("site-")
    assert (back.spec.reason, back.spec.of, back.spec.actor) == ("rollback", "site-v1", "policy")
    assert back.spec.image == GOOD


async def test_a_first_release_that_fails_has_nothing_to_go_back_to(world: World) -> None:
    app = await world.app(deploy={"progressDeadlineSeconds": 2})
    async with world.working():
        bad = await world.ended(await world.release(app, BROKEN_IMAGE), "Failed")
        live = await world.ended(await world.release(await world.deadline(120), GOOD))
    assert "no earlier live Release" in bad.status.message
    assert live.spec.number == 2


async def test_with_policy_keep_failed_objects_are_left(world: World) -> None:
    app = await world.app(deploy={"onFailure": "keep"})
    async with world.working():
        await world.ended(await world.release(app))
        await world.ended(await world.release(await world.deadline(2), BROKEN_IMAGE), "Failed")
        deployed = await world.client.get(DEPLOYMENTS, "site", "default")
        assert (await world.seen("site-v1")).status.phase == "Live"  # type: ignore[union-attr]
    assert deployed["spec"]["template"]["spec"]["containers"][0]["image"] == BROKEN_IMAGE
    assert await world.seen("site-v3") is None


async def test_a_newer_release_overtakes_one_that_rolls(world: World) -> None:
    app = await world.app()
    async with world.working():
        first = await world.release(app, BROKEN_IMAGE)
        await world.ended(first, "Rolling")
        await world.ended(await world.release(app, GOOD))
        overtaken = await world.ended(first, "Superseded")
    assert "site-v2 came after it" in overtaken.status.message


async def test_going_back_brings_the_configuration_back(world: World) -> None:
    await world.client.create(SECRETS, secret("db", PASSWORD="first"))
    app = await world.app(secrets=["db"], env=[{"name": "COLOR", "value": "green"}])
    async with world.working():
        await world.ended(await world.release(app))
        await world.client.patch(SECRETS, "db", secret("db", PASSWORD="second"), namespace="default")
        app = await world.change(env=[{"name": "COLOR", "value": "blue"}])
        await world.ended(await world.release(app, BETTER))
        name = await rollback(world.client, PRODUCTION, actor="ann")
        live = await world.ended(name)
        pods = await world.cluster.until(
            lambda: world.cluster.all(PODS), lambda found: len(found) == 1, "only the old version"
        )
    frozen = await world.client.get(SECRETS, live.spec.configuration, "default")
    values = {key: base64.b64decode(value) for key, value in frozen["data"].items()}
    assert values == {"PASSWORD": b"first", "COLOR": b"green"} and frozen["immutable"] is True
    container = pods[0]["spec"]["containers"][0]
    assert container["image"] == GOOD
    assert container["envFrom"] == [{"secretRef": {"name": live.spec.configuration}}]
    assert (live.spec.of, live.spec.actor, name) == ("site-v1", "ann", "site-v3")
    assert "first" not in str(await world.client.get(RELEASES, name, "default"))


async def test_going_back_takes_no_host_that_was_given_away(world: World) -> None:
    app = await world.app(domains=["a.example.com", "b.example.com"])
    async with world.working():
        await world.ended(await world.release(app))
        app = await world.change(domains=["a.example.com"])
        await Claimant(world.client).claim(app, ["a.example.com"])
        await world.ended(await world.release(app, BETTER))
        await world.ended(await rollback(world.client, PRODUCTION, to="v1"))
    ingress = await world.client.get(INGRESSES, "site", "default")
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == ["a.example.com"]


@pytest.mark.parametrize(("to", "text"), [("", "no earlier live Release"), ("v9", 'no Release "v9"')])
async def test_going_back_to_nothing_is_refused(world: World, to: str, text: str) -> None:
    app = await world.app()
    await world.release(app)
    with pytest.raises(ReleaseRefused, match=text):
        await rollback(world.client, PRODUCTION, to=to)


async def test_an_image_that_was_removed_is_told_before_anything_changes(world: World) -> None:
    app = await world.app()
    async with world.working():
        await world.ended(await world.release(app, GOOD))
        await world.ended(await world.release(app, BETTER))
    async with world.working(gone=frozenset((GOOD, BETTER))):
        refused = await world.ended(await rollback(world.client, PRODUCTION, to="v1"), "Failed")
        assert refused.status.reason == "Refused"
        assert f"its image {GOOD} is gone from the registry: choose another Release" in refused.status.message
        live = await world.ended("site-v2")
        made = await world.client.get(DEPLOYMENTS, "site", "default")
        assert made["spec"]["template"]["spec"]["containers"][0]["image"] == live.spec.image == BETTER
        app = await world.change(env=[{"name": "A", "value": "1"}])
        await world.ended(await world.release(app, BETTER, reason="config"))


async def test_promotion_takes_the_image_to_the_next_environment(world: World) -> None:
    app = await world.app(
        env=[{"name": "LEVEL", "value": "all"}],
        environments=[
            {"name": "staging", "domains": ["staging.example.com"]},
            {"name": "production", "domains": ["site.example.com"], "env": [{"name": "LEVEL", "value": "prod"}]},
        ],
    )
    staging = Place("default", "site", "staging")
    async with world.working():
        with pytest.raises(ReleaseRefused, match="nothing is live in staging"):
            await promote(world.releases, staging, "production")
        await world.ended(await world.release(app))
        live = await world.ended(await promote(world.releases, staging, "production", actor="ann"))
        again = await promote(world.releases, staging, "production")
        with pytest.raises(ReleaseRefused, match='no environment "moon"'):
            await promote(world.releases, staging, "moon")
    assert (live.metadata.name, live.spec.of, live.spec.reason) == ("site-v1", "site-staging-v1", "promote")
    assert again == "site-v1"
    ingress = await world.client.get(INGRESSES, "site", "default")
    assert ingress["spec"]["rules"][0]["host"] == "site.example.com"
    frozen = await world.client.get(SECRETS, live.spec.configuration, "default")
    assert base64.b64decode(frozen["data"]["LEVEL"]) == b"prod"


async def test_deleted_objects_come_back_and_changed_ones_are_shown(world: World) -> None:
    app = await world.app(domains=["site.example.com"])
    async with world.working():
        name = await world.release(app)
        await world.ended(name)
        before = await world.client.get(DEPLOYMENTS, "site", "default")
        await world.client.delete(DEPLOYMENTS, "site", namespace="default", propagation_policy="Foreground")
        await world.client.delete(INGRESSES, "site", namespace="default")
        await world.cluster.until(
            lambda: world.cluster.get(DEPLOYMENTS, "site"),
            lambda found: found and found["metadata"]["uid"] != before["metadata"]["uid"],
        )
        await world.cluster.rolled_out("site")
        await world.cluster.until(lambda: world.cluster.get(INGRESSES, "site"), bool)
        await world.cluster.change("site", {"spec": {"replicas": 2}})
        drifted = await world.cluster.until(lambda: world.seen(name), lambda one: drift_of(one) != "")
        assert drift_of(drifted) == "Deployment site: spec.replicas"
        deployed = await world.client.get(DEPLOYMENTS, "site", "default")
        assert deployed["spec"]["replicas"] == 2
        app = await world.change(replicas=1, env=[{"name": "A", "value": "1"}])
        after = await world.ended(await world.release(app, reason="config", run="site-1"))
        assert drift_of(after) == ""


async def test_what_a_release_no_longer_has_is_removed(world: World) -> None:
    app = await world.app(domains=["site.example.com"])
    async with world.working():
        await world.ended(await world.release(app))
        app = await world.change(domains=[])
        await world.ended(await world.release(app, reason="config", run="site-1"))
        await world.cluster.until(lambda: world.cluster.get(INGRESSES, "site"), lambda found: found is None)
        assert await world.cluster.get(SERVICES, "site") is not None


async def test_an_object_of_somebody_else_is_left_alone(world: World) -> None:
    await world.cluster.deploy("site")
    app = await world.app()
    async with world.working():
        bad = await world.ended(await world.release(app), "Failed")
        assert await world.cluster.get(SERVICES, "site") is None
    assert bad.status.reason == "Refused" and "Deployment site exists and is not made by an App" in bad.status.message


async def test_history_is_retained_as_wished(world: World) -> None:
    app = await world.app(history={"releases": 2}, env=[{"name": "A", "value": "0"}])
    async with world.working():
        for number in range(1, 5):
            app = await world.change(env=[{"name": "A", "value": str(number)}])
            await world.ended(await world.release(app, f"registry.example.com/site@sha256:{number:064}"))

        async def names() -> set[str]:
            return {raw["metadata"]["name"] for raw in await world.cluster.all(RELEASES)}

        await world.cluster.until(names, lambda found: found == {"site-v3", "site-v4"})
    assert await retained_images(world.client) == {f"sha256:{number:064}" for number in (3, 4)}


async def test_everything_goes_with_the_app(world: World) -> None:
    app = await world.app(domains=["site.example.com"], env=[{"name": "A", "value": "0"}])
    async with world.working():
        await world.ended(await world.release(app))
        await world.client.delete(APPS, "site", namespace="default")
        for resource in (RELEASES, DEPLOYMENTS, SERVICES, INGRESSES, PODS, SECRETS):
            await world.cluster.until(
                lambda kind=resource: world.cluster.all(kind, labels=PRODUCTION.selector),  # type: ignore[misc]
                lambda found: not found,
                f"no {resource.plural}",
            )


async def test_following_tells_the_story(world: World) -> None:
    await world.app(domains=["site.example.com"])
    async with world.working():
        good, bad = [], []
        for image, lines, seconds in ((GOOD, good, 120), (BROKEN_IMAGE, bad, 2)):
            name = await world.release(await world.deadline(seconds), image)
            async for line in follow_release(world.client, SystemClock(), ObjectKey("default", name), url_suffix=":84"):
                lines.append(line)
    assert good[0] == "-----> Releasing v1 to production"
    assert good[-1] == "-----> https://site.example.com:84 is live (v1)"
    assert "       0 of 1 pods ready" in bad
    assert any(line.startswith("-----> v2 failed: Deployment site: 0 of 1 pods") for line in bad)
    assert any(line.startswith("       pod:") for line in bad)


async def test_it_is_live_when_the_front_door_leads_to_its_pods_and_to_no_others(world: World) -> None:
    app = await world.app(domains=["site.example.com"])
    door = Door()

    async def waits(name: str, problem: str) -> None:
        text = f"every pod is ready; waiting for the edge: site.example.com {problem}"
        found = await world.cluster.until(
            lambda: world.seen(name), lambda one: one is not None and one.status.message == text, text
        )
        assert found.status.phase == "Rolling"

    async def pods() -> frozenset[str]:
        found = await world.cluster.all(PODS, labels=PRODUCTION.selector)
        return frozenset(one["status"]["podIP"] for one in found if "deletionTimestamp" not in one["metadata"])

    async with world.working(door, opening_seconds=300):
        first = await world.release(app)
        await waits(first, "leads nowhere")
        before = door.leads_to = await pods()
        assert (await world.ended(first)).status.message == "every pod is ready"
        second = await world.release(app, BETTER)
        await waits(second, "leads to other pods")
        door.leads_to, door.certificates = before | await pods(), False
        await waits(second, "leads to other pods")
        door.leads_to = await pods()
        await waits(second, "has no certificate")
        door.certificates = True
        live = await world.ended(second)
    assert [one.message for one in live.status.conditions if one.type == "Live"] == [""]


async def test_a_front_door_that_does_not_open_is_told_and_others_are_not_waited_for(world: World) -> None:
    door = Door()
    app = await world.app(domains=["site.example.com"])
    async with world.working(door, opening_seconds=0):
        name = await world.release(app)
        said = [line async for line in follow_release(world.client, SystemClock(), ObjectKey("default", name))]
    assert said[-2:] == [
        "-----> https://site.example.com is live (v1)",
        "       the edge has not taken it yet: site.example.com leads nowhere",
    ]
    async with world.working(door, opening_seconds=300):
        door.left.add("site")  # another controller's
        await world.ended(await world.release(app, BETTER))
        door.left.clear()
        door.leads_to = None  # a redirect
        await world.ended(await world.release(app, GOOD))
        door.leads_to = frozenset()
        app = await world.change(replicas=0)
        await world.ended(await world.release(app, BETTER))
        app = await world.change(replicas=1, domains=[])
        await world.ended(await world.release(app, GOOD))


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"secrets": ["none"]}, 'Secret "none" of spec.secrets does not exist'),
        ({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k"}}}]}, 'no Secret "none"'),
        ({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "z"}}}]}, 'has no key "z"'),
        ({"env": [{"name": "A", "valueFrom": {"vault": {}}}]}, "valueFrom knows secretKeyRef"),
    ],
)
async def test_variables_that_cannot_be_had_make_no_release(world: World, spec: Raw, text: str) -> None:
    await world.client.create(
        CONFIG_MAPS,
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "c", "namespace": "default"},
            "data": {"k": "1"},
        },
    )
    with pytest.raises(ReleaseRefused, match=text):
        await world.release(await world.app(**spec))
    assert not await world.cluster.all(RELEASES)


async def test_no_value_of_a_secret_is_told(world: World) -> None:
    await world.client.create(SECRETS, secret("db", PASSWORD="hunter2hunter2"))
    app = await world.app(secrets=["db"], deploy={"progressDeadlineSeconds": 2})
    async with world.working():
        await world.ended(await world.release(app, BROKEN_IMAGE), "Failed")
    told = str([*await world.cluster.all(RELEASES), *await world.cluster.all(EVENTS)])
    assert "hunter2" not in told and base64.b64encode(b"hunter2hunter2").decode() not in told


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        ({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding"}, "may not hold RoleBinding"),
        ({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "kube-system"}}, "not in namespace default"),
        ({"apiVersion": "v1", "kind": "Service", "metadata": {"labels": {}}}, "has not the labels"),
    ],
)
async def test_a_release_made_by_hand_gets_no_more_than_others(world: World, manifest: Raw, text: str) -> None:
    app = await world.app()
    metadata = {"name": "x", "namespace": "default", "labels": PRODUCTION.labels, **manifest.get("metadata", {})}
    spec = {"app": "site", "environment": "production", "number": 1}
    owner = {"apiVersion": "fairway.dev/v1alpha1", "kind": "App", "name": "site", "uid": app.metadata.uid}
    made: Raw = {
        "apiVersion": "fairway.dev/v1alpha1",
        "kind": "Release",
        "metadata": {"name": "site-v1", "namespace": "default", "ownerReferences": [owner]},
        "spec": {**spec, "manifests": [{**manifest, "metadata": metadata}]},
    }
    async with world.working():
        await world.client.create(RELEASES, made)
        bad = await world.ended("site-v1", "Failed")
    assert text in bad.status.message


def drift_of(release: Release) -> str:
    return next((one.message for one in release.status.conditions if one.type == "Drifted"), "")


def secret(name: str, **values: str) -> Raw:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default"},
        "stringData": values,
    }


async def test_frozen_variables_go_when_no_release_needs_them(world: World) -> None:
    app = await world.app(env=[{"name": "A", "value": "0"}], history={"releases": 1})
    first = decode(Release, await world.client.get(RELEASES, await world.release(app), "default"))
    second = decode(Release, await world.client.get(RELEASES, await world.release(app, BETTER), "default"))
    assert first.spec.configuration == second.spec.configuration
    app = await world.change(env=[{"name": "A", "value": "1"}])
    async with world.working():
        await world.ended(await world.release(app))
    row = Row(await releases_of(world.client, PRODUCTION))
    await forget(world.client, PRODUCTION, row, 1, SystemClock().now())
    assert len(await world.cluster.all(SECRETS, labels=PRODUCTION.selector)) == 2, "a young one may still be needed"
    later = SystemClock().now() + timedelta(hours=1)
    await forget(world.client, PRODUCTION, Row(await releases_of(world.client, PRODUCTION)), 1, later)
    (left,) = await world.cluster.all(SECRETS, labels=PRODUCTION.selector)
    (kept,) = await releases_of(world.client, PRODUCTION)
    assert left["metadata"]["name"] == kept.spec.configuration != first.spec.configuration


async def test_variables_that_refer_to_the_pod_stay_with_the_pod(world: World) -> None:
    field = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    app = await world.app(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(IP)"}, field])
    made = decode(Release, await world.client.get(RELEASES, await world.release(app), "default"))
    deployment = next(one for one in made.spec.manifests if one["kind"] == "Deployment")
    assert field in deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    frozen = await world.client.get(SECRETS, made.spec.configuration, "default")
    assert {key: base64.b64decode(value) for key, value in frozen["data"].items()} == {"A": b"1", "B": b"1-$(IP)"}


async def test_an_environment_that_the_app_no_longer_has_goes(world: World) -> None:
    app = await world.app(
        env=[{"name": "A", "value": "1"}],
        environments=[{"name": "staging", "domains": ["staging.example.com"]}, {"name": "production"}],
    )
    async with world.working():
        await world.ended(await world.release(app))
        await world.ended(await world.release(app, environment=1))
        await world.change(environments=[{"name": "production"}])
        for resource in (RELEASES, DEPLOYMENTS, SERVICES, INGRESSES, PODS, SECRETS):
            await world.cluster.until(
                lambda kind=resource: world.cluster.all(kind, labels="fairway.dev/environment=staging"),  # type: ignore[misc]
                lambda found: not found,
                f"no {resource.plural}",
            )
        assert (await world.ended("site-v1")).spec.environment == "production"
    assert await world.cluster.get(DEPLOYMENTS, "site") is not None


def run_of(app: App, number: int, phase: str, *changed: tuple[str, str, str]) -> PipelineRun:
    """A run whose jobs changed these objects by themselves."""
    changes = tuple(Change("production", *one) for one in changed)
    status = PipelineRunStatus(phase=phase, deploys=True, changes=changes, images={"h.io/web:1": GOOD})
    meta = ObjectMeta(name=f"site-{number}", namespace="default")
    return PipelineRun(meta, PipelineRunSpec(app=app.metadata.name, number=number, commit="c" * 40), status)


async def by_a_job(world: World, host: str, image: str = "h.io/web:1") -> tuple[tuple[str, str, str], ...]:
    """What `kubectl apply` of a job leaves behind; what was changed."""
    pod = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": image}]}}
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    rules = [{"host": one, "http": {"paths": paths}} for one in ("site.example.com", host)]
    meta = {"name": "web", "namespace": "default"}
    for resource, spec in (
        (DEPLOYMENTS, {"selector": {"matchLabels": {"app": "web"}}, "template": pod}),
        (SERVICES, {"selector": {"app": "web"}, "ports": [{"port": 80}]}),
        (INGRESSES, {"rules": rules}),
    ):
        made = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, "spec": spec}
        await world.client.apply(resource, made, field_manager="kubectl")
    return (("apps", "deployments", "web"), ("", "services", "web"), ("networking.k8s.io", "ingresses", "web"))


async def test_what_jobs_made_becomes_a_release_that_writes_nothing(world: World) -> None:
    app = await world.app(domains=["site.example.com", "old.example.com"])
    changed = await by_a_job(world, "old.example.com")
    run, environment = run_of(app, 1, "Succeeded", *changed, ("", "secrets", "vault")), environments(app)[0]
    before = (await world.client.get(DEPLOYMENTS, "web", "default"))["metadata"]["generation"]
    async with world.working():
        names = await asyncio.gather(*(adopt(world.releases, app, environment, run) for _ in range(4)))
        assert set(names) == {"site-v1"}
        live = await world.ended("site-v1")
        assert live.spec.image == GOOD and live.spec.images == {"h.io/web:1": GOOD}
        found = await world.client.get(DEPLOYMENTS, "web", "default")
        assert found["metadata"]["generation"] == before
        assert found["metadata"]["ownerReferences"][0]["uid"] == app.metadata.uid
        managers = {one["manager"] for one in found["metadata"]["managedFields"] if not one.get("subresource")}
        assert {"kubectl", "fairway-adoption"} <= managers and "fairway-delivery" not in managers
        app = await world.change(domains=["site.example.com"])
        (wished,) = environments(app)
        assert await reconfigure(world.releases, app, wished, live) == "site-v2"
        await world.ended("site-v2")
        rules = (await world.client.get(INGRESSES, "web", "default"))["spec"]["rules"]
        assert [rule["host"] for rule in rules] == ["site.example.com"]
        newest = (await releases_of(world.client, PRODUCTION))[-1]
        assert await reconfigure(world.releases, app, wished, newest) == "site-v2"


async def test_a_host_that_is_not_the_apps_makes_no_release_of_a_job_live(world: World) -> None:
    app = await world.app(domains=["site.example.com"])
    run = run_of(app, 1, "Succeeded", *await by_a_job(world, "bank.example.com"))
    async with world.working():
        failed = await world.ended(await adopt(world.releases, app, environments(app)[0], run), "Failed")
    assert "bank.example.com is not a domain that the App holds" in failed.status.message
    assert failed.status.reason == "Refused" and "its objects stay as the jobs left them" in failed.status.message
    assert "labels" not in (await world.client.get(SERVICES, "web", "default"))["metadata"]


async def test_what_a_failed_run_deployed_counts_as_failed(world: World) -> None:
    app = await world.app(domains=["site.example.com", "b.example.com"])
    changed = await by_a_job(world, "b.example.com")
    environment = environments(app)[0]
    async with world.working():
        await world.ended(await adopt(world.releases, app, environment, run_of(app, 1, "Succeeded", *changed)))
        await by_a_job(world, "b.example.com", "h.io/web:2")
        bad = await adopt(world.releases, app, environment, run_of(app, 2, "Failed", changed[0]))
        failed = await world.ended(bad, "Failed")
        back = await world.ended("site-v3")
        found = await world.client.get(DEPLOYMENTS, "web", "default")
    assert (failed.status.reason, len(failed.spec.manifests), back.spec.actor) == ("RunFailed", 3, "policy")
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == GOOD
