"""`/metrics`: what was asked and answered, in Prometheus' words, with few enough series."""

import re
from typing import Any

MAPS = "/api/v1/namespaces/default/configmaps"


async def scrape(api: Any, path: str = "/metrics") -> dict[str, float]:
    answer = await api.call("GET", path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parse(answer.body.decode())


def parse(text: str) -> dict[str, float]:
    """Samples by name and labels; every family is announced before its samples, and none twice."""
    found: dict[str, float] = {}
    family = ""
    announced: set[str] = set()
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            family = line.split()[2]
            assert family not in announced
            announced.add(family)
        elif not line.startswith("#"):
            sample, _, value = line.rpartition(" ")
            assert re.fullmatch(rf"{family}(_bucket|_sum|_count)?(\{{.*\}})?", sample.strip()), line
            assert sample.strip() not in found
            found[sample.strip()] = float(value)
    return found


def requests(**labels: str) -> str:
    base = {
        "dry_run": "",
        "group": "",
        "resource": "configmaps",
        "scope": "resource",
        "subresource": "",
        "version": "v1",
    }
    every = {"component": "apiserver", **base, **labels}
    code = every.pop("code")
    return (
        "apiserver_request_total{" + ",".join([f'code="{code}"', *(f'{k}="{every[k]}"' for k in sorted(every))]) + "}"
    )


async def test_requests_are_counted(api: Any) -> None:
    await api.create(MAPS, {"metadata": {"name": "a"}})
    await api.create(f"{MAPS}?dryRun=All", {"metadata": {"name": "b"}})
    for _ in range(3):
        await api.get(f"{MAPS}/a")
    assert (await api.call("GET", f"{MAPS}/missing")).status == 404
    await api.patch(f"{MAPS}/a", {"data": {"a": "b"}})
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"c": "d"}}
    assert (await api.call("PATCH", f"{MAPS}/a?fieldManager=m", body, "application/apply-patch+yaml")).status == 200
    await api.get("/api/v1/configmaps")
    found = await scrape(api)
    assert found[requests(code="201", verb="POST", scope="namespace")] == 1
    assert found[requests(code="201", verb="POST", scope="namespace", dry_run="All")] == 1
    assert found[requests(code="200", verb="GET")] == 3
    assert found[requests(code="404", verb="GET")] == 1
    assert found[requests(code="200", verb="PATCH")] == found[requests(code="200", verb="APPLY")] == 1
    assert found[requests(code="200", verb="LIST", scope="cluster")] == 1
    durations = {
        name: value for name, value in found.items() if name.startswith("apiserver_request_duration_seconds_count")
    }
    assert sum(durations.values()) == sum(value for name, value in found.items() if "request_total" in name)


async def test_buckets_are_cumulated(api: Any) -> None:
    for _ in range(5):
        await api.get("/api/v1/namespaces")
    found = await scrape(api)
    buckets = [
        value for name, value in found.items() if "duration_seconds_bucket" in name and 'resource="namespaces"' in name
    ]
    assert buckets == sorted(buckets) and buckets[-1] == 5


async def test_watches_are_counted_while_they_last(api: Any) -> None:
    await api.create(MAPS, {"metadata": {"name": "first"}})
    watching = await api.watch(f"{MAPS}?watch=1")
    await watching.next()
    watchers = 'apiserver_registered_watchers{group="",kind="ConfigMap",version="v1"}'
    assert (await scrape(api))[watchers] == 1
    await api.create(MAPS, {"metadata": {"name": "a"}})
    await watching.names(1)


async def test_objects_process_and_release(api: Any) -> None:
    before = (await scrape(api)).get('apiserver_storage_objects{resource="configmaps"}', 0)
    await api.create(MAPS, {"metadata": {"name": "a"}})
    found = await scrape(api)
    assert found['apiserver_storage_objects{resource="configmaps"}'] == before + 1
    assert found['apiserver_storage_objects{resource="clusterroles.rbac.authorization.k8s.io"}'] > 10
    assert found["process_resident_memory_bytes"] > 1e6 and found["process_open_fds"] > 3
    assert found["process_cpu_seconds_total"] > 0 and found["process_start_time_seconds"] > 1e9
    assert any(name.startswith('kubernetes_build_info{major="1"') for name in found)
    assert found['apiserver_current_inflight_requests{request_kind="mutating"}'] == 0


async def test_clients_cannot_make_series(api: Any) -> None:
    for number in range(50):
        await api.call("GET", f"/apis/g{number}/v1/things")
        await api.call("GET", f"/nothing/{number}")
        await api.call("GET", f"{MAPS}/a/sub{number}")
        await api.call(f"M{number}", MAPS)
        await api.call("POST", f"{MAPS}?dryRun=x{number}", {})
    names = [name for name in await scrape(api) if name.startswith("apiserver_request_total")]
    assert len(names) < 10


async def test_health_checks_as_metrics(api: Any) -> None:
    found = await scrape(api, "/metrics/slis")
    assert found['kubernetes_healthcheck{name="ping",type="livez"}'] == 1
    assert found['kubernetes_healthcheck{name="start",type="readyz"}'] == 1
    assert (await api.call("GET", "/metrics/nothing")).status == 404
