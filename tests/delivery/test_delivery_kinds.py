"""The kinds of fairway.dev, as the API serves them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import controllers_world
import pytest
from delivery_world import delivery_world

from fairway.delivery.kinds.apps import App, environments, object_name
from fairway.delivery.kinds.resources import APPS, DOMAINS, PIPELINE_RUNS, RELEASES
from fairway.kube.api.noun import decode
from fairway.kube.client.errors import AlreadyExists, Invalid

Raw = dict[str, Any]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[controllers_world.Cluster]:
    async with delivery_world(tmp_path) as made:
        yield made


def app(name: str = "site", **spec: Any) -> Raw:
    return {
        "apiVersion": "fairway.dev/v1alpha1",
        "kind": "App",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


async def test_an_empty_app_gets_its_defaults(world: controllers_world.Cluster) -> None:
    made = decode(App, await world.client.create(APPS, app()))
    assert (made.spec.source.branch, made.spec.replicas, made.spec.deploy.on_failure) == ("main", 1, "rollback")


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"domains": ["Site.example.com"]}, "spec.domains[0]"),
        ({"domains": ["a b"]}, "spec.domains[0]"),
        ({"source": {"repository": "file:///etc"}}, "spec.source.repository"),
        ({"source": {"repository": "https://user:secret@host/x.git"}}, "spec.source.repository"),
        ({"source": {"repository": "--upload-pack=x"}}, "spec.source.repository"),
        ({"source": {"branch": "-x"}}, "spec.source.branch"),
        ({"source": {"path": "../x"}}, "spec.source.path"),
        ({"source": {"path": "/etc"}}, "spec.source.path"),
        ({"replicas": -1}, "spec.replicas"),
        ({"env": [{"name": "1=2"}]}, "spec.env[0].name"),
        ({"environments": [{"name": "a"}, {"name": "a"}]}, "spec.environments"),
        ({"build": {"strategy": "guess"}}, "spec.build.strategy"),
    ],
)
async def test_a_mistake_names_its_field(world: controllers_world.Cluster, spec: Raw, named: str) -> None:
    with pytest.raises(Invalid) as refused:
        await world.client.create(APPS, app(**spec))
    assert named in str(refused.value)


async def test_a_release_and_a_run_never_change(world: controllers_world.Cluster) -> None:
    release: Raw = {"app": "site", "environment": "production", "number": 1, "image": "a@sha256:1"}
    meta = {"name": "site-v1", "namespace": "default"}
    raw: Raw = {"apiVersion": "fairway.dev/v1alpha1", "kind": "Release", "metadata": meta, "spec": release}
    await world.client.create(RELEASES, raw)
    with pytest.raises(Invalid, match="never changes"):
        await world.client.patch(RELEASES, "site-v1", {"spec": {"image": "b"}}, namespace="default")
    run: Raw = {"app": "site", "number": 1, "commit": "a" * 40}
    raw = {"apiVersion": "fairway.dev/v1alpha1", "kind": "PipelineRun", "metadata": {"name": "site-1"}, "spec": run}
    await world.client.create(PIPELINE_RUNS, raw, namespace="default")
    await world.client.patch(PIPELINE_RUNS, "site-1", {"spec": {"cancelled": True}}, namespace="default")
    with pytest.raises(Invalid, match="stays cancelled"):
        await world.client.patch(PIPELINE_RUNS, "site-1", {"spec": {"cancelled": False}}, namespace="default")


async def test_of_two_claims_one_wins(world: controllers_world.Cluster) -> None:
    def claim(app_name: str) -> Raw:
        spec = {"host": "site.example.com", "namespace": "default", "app": app_name, "appUid": app_name}
        meta = {"name": "site.example.com"}
        return {"apiVersion": "fairway.dev/v1alpha1", "kind": "Domain", "metadata": meta, "spec": spec}

    await world.client.create(DOMAINS, claim("one"))
    with pytest.raises(AlreadyExists):
        await world.client.create(DOMAINS, claim("two"))


def test_environments_inherit_what_the_app_says() -> None:
    raw = app(
        domains=["site.example.com"],
        env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        environments=[{"name": "staging", "env": [{"name": "A", "value": "9"}]}, {"name": "production", "replicas": 3}],
    )
    staging, production = environments(decode(App, raw))
    assert staging.domains == ("site.example.com",) and staging.automatic and not production.automatic
    assert {one.name: one.value for one in staging.env} == {"A": "9", "B": "2"}
    assert (production.replicas, [one.name for one in production.env]) == (3, ["A", "B"])
    assert (object_name("site", "staging"), object_name("site", "production")) == ("site-staging", "site")


def test_an_app_without_environments_is_in_production() -> None:
    (only,) = environments(decode(App, app(domains=["a.example"], replicas=2)))
    assert (only.name, only.domains, only.replicas, only.automatic) == ("production", ("a.example",), 2, True)
