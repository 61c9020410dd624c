"""Tokens of pods: asked for once, renewed in time, kept while the API refuses."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import kubelet_world
import pytest

from fairway.engine.apiserver import ApiServer, Config
from fairway.engine.kubelet.volumes import Tokens
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import PODS, SERVICE_ACCOUNTS, Resource
from fairway.kube.client.client import ApiClient, PatchType
from fairway.kube.client.errors import NotFound
from fairway.toolkit.clock import FakeClock, SystemClock
from fairway.toolkit.http_client import HttpClient, unix_connector

TOKEN_REVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False)


class World:
    def __init__(self, client: ApiClient, clock: FakeClock) -> None:
        self.client = client
        self.clock = clock
        self.tokens = Tokens(client, clock)

    async def pod(self) -> Pod:
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"containers": [{"name": "app", "image": "app"}]},
        }
        return decode(Pod, await self.client.create(PODS, body))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    path, clock = tmp_path / "api.sock", FakeClock()
    server = ApiServer(Config(state_dir=None, unix_socket=path, kubelet_socket=tmp_path / "none"), clock=clock)
    await server.start()
    async with HttpClient(unix_connector(path), host_header="localhost") as http:
        yield World(ApiClient(http), clock)
    await server.stop()


async def test_a_token_lasts_until_most_of_its_time_has_passed(world: World) -> None:
    pod = await world.pod()
    (volume,) = pod.spec.volumes
    assert world.tokens.stale_in(pod) == 0
    first = await world.tokens.of(pod, volume)
    assert list(first) == ["token"]
    assert world.tokens.stale_in(pod) == pytest.approx(3607 * 0.8, abs=1)
    assert await world.tokens.of(pod, volume) == first
    await world.clock.advance(3000)
    assert world.tokens.stale_in(pod) == 0
    assert await world.tokens.of(pod, volume) != first


async def test_a_refused_renewal_keeps_the_token_for_as_long_as_it_is_good(world: World) -> None:
    pod = await world.pod()
    (volume,) = pod.spec.volumes
    first = await world.tokens.of(pod, volume)
    await world.client.delete(SERVICE_ACCOUNTS, "default", namespace="default")
    await world.clock.advance(3000)
    assert await world.tokens.of(pod, volume) == first
    assert world.tokens.stale_in(pod) == pytest.approx(60)
    await world.clock.advance(700)
    with pytest.raises(NotFound):
        await world.tokens.of(pod, volume)
    assert world.tokens.stale_in(pod) == pytest.approx(60)


async def test_a_pod_without_tokens_is_never_stale(world: World) -> None:
    assert world.tokens.stale_in(decode(Pod, {"spec": {"volumes": [{"name": "x", "emptyDir": {}}]}})) is None


class JumpingClock(SystemClock):
    """The kubelet's; the API server's stays as it is."""

    offset = timedelta()

    def now(self) -> datetime:
        return super().now() + self.offset


async def test_a_kubelet_replaces_the_token_of_a_running_pod_before_it_ends(tmp_path: Path) -> None:
    async with kubelet_world.api(tmp_path) as client:
        world, clock = kubelet_world.World(client, tmp_path), JumpingClock()
        source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}
        volume = {"name": "v", "projected": {"sources": [source]}}
        mounts = [{"name": "v", "mountPath": "/v"}]
        async with world.kubelet(clock):
            await world.create(containers=[{"name": "app", "image": "app", "volumeMounts": mounts}], volumes=[volume])
            pod = await world.until(kubelet_world.ready)
            file = world.config.pod_dir(pod["metadata"]["uid"]) / "volumes/v/token"
            first, looks = file.read_text(), 0
            for offset in (400, 490):
                clock.offset = timedelta(seconds=offset)
                async with asyncio.timeout(kubelet_world.SECONDS):
                    while file.read_text() == first and (offset == 490 or looks < 5):
                        looks += 1  # any change of the pod makes the kubelet look, as its own timer would
                        patch = {"metadata": {"labels": {"look": str(looks)}}}
                        await client.patch(PODS, "web", patch, namespace="default", type=PatchType.MERGE)
                        await asyncio.sleep(0.1)
                assert (file.read_text() == first) is (offset == 400)
            for token in (first, file.read_text()):
                body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
                assert (await client.create(TOKEN_REVIEWS, body))["status"]["authenticated"]
