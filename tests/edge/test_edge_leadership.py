"""Several edges on one cluster, with a real API: one writes, and another takes over; and what is told late."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fairway.edge.ir import Problem
from fairway.edge.leadership import Leadership
from fairway.edge.patience import ISSUING_SECONDS, Patience
from fairway.engine.apiserver import ApiServer, Config
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.resource import LEASES
from fairway.kube.client.client import ApiClient
from fairway.toolkit.clock import FakeClock
from fairway.toolkit.http_client import HttpClient, unix_connector


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[ApiClient]:
    api = ApiServer(Config(state_dir=None, unix_socket=tmp_path / "api.sock", kubelet_socket=tmp_path / "none"))
    await api.start()
    async with HttpClient(unix_connector(tmp_path / "api.sock"), host_header="localhost") as http:
        yield ApiClient(http)
    await api.stop()


def one(client: ApiClient, clock: FakeClock, identity: str) -> Leadership:
    return Leadership(client, clock, namespace="default", name="edge", identity=identity)


async def turn(clock: FakeClock, *asked: Leadership) -> list[bool]:
    """Each asks once, as `run` does; who holds the Lease."""
    return [await one._hold() for one in asked]


async def test_one_leads_and_the_next_takes_over_when_its_time_is_up(client: ApiClient) -> None:
    clock = FakeClock()
    a, b = one(client, clock, "a"), one(client, clock, "b")
    assert await turn(clock, a, b) == [True, False]
    await clock.advance(14)
    assert await turn(clock, b) == [False]
    assert await turn(clock, a, b) == [True, False]  # renewed: the time begins anew
    await clock.advance(14)
    assert await turn(clock, b) == [False]
    await clock.advance(2)
    assert await turn(clock, b, a) == [True, False]
    spec = (await client.get(LEASES, "edge", "default"))["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("b", 1)


async def test_the_same_edge_leads_at_once_after_a_restart(client: ApiClient) -> None:
    clock = FakeClock()
    assert await turn(clock, one(client, clock, "a"), one(client, clock, "a")) == [True, True]


async def test_it_tells_when_it_leads_and_stops_when_it_cannot_renew(client: ApiClient) -> None:
    clock, gained = FakeClock(), asyncio.Event()
    edge = one(client, clock, "a")
    assert not edge.leads
    task = asyncio.create_task(edge.run(gained.set))
    await asyncio.wait_for(gained.wait(), 60)
    assert edge.leads
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await clock.advance(15)
    assert not edge.leads


def test_a_secret_that_is_being_made_is_no_problem_yet() -> None:
    secret = Problem(ObjectKey("default", "a"), "SecretNotFound", "Secret default/a does not exist")
    service = Problem(ObjectKey("default", "a"), "ServiceNotFound", "Service default/a does not exist")
    patience = Patience()
    assert patience.ripe((secret, service), 10.0) == ((service,), ISSUING_SECONDS)
    assert patience.ripe((service,), 11.0) == ((service,), None)
    assert patience.ripe((secret,), 12.0) == ((), ISSUING_SECONDS)  # it went and came: its time begins anew
    assert patience.ripe((secret,), 13.0) == ((), ISSUING_SECONDS - 1)
    assert patience.ripe((secret,), 12.0 + ISSUING_SECONDS) == ((secret,), None)
