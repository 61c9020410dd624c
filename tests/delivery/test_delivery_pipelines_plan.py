"""Decisions of the loop over runs: which step begins, what fails, who waits."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from fairway.delivery.kinds.runs import PipelineRun, PipelineRunSpec, PipelineRunStatus, Step
from fairway.delivery.pipelines.ir import Job, Make, Pipeline
from fairway.delivery.pipelines.masking import Masker, forms
from fairway.delivery.pipelines.names import job_name
from fairway.delivery.pipelines.plan import Action, Decision, Facts, Start, Stop, Work, decide
from fairway.delivery.pipelines.queue import admitted, position, superseded
from fairway.delivery.pipelines.snapshot import JobSeen, see_job
from fairway.delivery.pipelines.tokens import Claim, Tokens
from fairway.kube.api import jobs as kube
from fairway.kube.api.meta import ObjectKey, ObjectMeta
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BUILD = Job("build", "build", image="x", script=("x",))
TEST = Job("test", "test", image="x", script=("x",), needs=("build",))
IMAGE = Job("image", "image", needs=("build", "test"), make=Make("static"))
PIPELINE = Pipeline("file", "why", (BUILD, TEST, IMAGE))


def seen(step: str, phase: str, attempt: int = 1, **more: object) -> JobSeen:
    ended = NOW if phase in ("Succeeded", "Failed") else None
    return JobSeen(job_name("site-1", step, attempt), attempt, phase, NOW, ended, **more)  # type: ignore[arg-type]


def decided(
    *jobs: tuple[str, JobSeen], pipeline: Pipeline = PIPELINE, before: tuple[Step, ...] = (), retries: int = 0
) -> Decision:
    return decide(Facts("site-1", pipeline, before, dict(jobs), retries, NOW + timedelta(seconds=5)))


def started(*steps: str, attempt: int = 1) -> tuple[Action, ...]:
    return tuple(Start(step, attempt, job_name("site-1", step, attempt)) for step in steps)


def phases(decision: Decision) -> list[str]:
    return [step.phase for step in decision.steps]


@pytest.mark.parametrize(
    ("jobs", "actions", "wanted"),
    [
        ({}, started("build"), ["Pending", "Pending", "Pending"]),
        ({"build": seen("build", "Running")}, (), ["Running", "Pending", "Pending"]),
        ({"build": seen("build", "Succeeded")}, started("test"), ["Succeeded", "Pending", "Pending"]),
        (
            {"build": seen("build", "Succeeded"), "test": seen("test", "Succeeded")},
            (Work("image"),),
            ["Succeeded", "Succeeded", "Running"],
        ),
        ({"build": seen("build", "Failed", message="no")}, (), ["Failed", "Skipped", "Skipped"]),
    ],
)
def test_steps_begin_when_what_they_need_is_there(
    jobs: dict[str, JobSeen], actions: tuple[Action, ...], wanted: list[str]
) -> None:
    decision = decided(*jobs.items())
    assert (decision.actions, phases(decision)) == (actions, wanted)


def test_deciding_again_on_the_same_facts_changes_nothing() -> None:
    first = decided(("build", seen("build", "Running")))
    assert decided(("build", seen("build", "Running")), before=first.steps).steps == first.steps


def test_a_job_that_no_cache_shows_yet_is_the_same_attempt() -> None:
    first = decided()
    assert decided(before=first.steps).actions == first.actions == started("build")


def test_a_step_that_was_interrupted_is_done_again() -> None:
    jobs = (("build", seen("build", "Succeeded")), ("test", seen("test", "Succeeded")))
    first = decided(*jobs)
    again = decided(*jobs, before=first.steps)
    assert again.actions == (Work("image"),) and again.steps == first.steps


def test_attempts_are_counted_by_the_jobs_that_are_there() -> None:
    failed = ("build", seen("build", "Failed", message="no"))
    first = decided(failed, retries=1)
    assert first.actions == started("build", attempt=2) and not first.outcome
    assert decided(failed, retries=1, before=first.steps).actions == first.actions
    last = decided(("build", seen("build", "Failed", 2, message="no")), retries=1, before=first.steps)
    assert (last.outcome, last.message) == ("Failed", "build: no")


def test_a_script_that_never_ran_gets_one_more_try() -> None:
    first = decided(("build", seen("build", "Failed", unstarted=True, message="no cgroup")))
    assert first.actions == started("build", attempt=2)
    last = decided(("build", seen("build", "Failed", 2, unstarted=True, message="no cgroup")), before=first.steps)
    assert (last.outcome, last.message) == ("Failed", "build: no cgroup")


def test_a_step_that_ended_stays_as_it_ended() -> None:
    ended = decided(("build", seen("build", "Failed", message="no"))).steps
    assert decided(("build", seen("build", "Running")), before=ended).steps == ended
    assert decided(before=ended).steps == ended


def test_what_may_fail_does_not_stop_the_rest() -> None:
    pipeline = Pipeline("file", "why", (replace(BUILD, allow_failure=True), TEST))
    decision = decided(("build", seen("build", "Failed")), pipeline=pipeline)
    assert decision.actions == started("test")
    done = decided(("build", seen("build", "Failed")), ("test", seen("test", "Succeeded")), pipeline=pipeline)
    assert done.outcome == "Succeeded"
    by_code = Pipeline("file", "why", (replace(BUILD, allowed_exit_codes=(3,)), TEST))
    assert decided(("build", seen("build", "Failed", exit_code=3)), pipeline=by_code).actions == started("test")
    assert decided(("build", seen("build", "Failed", exit_code=4)), pipeline=by_code).outcome == "Failed"


def test_when_decides_after_a_failure() -> None:
    notify = Job("notify", "after", script=("x",), needs=("build",), when="on_failure")
    clean = Job("clean", "after", script=("x",), needs=("build",), when="always")
    ask = Job("ask", "after", script=("x",), needs=("build",), when="manual", allow_failure=True)
    pipeline = Pipeline("file", "why", (BUILD, notify, clean, ask))
    bad = decided(("build", seen("build", "Failed")), pipeline=pipeline)
    assert bad.actions == started("notify", "clean") and phases(bad)[3] == "Skipped"
    good = decided(("build", seen("build", "Succeeded")), pipeline=pipeline)
    assert good.actions == started("clean") and phases(good)[1] == "Skipped"


def test_two_jobs_run_at_once() -> None:
    pipeline = Pipeline("file", "why", tuple(replace(BUILD, name=name) for name in "abc"))
    assert decided(pipeline=pipeline).actions == started("a", "b")
    assert decided(("a", seen("a", "Succeeded")), ("b", seen("b", "Running")), pipeline=pipeline).actions == started(
        "c"
    )


def test_a_job_whose_image_cannot_be_had_fails_after_a_while() -> None:
    stuck = ("build", seen("build", "Pending", stuck="image x: ErrImagePull"))
    early = decide(Facts("site-1", PIPELINE, (), dict([stuck]), 0, NOW + timedelta(seconds=5)))
    assert phases(early)[0] == "Pending" and early.steps[0].message == "image x: ErrImagePull"
    late = decide(Facts("site-1", PIPELINE, early.steps, dict([stuck]), 0, NOW + timedelta(seconds=60)))
    assert late.outcome == "Failed" and late.actions == (Stop("site-1-build"),)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ", "spec.build.disk allows"),
        ('Container upload exceeded its local ephemeral storage limit "1Gi". ', "spec.build.disk allows"),
        ('Usage of EmptyDir volume "workspace" exceeds the limit "8Gi". ', "more into the workspace than it may"),
        ("The node was low on resource: memory. ", "its machine ran short and ended it"),
    ],
)
def test_a_pod_that_its_node_ended_says_why(said: str, told: str) -> None:
    """Not that its script was killed, which tells nobody what to do."""
    job = decode(kube.Job, {"status": {"conditions": [{"type": "Failed", "status": "True"}]}})
    killed = {"name": "script", "state": {"terminated": {"exitCode": 137, "reason": "Error"}}}
    status = {"phase": "Failed", "reason": "Evicted", "message": said, "initContainerStatuses": [killed]}
    message = see_job(job, decode(Pod, {"status": status})).message
    assert told in message and message.endswith(said.strip())


def run(app: str, number: int, phase: str = "", *, cancelled: bool = False) -> PipelineRun:
    created = NOW + timedelta(seconds=number, minutes=len(app))
    meta = ObjectMeta(name=f"{app}-{number}", namespace="default", creation_timestamp=created)
    spec = PipelineRunSpec(app=app, number=number, cancelled=cancelled)
    return PipelineRun(metadata=meta, spec=spec, status=PipelineRunStatus(phase=phase))


@pytest.mark.parametrize(
    ("runs", "places", "wanted"),
    [
        ([run("a", 1), run("bb", 1)], 1, {"a-1"}),
        ([run("a", 1), run("bb", 1)], 2, {"a-1", "bb-1"}),
        ([run("a", 1), run("bb", 1, "Running")], 1, {"bb-1"}),
        ([run("a", 1, "Failed"), run("bb", 1)], 1, {"bb-1"}),
        ([run("a", 1), run("a", 2)], 1, {"a-2"}),
        ([run("a", 1, cancelled=True), run("bb", 1)], 1, {"bb-1"}),
        ([run("a", 1, "Running"), run("a", 2)], 1, {"a-1"}),
    ],
)
def test_who_may_work(runs: list[PipelineRun], places: int, wanted: set[str]) -> None:
    assert {key.name for key in admitted(runs, places)} == wanted


def test_who_is_overtaken_and_who_waits() -> None:
    runs = [run("a", 1, "Running"), run("a", 2), run("bb", 1), run("bb", 2, "Failed")]
    assert superseded(runs) == {ObjectKey("default", "a-1"), ObjectKey("default", "bb-1")}
    assert [position(one, runs) for one in runs[:3]] == [0, 1, 2]


def test_names_fit_and_differ() -> None:
    long = "x" * 80
    names = {
        job_name("site-1", step, attempt) for step in ("a b", "a-b", "A b", long, long + "y") for attempt in (1, 2)
    }
    assert len(names) == 10 and all(len(name) <= 57 for name in names)
    assert job_name("site-1", "build", 1) == "site-1-build" and job_name("site-1", "build", 2) == "site-1-build-2"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 100])
def test_secrets_are_masked_across_the_borders_of_chunks(size: int) -> None:
    secret, other = "hunter2-secret", "hunter2-secret-longer"
    text = f"a {secret} b {other} aHVudGVyMi1zZWNyZXQ= hunter2 {secret}{other} hun".encode()
    masker = Masker(forms([secret, other, "abc"]))
    shown = b"".join(masker.feed(text[at : at + size]) for at in range(0, len(text), size)) + masker.flush()
    assert shown == b"a [masked] b [masked] [masked] hunter2 [masked][masked] hun"


def test_short_values_and_lines_of_keys() -> None:
    assert forms(["abc", ""]) == frozenset()
    key = "-----BEGIN KEY-----\nMIIBVgIBADANBg\n-----END KEY-----\n"
    masker = Masker(forms([key]))
    assert masker.feed(b"line MIIBVgIBADANBg here\n") + masker.flush() == b"line [masked] here\n"


@pytest.mark.parametrize("shown", ["https://x/?key=p%40ss%26w%22rd", 'json: {"k": "p@ss&w\\"rd"}'])
def test_values_that_were_quoted_are_masked_too(shown: str) -> None:
    masker = Masker(forms(['p@ss&w"rd']))
    assert b"[masked]" in masker.feed(shown.encode()) + masker.flush()


def test_tokens_are_about_one_step_of_one_run() -> None:
    tokens, claim = Tokens(b"k" * 32), Claim("default", "site-1", "uid", "build")
    token = tokens.issue(claim)
    assert tokens.check(token) == claim and tokens.issue(claim) == token
    for wrong in ("", ".", token[:-1], "x" + token, token.replace(".", ""), Tokens(b"o" * 32).issue(claim), "ü.ü"):
        assert tokens.check(wrong) is None
    with pytest.raises(ValueError, match="32 bytes"):
        Tokens(b"short")
