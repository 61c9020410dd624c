"""Tokens of pods: asked for once, renewed in time, kept while the API refuses."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fairway.engine.apiserver import ApiServer, Config
from fairway.engine.kubelet.volumes import Tokens
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import PODS, SERVICE_ACCOUNTS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.toolkit.clock import FakeClock
from fairway.toolkit.http_client import HttpClient, unix_connector


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
