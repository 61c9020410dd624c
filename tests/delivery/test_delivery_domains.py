"""Which App has which host."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import controllers_world
import pytest
from delivery_world import delivery_world

from fairway.delivery.domains.claims import Claimant, run_domains
from fairway.delivery.domains.plan import Wish, refusal
from fairway.delivery.kinds.apps import App
from fairway.delivery.kinds.domains import DomainPolicy
from fairway.delivery.kinds.resources import APPS, DOMAIN_POLICIES, DOMAINS
from fairway.kube.api.noun import decode
from fairway.kube.api.resource import INGRESSES, NAMESPACES
from fairway.kube.client.errors import Invalid
from fairway.toolkit.clock import SystemClock

Raw = dict[str, Any]


def policy(name: str = "corp", *suffixes: str, **spec: Any) -> DomainPolicy:
    raw = {"metadata": {"name": name}, "spec": {"suffixes": list(suffixes or ("corp.com",)), **spec}}
    return decode(DomainPolicy, raw)


def judged(host: str, *policies: DomainPolicy) -> str:
    return refusal(Wish(host, "team-a", "shop", "staging"), policies)


@pytest.mark.parametrize(
    ("host", "policies"),
    [
        pytest.param("any.example", (), id="without policies everything goes"),
        pytest.param("shop.corp.com", (policy(),), id="below a suffix"),
        pytest.param("corp.com", (policy(),), id="the suffix itself"),
        pytest.param("*.shop.corp.com", (policy(),), id="a wildcard below it"),
        pytest.param("shop.corp.com", (policy(namespaces=["team-a"]),), id="the right team"),
        pytest.param("shop-1.corp.com", (policy(pattern="[a-z0-9-]+"),), id="as the pattern wants"),
        pytest.param("shop.staging.corp.com", (policy(template="{app}.{environment}.corp.com"),), id="template"),
        pytest.param("other.net", (policy(exclusive=False),), id="uncovered, nothing exclusive"),
        pytest.param(
            "x.team.corp.com",
            (policy(namespaces=["platform"]), policy("team", "team.corp.com", namespaces=["team-a"])),
            id="the longest suffix decides",
        ),
        pytest.param(
            "shop.corp.com",
            (policy("one", namespaces=["team-b"]), policy("two", namespaces=["team-a"])),
            id="of equals one is enough",
        ),
    ],
)
def test_allowed(host: str, policies: tuple[DomainPolicy, ...]) -> None:
    assert judged(host, *policies) == ""


@pytest.mark.parametrize(
    ("host", "policies", "texts"),
    [
        pytest.param("x.net", (policy(),), ("covered by no DomainPolicy", ".corp.com"), id="uncovered"),
        pytest.param("notcorp.com", (policy(),), ("covered by no",), id="an ending is not a suffix"),
        pytest.param(
            "x.corp.com", (policy(namespaces=["b"]),), ("corp", "to namespace b, not team-a"), id="other team"
        ),
        pytest.param("x1.corp.com", (policy(pattern="[a-z]+"),), ('"x1"', "[a-z]+"), id="pattern, anchored"),
        pytest.param(
            "x.corp.com", (policy(pattern="(["),), ("no regular expression",), id="a broken pattern is closed"
        ),
        pytest.param("corp.com", (policy(pattern="[a-z]+"),), ('""',), id="pattern on nothing"),
        pytest.param("a|b.corp.com", (policy(pattern="a|x"),), ("wants what matches",), id="alternatives anchored"),
        pytest.param(
            "shop.corp.com",
            (policy(template="{app}.{environment}.corp.com"),),
            ("shop.staging.corp.com",),
            id="template",
        ),
        pytest.param("www.corp.com", (policy(reserved=["www.corp.com"]),), ("is reserved",), id="reserved"),
        pytest.param(
            "*.corp.com", (policy(reserved=["www.corp.com"]),), ("also cover www",), id="reserved by wildcard"
        ),
        pytest.param(
            "www.corp.com",
            (policy("a", "www.corp.com"), policy("b", "other.com", reserved=["www.corp.com"])),
            ("DomainPolicy b",),
            id="any policy reserves",
        ),
    ],
)
def test_refused(host: str, policies: tuple[DomainPolicy, ...], texts: tuple[str, ...]) -> None:
    found = judged(host, *policies)
    assert all(text in found for text in (host, *texts)), found


@pytest.mark.timeout(20)
def test_a_hostile_pattern_ends_soon() -> None:
    assert judged("a" * 60 + "!.corp.com", policy(pattern="(a+)+")) != ""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[controllers_world.Cluster]:
    async with delivery_world(tmp_path) as made:
        yield made


async def make(world: controllers_world.Cluster, name: str, namespace: str = "default", **spec: Any) -> App:
    raw: Raw = {"apiVersion": APPS.api_version, "kind": "App", "metadata": {"name": name, "namespace": namespace}}
    return decode(App, await world.client.create(APPS, {**raw, "spec": spec}))


async def namespace(world: controllers_world.Cluster, name: str) -> None:
    await world.client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


async def hosts(world: controllers_world.Cluster) -> set[str]:
    return {raw["spec"]["host"] for raw in (await world.client.list(DOMAINS)).items}


async def test_of_many_claims_at_once_one_wins(world: controllers_world.Cluster) -> None:
    apps = [await make(world, f"app-{number}") for number in range(12)]
    claimant = Claimant(world.client)
    found = await asyncio.gather(*(claimant.claim(app, ["site.example.com", "*.example.net"]) for app in apps))
    for host in ("site.example.com", "*.example.net"):
        winners = [app for app, claims in zip(apps, found, strict=True) if host in claims.held]
        assert len(winners) == 1
        losers = [claims.refused[host] for claims in found if host not in claims.held]
        assert all(f"is taken by default/{winners[0].metadata.name}" in text for text in losers)


async def test_who_lost_a_race_between_namespaces_gets_the_host_when_the_winner_lets_go(
    world: controllers_world.Cluster,
) -> None:
    """As the App controller does it: whoever was refused tries again when the host is said to be free."""
    for name in ("team-a", "team-b"):
        await namespace(world, name)
    apps = [await make(world, "shop", name) for name in ("team-a", "team-b")]
    claimants = [Claimant(world.client) for _ in apps]
    freed: asyncio.Queue[str] = asyncio.Queue()
    task = asyncio.create_task(run_domains(world.client, SystemClock(), freed.put_nowait))
    try:
        found = await asyncio.gather(
            *(one.claim(app, ["race.example"]) for one, app in zip(claimants, apps, strict=True))
        )
        won = next(number for number, claims in enumerate(found) if claims.held)
        lost = 1 - won
        assert f"is taken by {apps[won].metadata.namespace}/shop" in found[lost].refused["race.example"]
        await claimants[won].claim(apps[won], [])
        async with asyncio.timeout(60):
            while await freed.get() != "race.example":
                pass
        assert (await claimants[lost].claim(apps[lost], ["race.example"])).held == ("race.example",)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_hosts_that_could_be_taken_for_one_another_are_not(world: controllers_world.Cluster) -> None:
    claimant = Claimant(world.client)
    hosts = [
        "*.example.com",
        "wildcard.example.org",
        "*.example.org",
        "literal-wildcard.example.org",
        "xn--bcher-kva.example",
    ]
    assert (await claimant.claim(await make(world, "one"), hosts)).held == tuple(hosts)
    long = "*." + ".".join(["a" * 62] * 3 + ["b" * 60])
    assert len(long) <= 253 and (await claimant.claim(await make(world, "two"), [long])).held == (long,)
    refused = (await claimant.claim(await make(world, "three"), [long, "192.0.2.7"])).refused
    assert "is taken by default/two" in refused[long] and "is an address" in refused["192.0.2.7"]


@pytest.mark.parametrize(
    "host",
    ["Upper.example", "dot.example.", "bücher.example", "a..b", "-a.example", "*.*.example", "a.*.example", "a" * 64],
)
async def test_a_host_that_is_none_is_refused_where_it_is_written(world: controllers_world.Cluster, host: str) -> None:
    with pytest.raises(Invalid) as caught:
        await make(world, "one", domains=[host])
    assert "spec.domains[0]" in str(caught.value)


async def test_what_is_no_longer_wished_for_is_given_back(world: controllers_world.Cluster) -> None:
    claimant, app = Claimant(world.client), await make(world, "one")
    await claimant.claim(app, ["a.example", "b.example"])
    assert (await claimant.claim(app, ["b.example"])).held == ("b.example",)
    other = await make(world, "two")
    assert (await claimant.claim(other, ["a.example", "b.example"])).held == ("a.example",)


async def test_an_app_of_the_same_name_inherits_nothing(world: controllers_world.Cluster) -> None:
    claimant, first = Claimant(world.client), await make(world, "one")
    await claimant.claim(first, ["a.example"])
    await world.client.delete(APPS, "one", namespace="default")
    second = await make(world, "one")
    assert (await claimant.claim(second, ["a.example"])).held == ("a.example",)
    raw = await world.client.get(DOMAINS, "a.example")
    assert raw["spec"]["appUid"] == second.metadata.uid
    await claimant.release_all(first.metadata.key)
    assert await hosts(world) == {"a.example"}


async def test_hosts_of_apps_that_are_gone_become_free(world: controllers_world.Cluster) -> None:
    claimant = Claimant(world.client)
    await claimant.claim(await make(world, "early"), ["early.example"])
    await world.client.delete(APPS, "early", namespace="default")
    freed: list[str] = []
    task = asyncio.create_task(run_domains(world.client, SystemClock(), freed.append))
    try:
        await world.until(lambda: hosts(world), lambda found: not found, "the sweep at the start")
        await claimant.claim(await make(world, "late"), ["late.example"])
        await claimant.claim(await make(world, "stays"), ["stays.example"])
        await world.client.delete(APPS, "late", namespace="default")
        await world.until(lambda: hosts(world), lambda found: found == {"stays.example"}, "the deletion")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_policy_judges_claims_and_takes_nothing_away(world: controllers_world.Cluster) -> None:
    claimant, app = Claimant(world.client), await make(world, "one")
    await claimant.claim(app, ["a.example"])
    raw: Raw = {"apiVersion": DOMAIN_POLICIES.api_version, "kind": "DomainPolicy", "metadata": {"name": "corp"}}
    await world.client.create(DOMAIN_POLICIES, {**raw, "spec": {"suffixes": ["corp.com"]}})
    claims = await claimant.claim(app, ["a.example", "b.example", "one.corp.com"])
    assert claims.held == ("a.example", "one.corp.com")
    assert "covered by no DomainPolicy; use a host that ends in .corp.com" in claims.refused["b.example"]


async def test_a_wildcard_of_another_team_keeps_others_out(world: controllers_world.Cluster) -> None:
    await namespace(world, "team-a")
    claimant = Claimant(world.client)
    await claimant.claim(await make(world, "shop", "team-a"), ["*.corp.com"])
    mine = await claimant.claim(await make(world, "other", "team-a"), ["x.corp.com"])
    theirs = await claimant.claim(await make(world, "other"), ["y.corp.com"])
    assert mine.held == ("x.corp.com",)
    assert "lies under *.corp.com, which is taken by team-a/shop" in theirs.refused["y.corp.com"]


async def test_an_ingress_of_a_person_elsewhere_is_told(world: controllers_world.Cluster) -> None:
    await namespace(world, "team-a")
    backend = {"service": {"name": "x", "port": {"number": 80}}}
    http = {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}
    ingress: Raw = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "old", "namespace": "team-a"},
        "spec": {"rules": [{"host": "a.example", "http": http}]},
    }
    await world.client.create(INGRESSES, ingress)
    claims = await Claimant(world.client).claim(await make(world, "one"), ["a.example"])
    assert claims.held == ("a.example",) and "Ingress team-a/old" in claims.warnings["a.example"]
