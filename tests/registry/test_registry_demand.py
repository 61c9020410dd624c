"""What Apps need stays in their repositories; the rest goes, from the node too."""

import os
from pathlib import Path
from typing import Any

import controllers_world
from delivery_world import delivery_world

from fairway.kube.api.resource import Resource
from fairway.registry.demand import Demand, demand, read
from fairway.toolkit.content_store import sha256
from fairway.toolkit.oci.reference import Reference, parse

HOST = "registry.fairway.local"
DIGEST = "sha256:" + "a" * 64
ANOTHER = "sha256:" + "b" * 64


def meta(name: str) -> dict[str, str]:
    return {"namespace": "team", "name": name}


def run(number: int, image: str, app: str = "site") -> dict[str, Any]:
    return {"metadata": meta(f"{app}-{number}"), "spec": {"app": app, "number": number}, "status": {"image": image}}


def test_what_releases_pods_and_the_last_run_name_is_needed() -> None:
    template = {"spec": {"template": {"spec": {"containers": [{"image": f"{HOST}/team/site:web"}]}}}}
    found = demand(
        [{"metadata": meta("site")}],
        [{"metadata": meta("site-v1"), "spec": {"image": f"{HOST}/team/site@{DIGEST}", "manifests": [template]}}],
        [run(9, f"{HOST}/team/site@{ANOTHER}"), run(2, f"{HOST}/team/site@sha256:{'c' * 64}"), run(10, "")],
        [{"spec": {"containers": [{"image": f"{HOST}/team/site:mine"}, {"image": "NOT AN IMAGE"}]}}],
    )
    assert found.repositories == {"team/site"}
    assert found.digests == {DIGEST, ANOTHER}
    assert found.tags == {("team/site", "web"), ("team/site", "mine")}


async def test_the_api_is_asked(tmp_path: Path) -> None:
    for name in ("plain", "full"):
        (tmp_path / name).mkdir()
    async with controllers_world.cluster(tmp_path / "plain") as world:
        assert await read(world.client) == Demand(), "where nobody knows of Apps nothing belongs to one"
    async with delivery_world(tmp_path / "full") as world:
        image = f"{HOST}/default/site@{DIGEST}"
        for kind, name, spec in (
            ("App", "site", {"source": {}}),
            ("Release", "site-v1", {"app": "site", "environment": "production", "number": 1, "image": image}),
        ):
            raw = {"apiVersion": "fairway.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
            resource = Resource("fairway.dev", "v1alpha1", f"{kind.lower()}s", kind)
            await world.client.create(resource, {**raw, "metadata": {"name": name, "namespace": "default"}})
        assert await read(world.client) == Demand(frozenset({"default/site"}), frozenset({DIGEST}))


def grow_old(bench: Any, repository: str) -> None:
    for path in (bench.folder / "images/links/registry" / repository).rglob("*"):
        os.utime(path, (1, 1))
    for path in (bench.folder / "images/names").glob("*.json"):
        path.write_text(path.read_text().replace('"since":"2', '"since":"1'))


async def test_in_an_apps_repository_tags_keep_nothing(bench: Any, make: Any) -> None:
    digests = [await bench.push("team/site", f"v{n}", make.Image(str(n))) for n in range(12)]
    other = await bench.push("people/tool", "v1", make.Image("tool"))
    for repository in ("team/site", "people/tool"):
        grow_old(bench, repository)
    young = await bench.push("team/site", "young", make.Image("young"))
    wanted = Demand(
        frozenset({"team/site"}), frozenset(digests[-3:]), frozenset({("team/site", "v2"), ("people/tool", "v9")})
    )
    assert await bench.service().collect(demand=wanted) > 0
    kept = {digests[2], *digests[-3:], young}
    for digest in (*digests, young):
        answer = await bench.ask("GET", f"/v2/team/site/manifests/{digest}")
        assert answer.status == (200 if digest in kept else 404)
        assert (bench.store.find(Reference(HOST, "team/site", None, digest)) is not None) == (digest in kept)
    assert (await bench.ask("GET", "/v2/team/site/tags/list")).json["tags"] == ["v10", "v11", "v2", "v9", "young"]
    assert bench.store.find(parse(f"{HOST}/team/site:v1")) is None
    assert (await bench.ask("GET", f"/v2/people/tool/manifests/{other}")).status == 200
    for n, there in ((1, 404), (2, 200), (11, 200)):
        assert (await bench.ask("GET", f"/v2/team/site/blobs/{sha256(make.Image(str(n)).layer)}")).status == there


async def test_the_repository_of_a_deleted_app_is_emptied(bench: Any, make: Any) -> None:
    digest = await bench.push("team/site", "v1", make.Image("1"))
    grow_old(bench, "team/site")
    await bench.service().collect(demand=Demand(frozenset({"team/site"}), frozenset({digest})))
    assert (await bench.ask("GET", "/v2/team/site/manifests/v1")).status == 200
    await bench.service().collect(demand=Demand())
    assert (await bench.ask("GET", "/v2/team/site/manifests/v1")).status == 404
    assert not bench.store.names.all()


async def test_names_that_never_reached_the_registry_go_too(bench: Any, make: Any) -> None:
    digest = await bench.push("team/site", "v1", make.Image("1"))
    for target in ("lost", "needed"):
        bench.store.record(parse(f"{HOST}/team/site:{target}"), ANOTHER, ANOTHER, "local")
    bench.store.record(parse("docker.io/team/site:lost"), ANOTHER, ANOTHER, "pulled")
    grow_old(bench, "team/site")
    bench.store.record(parse(f"{HOST}/team/site:young"), ANOTHER, ANOTHER, "local")
    wanted = Demand(frozenset({"team/site"}), frozenset({digest}), frozenset({("team/site", "needed")}))
    await bench.service().collect(demand=wanted)
    names = {name.name for name in bench.store.names.all()}
    assert names == {
        *(f"{HOST}/team/site:{tag}" for tag in ("needed", "young", "v1")),
        f"{HOST}/team/site@{digest}",
        "docker.io/team/site:lost",
    }


async def test_a_sweep_in_the_middle_of_a_push_loses_nothing(bench: Any, make: Any) -> None:
    image, wanted = make.Image("1"), Demand(frozenset({"team/site"}))
    await bench.push("team/site", "old", image)
    grow_old(bench, "team/site")
    for data in (image.layer, image.config):  # as pushing again begins: is it there?
        assert (await bench.ask("HEAD", f"/v2/team/site/blobs/{sha256(data)}")).status == 200
    await bench.service().collect(demand=wanted)
    pushed = await bench.put("team/site", "new", image.manifest)
    assert pushed.status == 201, pushed.body
    await bench.service().collect(demand=wanted)
    assert (await bench.ask("GET", f"/v2/team/site/blobs/{sha256(image.layer)}")).body == image.layer
