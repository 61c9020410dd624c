"""Not one failed request, whatever changes: keep-alive clients and TLS clients while everything moves."""

import asyncio
from typing import Any

import pytest

from fairway.edge.plan import AddServer, Reload, RuntimeCommands

REQUEST = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"


class Load:
    """Clients that ask one request after the other, on connections that they keep while HAProxy lets them."""

    def __init__(self, edge: Any, exchange: Any) -> None:
        self._edge = edge
        self._exchange = exchange
        self.answers: list[int] = []
        self.failures: list[str] = []
        self._stop = asyncio.Event()

    async def client(self, server_name: str | None, pause_seconds: float) -> None:
        reader = writer = None
        while not self._stop.is_set():
            if writer is None:
                reader, writer = await self._edge.connect(server_name)
            try:
                answer = await self._exchange(reader, writer, REQUEST)
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                self.failures.append(repr(error))
                writer = None
                continue
            self.answers.append(answer.status)
            if answer.headers.get("connection") == "close":
                writer.close()
                writer = None
            await asyncio.sleep(pause_seconds)
        if writer is not None:
            writer.close()

    async def __aenter__(self) -> "Load":
        self._tasks = [asyncio.create_task(self.client(None, 0.001)) for _ in range(4)]
        self._tasks += [asyncio.create_task(self.client(None, 0.05)) for _ in range(20)]
        self._tasks += [asyncio.create_task(self.client("a.test", 0.03)) for _ in range(6)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def more(self, count: int = 30) -> None:
        """Wait until that many more requests were answered."""
        goal = len(self.answers) + len(self.failures) + count
        while len(self.answers) + len(self.failures) < goal:
            await asyncio.sleep(0.002)


@pytest.fixture
def site(make: Any) -> Any:
    tls = make.secret("a", "a.test")
    rules = ("a.test", "/", "Prefix", "web")

    def site(*addresses: Any) -> list[Any]:
        return [
            make.ingress("a", rules, tls={"a": ["a.test"]}, annotations={"ssl-redirect": "false"}),
            tls,
            *make.service("web", *addresses),
        ]

    return site


async def test_pods_replaced_and_killed_abruptly(edge: Any, make: Any, pods: Any, site: Any) -> None:
    old = [pods("p0"), pods("p1")]
    addresses = [await pod.start() for pod in old]
    await edge.apply(site(*addresses))
    async with Load(edge, make.exchange) as load:
        for number in range(12):
            fresh = pods(f"p{number + 2}")
            addresses = [*addresses[1:], await fresh.start()]
            step = await edge.apply(site(*addresses))
            assert isinstance(step, RuntimeCommands)
            await load.more()
            await old[0].kill()
            old = [*old[1:], fresh]
    assert (load.failures, set(load.answers)) == ([], {200})


async def test_a_pod_that_dies_before_anybody_knows(edge: Any, make: Any, pods: Any, site: Any) -> None:
    alive, dying = pods("alive"), pods("dying")
    await edge.apply(site(await alive.start(), await dying.start()))
    async with Load(edge, make.exchange) as load:
        await load.more()
        await dying.kill()
        await load.more(200)
    assert dying.requests > 0
    assert (load.failures, set(load.answers)) == ([], {200})


async def test_reloads_routes_and_certificates(edge: Any, make: Any, pods: Any, site: Any) -> None:
    address = await pods("web").start()
    await edge.apply(site(address))
    async with Load(edge, make.exchange) as load:
        for number in range(6):
            host = f"new{number}.test"
            named = {"upstream-vhost": f"v{number}.internal"}
            new = make.ingress("new", (host, "/", "Prefix", "web"), annotations=named, tls={"n": [host]})
            step = await edge.apply([*site(address), new, make.secret("n", host, serial=number + 1)])
            assert isinstance(step, Reload)
            assert (await edge.get(f"https://{host}/")).status == 200
            await load.more()
        for number in range(20):
            host = f"more{number}.test"
            new = make.ingress("new", (host, "/", "Prefix", "web"), tls={"n": [host]})
            step = await edge.apply([*site(address), new, make.secret("n", host, serial=number + 1)])
            assert isinstance(step, RuntimeCommands)
            assert (await edge.get(f"https://{host}/")).status == 200
            await load.more(5)
    assert (load.failures, set(load.answers)) == ([], {200})


async def test_a_pool_that_runs_out_and_slots_that_run_out(edge: Any, make: Any, pods: Any, site: Any) -> None:
    addresses = [await pods(f"p{number}").start() for number in range(6)]
    await edge.apply(site(addresses[0]))
    async with Load(edge, make.exchange) as load:
        step = await edge.apply(site(*addresses))
        assert isinstance(step, RuntimeCommands)
        assert [type(command) for command in step.commands].count(AddServer) == 2
        raws = []
        for number in range(70):
            raws.append(make.ingress(f"i{number}", (f"i{number}.test", "/", "Prefix", f"s{number}")))
            raws += make.service(f"s{number}", addresses[number % 6])
        step = await edge.apply([*site(*addresses), *raws])
        assert isinstance(step, Reload)
        await load.more()
        assert [(await edge.get(f"i{number}.test/")).status for number in (0, 33, 69)] == [200, 200, 200]
    assert (load.failures, set(load.answers)) == ([], {200})
