"""What is to be done for an App, decided from what exists."""

from typing import Any

import msgspec
import pytest

from fairway.delivery.apps.plan import Deploy, Forget, Reconfigure, StartRun, plan
from fairway.delivery.apps.snapshot import Head, Snapshot
from fairway.delivery.apps.status import status
from fairway.delivery.kinds.apps import App, AppSpec, AppStatus, Environment, History, Variable
from fairway.delivery.kinds.apps import Deploy as DeploySpec
from fairway.delivery.kinds.releases import Release, ReleaseSpec, ReleaseStatus
from fairway.delivery.kinds.runs import PipelineRun, PipelineRunSpec, PipelineRunStatus
from fairway.delivery.releases.wishes import wishes
from fairway.kube.api.meta import ObjectMeta
from fairway.toolkit.clock import FakeClock

ONE, TWO = "1" * 40, "2" * 40


def app(generation: int = 1, *, seen: int = 1, released: dict[str, int] | None = None, **spec: Any) -> App:
    return App(
        metadata=ObjectMeta(name="site", namespace="default", generation=generation),
        spec=AppSpec(**spec),
        status=AppStatus(observed_generation=seen, released=released or {}),
    )


def run(number: int, commit: str, phase: str = "Succeeded") -> PipelineRun:
    return PipelineRun(
        metadata=ObjectMeta(name=f"site-{number}"),
        spec=PipelineRunSpec(app="site", number=number, commit=commit),
        status=PipelineRunStatus(phase=phase, image=f"r/site@sha256:{number}"),
    )


def release(
    number: int, of_run: int, phase: str = "Live", *, environment: str = "production", generation: int = 1
) -> Release:
    return Release(
        metadata=ObjectMeta(name=f"site-v{number}"),
        spec=ReleaseSpec(
            app="site", environment=environment, number=number, run=f"site-{of_run}", app_generation=generation
        ),
        status=ReleaseStatus(phase=phase),
    )


def test_a_new_commit_starts_a_run() -> None:
    assert plan(Snapshot(app(), Head(ONE, "first"))) == (StartRun(1, ONE, "first"),)
    assert plan(Snapshot(app(), Head(TWO), runs=(run(4, ONE, "Failed"),))) == (StartRun(5, TWO, ""),)


def test_nothing_is_built_twice_and_nothing_without_a_commit() -> None:
    assert plan(Snapshot(app(), Head(ONE), runs=(run(1, ONE, "Failed"),))) == ()
    assert plan(Snapshot(app(), Head())) == ()
    assert plan(Snapshot(app(), Head(problem="cannot be reached"))) == ()


def test_a_repeated_older_run_starts_nothing_and_a_branch_moved_back_does() -> None:
    runs = (run(1, ONE), run(2, TWO), run(3, ONE))
    moved = app()
    still = msgspec.structs.replace(
        moved, status=AppStatus(observed_generation=1, commit=TWO, released={"production": 3})
    )
    assert plan(Snapshot(still, Head(TWO), runs)) == ()
    back = Snapshot(msgspec.structs.replace(still, status=AppStatus(commit=TWO)), Head(ONE), runs[:2])
    assert plan(back)[0] == StartRun(3, ONE, "")


def test_an_author_can_ask_for_no_run() -> None:
    assert plan(Snapshot(app(), Head(ONE, "typo [skip ci]"))) == ()


def test_a_good_run_is_released_once_where_that_is_automatic() -> None:
    environments = (Environment(name="staging"), Environment(name="production"))
    good = run(2, TWO)
    seen = Snapshot(app(environments=environments), Head(TWO), runs=(run(1, ONE), good))
    (step,) = plan(seen)
    assert isinstance(step, Deploy) and (step.environment.name, step.run) == ("staging", good)
    assert plan(msgspec.structs.replace(seen, releases=(release(1, 2, environment="staging"),))) == ()


def test_a_rollback_is_not_undone_by_the_run_it_went_away_from() -> None:
    releases = (release(1, 1, "Superseded"), release(2, 2, "Superseded"), release(3, 1))
    runs = (run(1, ONE), run(2, TWO))
    assert plan(Snapshot(app(), Head(TWO), runs, releases)) == ()
    assert (
        plan(Snapshot(app(released={"production": 2}), Head(TWO), runs, releases[2:])) == ()
    )  # also when it is long ago


def test_a_failed_run_releases_nothing_and_the_good_one_before_it_stays() -> None:
    runs = (run(1, ONE), run(2, TWO, "Failed"))
    assert plan(Snapshot(app(), Head(TWO), runs, (release(1, 1),))) == ()


def test_a_run_that_made_no_image_releases_nothing() -> None:
    tested = run(2, TWO)
    tested = msgspec.structs.replace(tested, status=PipelineRunStatus(phase="Succeeded"))
    assert plan(Snapshot(app(), Head(TWO), (run(1, ONE), tested), (release(1, 1),))) == ()
    manifests = app(deploy=DeploySpec(mode="manifests"))
    assert isinstance(plan(Snapshot(manifests, Head(TWO), (tested,)))[0], Deploy)


def test_a_changed_wish_is_a_release_of_the_same_image() -> None:
    newest = release(3, 1)
    seen = Snapshot(app(2, seen=1), Head(ONE), (run(1, ONE),), (newest,))
    (step,) = plan(seen)
    assert isinstance(step, Reconfigure) and step.release == newest
    assert plan(msgspec.structs.replace(seen, releases=(release(4, 1, generation=2),))) == ()
    assert plan(msgspec.structs.replace(seen, app=app(2, seen=2))) == ()


def test_a_wish_for_one_environment_moves_no_other() -> None:
    staging, production = Environment(name="staging"), Environment(name="production", automatic=False, replicas=2)
    before = app(environments=(staging, production))
    made = tuple(
        msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, wishes=wishes(before, name)))
        for name, one in (
            ("staging", release(1, 1, environment="staging")),
            ("production", release(1, 1, environment="production")),
        )
    )
    now = app(2, released={"staging": 1}, environments=(staging, msgspec.structs.replace(production, replicas=3)))
    (step,) = plan(Snapshot(now, Head(ONE), runs=(run(1, ONE),), releases=made))
    assert isinstance(step, Reconfigure) and step.environment.name == "production"
    both = app(2, released={"staging": 1}, environments=(staging, production), secrets_revision=1)
    steps = plan(Snapshot(both, Head(ONE), runs=(run(1, ONE),), releases=made))
    assert [type(one) for one in steps] == [Reconfigure, Reconfigure], "new values in a Secret of all environments"


def test_paused_means_no_release_by_itself() -> None:
    paused = DeploySpec(paused=True)
    assert plan(Snapshot(app(2, deploy=paused), Head(ONE), (run(1, ONE),), (release(1, 1),))) == ()
    assert plan(Snapshot(app(deploy=paused), Head(ONE), (run(1, ONE),))) == ()


def test_only_hosts_that_are_held_are_released() -> None:
    wished = app(domains=("a.example", "b.example"))
    seen = Snapshot(wished, Head(ONE), (run(1, ONE),), held=("b.example",), refused={"a.example": "taken"})
    (step,) = plan(seen)
    assert isinstance(step, Deploy) and step.environment.domains == ("b.example",)


def test_a_host_that_was_taken_and_is_free_now_makes_a_release() -> None:
    ingress = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": {"rules": [{"host": "a.example"}]}}
    newest = release(1, 1)
    newest = msgspec.structs.replace(newest, spec=msgspec.structs.replace(newest.spec, manifests=(ingress,)))
    wished = app(domains=("a.example", "b.example"))
    seen = Snapshot(wished, Head(ONE), (run(1, ONE),), (newest,), held=("a.example",), refused={"b.example": "taken"})
    assert plan(seen) == ()
    (step,) = plan(msgspec.structs.replace(seen, held=("a.example", "b.example"), refused={}))
    assert isinstance(step, Reconfigure) and step.environment.domains == ("a.example", "b.example")


def test_old_runs_go_but_never_the_good_one_nor_one_that_works() -> None:
    runs = (run(1, ONE), run(2, TWO, "Running"), *(run(number, TWO, "Failed") for number in range(3, 7)))
    steps = plan(Snapshot(app(history=History(runs=2)), Head(TWO), runs, (release(1, 1),)))
    assert [step.run.spec.number for step in steps if isinstance(step, Forget)] == [3, 4]


def test_the_status_says_where_it_stands() -> None:
    now = FakeClock().now()
    wished = app(domains=("site.example", "bad.example"))
    begun = Snapshot(
        wished, Head(ONE), (run(1, ONE, "Running"),), held=("site.example",), refused={"bad.example": "no"}
    )
    found = status(begun, {}, ":8443", "", now)
    assert (found.phase, found.url, found.last_run) == ("Building", "https://site.example:8443", "site-1")
    assert {one.type: one.status for one in found.conditions}["DomainsReady"] == "False"
    live = msgspec.structs.replace(begun, runs=(run(1, ONE),), releases=(release(1, 1),))
    found = status(live, {}, "", "", now)
    assert (found.phase, dict(found.releases), dict(found.released)) == (
        "Live",
        {"production": "site-v1"},
        {"production": 1},
    )
    failed = msgspec.structs.replace(live, releases=(release(1, 1, "Superseded"), release(2, 1, "Failed")))
    assert status(failed, {}, "", "", now).phase == "Failed"
    refused = status(live, {"Released": "Secret x is missing"}, "", "", now)
    assert (refused.phase, refused.observed_generation) == ("Failed", 1)


JOBS = "jobs of the pipeline made the objects of production (site-v1); set"


@pytest.mark.parametrize(
    ("spec", "newest", "told"),
    [
        ({"replicas": 3}, {}, ""),
        (
            {"replicas": 3, "env": (Variable("A", "1"),), "secrets": ("vault",)},
            {"adopted": True},
            f"spec.replicas: 3: {JOBS} spec.replicas in the manifest that the job applies, and push; "
            f"spec.env: A: {JOBS} them in the manifest that the job applies, and push; "
            f"spec.secrets: vault: {JOBS} them in the manifest that the job applies, and push",
        ),
        (
            {"environments": (Environment(replicas=2),), "deploy": DeploySpec(mode="kustomize", path="k8s")},
            {},
            'spec.environments[0].replicas: 2: spec.deploy.mode kustomize takes the objects from the repository ("k8s")'
            "; set spec.replicas in the manifest there, and push",
        ),
        (
            {"environments": (Environment(env=(Variable("A", "1"),)),), "deploy": DeploySpec(mode="helm")},
            {"configuration": "site-env-1", "manifests": ({"kind": "Service"},)},
            'spec.environments[0].env: A: spec.deploy.mode helm takes the objects from the repository ("."), and none '
            "takes the variables; give the container "
            "`envFrom: [{secretRef: {name: {{ .Values.fairway.configuration }}}}]`, and push",
        ),
        (
            {"env": (Variable("A", "1"),), "deploy": DeploySpec(mode="manifests")},
            {"configuration": "site-env-1", "manifests": ({"spec": {"name": "site-env-1"}},)},
            "",
        ),
    ],
)
def test_wishes_that_reach_nothing_are_named(spec: dict[str, Any], newest: dict[str, Any], told: str) -> None:
    before = release(1, 1)
    before = msgspec.structs.replace(before, spec=msgspec.structs.replace(before.spec, **newest))
    found = status(Snapshot(app(**spec), Head(ONE), (run(1, ONE),), (before,)), {}, "", "", FakeClock().now())
    assert [one.message for one in found.conditions if one.type == "Configured"] == ([told] if told else [])
