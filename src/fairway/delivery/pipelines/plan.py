"""What to do next for a run: which jobs to create, and what its status says. Pure, and the same for the same facts."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from fairway.delivery.kinds.runs import Step
from fairway.delivery.pipelines.ir import Job, Pipeline
from fairway.delivery.pipelines.names import job_name
from fairway.delivery.pipelines.snapshot import JobSeen

JOBS_AT_ONCE = 2
STUCK_SECONDS = 30
"""How long an image may be unpullable before its job fails: registries have hiccups."""
_BROKEN = "something before it failed"
_OVER = ("Succeeded", "Failed", "Skipped", "Cancelled")


class Start(msgspec.Struct, frozen=True):
    """Create the Kubernetes Job of a step."""

    step: str
    attempt: int
    job: str


class Work(msgspec.Struct, frozen=True):
    """Do a step of the platform itself."""

    step: str


class Stop(msgspec.Struct, frozen=True):
    """Delete a Kubernetes Job that can never end well."""

    job: str


Action = Start | Work | Stop


class Facts(msgspec.Struct, frozen=True):
    """All that a decision needs. `before` are the steps as the status had them; `name` is the run's."""

    name: str
    pipeline: Pipeline
    before: tuple[Step, ...]
    jobs: Mapping[str, JobSeen]
    retries: int
    now: datetime


class Decision(msgspec.Struct, frozen=True):
    """`outcome` is empty while the run goes on, then Succeeded or Failed, with `message` saying why."""

    actions: tuple[Action, ...]
    steps: tuple[Step, ...]
    outcome: str = ""
    message: str = ""


def decide(facts: Facts) -> Decision:
    """The next actions and the steps as they stand."""
    before = {step.name: step for step in facts.before}
    steps: dict[str, Step] = {}
    actions: list[Action] = []
    for job in facts.pipeline.jobs:
        step = _step(facts, job, before.get(job.name))
        if job.make and step.phase == "Running":
            actions.append(Work(job.name))  # it was interrupted: what it does can be done again
        elif step.phase == "Pending" and not step.job:
            running = sum(one.phase in ("Pending", "Running") and bool(one.job) for one in steps.values())
            step, action = _begin(facts, job, step, steps, running)
            actions += [action] if action else []
        elif step.message and step.phase == "Failed" and _stuck_too_long(facts, job):
            actions.append(Stop(step.job))
        steps[job.name] = step
    return _decision(tuple(actions), tuple(steps.values()))


def _step(facts: Facts, job: Job, before: Step | None) -> Step:
    """A step as the facts have it; one that ended stays as it ended."""
    fresh = before or Step(name=job.name, stage=job.stage, allowed_to_fail=job.allow_failure)
    if fresh.phase in _OVER:
        return fresh
    seen = facts.jobs.get(job.name)
    if seen is None and job.make:
        return fresh
    if seen is None:  # not created yet, or not seen yet: the same attempt has the same name
        return msgspec.structs.replace(fresh, phase="Pending", job="", attempt=max(fresh.attempt - bool(fresh.job), 0))
    failed = seen.phase == "Failed" or _stuck_too_long(facts, job)
    # what never ran is no failure of the script's: it gets one more try in any case
    retries = max(job.retries, facts.retries, int(seen.unstarted))
    if failed and seen.attempt <= retries and seen.phase == "Failed":
        return msgspec.structs.replace(
            fresh, phase="Pending", job="", attempt=seen.attempt, message=f"{seen.message}; trying again"
        )
    where = f"{job.box.where}: " if job.box and failed and seen.message else ""
    allowed = job.allow_failure or (seen.exit_code or 0) in job.allowed_exit_codes
    return msgspec.structs.replace(
        fresh,
        phase="Failed" if failed else seen.phase,
        job=seen.name,
        attempt=seen.attempt,
        started_at=seen.started_at,
        finished_at=(seen.finished_at or facts.now) if failed or seen.phase == "Succeeded" else None,
        exit_code=seen.exit_code,
        message=f"{where}{seen.message}" or seen.stuck,
        allowed_to_fail=allowed,
    )


def _stuck_too_long(facts: Facts, job: Job) -> bool:
    seen = facts.jobs.get(job.name)
    if seen is None or not seen.stuck or seen.started_at is None:
        return False
    return (facts.now - seen.started_at).total_seconds() >= STUCK_SECONDS


def _begin(facts: Facts, job: Job, step: Step, steps: Mapping[str, Step], running: int) -> tuple[Step, Action | None]:
    """Start a step when what it needs is there, or skip it when that will never be."""
    needed = [steps[name] for name in job.needs if name in steps]
    if any(one.phase not in _OVER for one in needed):
        return step, None
    failed = any(one.phase == "Failed" and not one.allowed_to_fail for one in steps.values())
    if job.when == "manual":
        return _skipped(step, facts, "manual: it is not started by itself")
    if job.when == "on_failure" and not failed:
        return _skipped(step, facts, "nothing failed")
    if job.when == "on_success" and any(_broken(one) for one in needed):
        return _skipped(step, facts, _BROKEN)
    if job.make:
        started = step.started_at or facts.now
        return msgspec.structs.replace(step, phase="Running", attempt=1, started_at=started), Work(job.name)
    if running >= JOBS_AT_ONCE:
        return step, None
    attempt = step.attempt + 1
    name = job_name(facts.name, job.name, attempt)
    return msgspec.structs.replace(step, attempt=attempt, job=name), Start(job.name, attempt, name)


def _broken(step: Step) -> bool:
    """Whether what needs this step cannot run: skipping is passed on, but only where it came from a failure."""
    return (step.phase == "Failed" and not step.allowed_to_fail) or step.message == _BROKEN


def _skipped(step: Step, facts: Facts, message: str) -> tuple[Step, None]:
    return msgspec.structs.replace(step, phase="Skipped", finished_at=facts.now, message=message), None


def _decision(actions: tuple[Action, ...], steps: tuple[Step, ...]) -> Decision:
    if any(step.phase not in _OVER for step in steps):
        return Decision(actions, steps)
    bad = next((step for step in steps if step.phase == "Failed" and not step.allowed_to_fail), None)
    if bad is not None:
        return Decision(actions, steps, "Failed", f"{bad.name}: {bad.message}")
    return Decision(actions, steps, "Succeeded")
