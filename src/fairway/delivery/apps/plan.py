"""What to do next for an App."""

import msgspec

from fairway.delivery.apps.snapshot import Snapshot
from fairway.delivery.kinds.apps import Environment
from fairway.delivery.kinds.releases import Release
from fairway.delivery.kinds.runs import ENDED, PipelineRun
from fairway.delivery.releases.live import deployed
from fairway.delivery.releases.objects import hosts_of
from fairway.delivery.releases.wishes import wishes

_SKIP_MARKS = ("[skip ci]", "[ci skip]", "[no ci]", "[skip fairway]")


class StartRun(msgspec.Struct, frozen=True):
    """A commit that nothing has been made of."""

    number: int
    commit: str
    subject: str


class Deploy(msgspec.Struct, frozen=True):
    """A good run that is not yet released in an environment."""

    environment: Environment
    run: PipelineRun


class Reconfigure(msgspec.Struct, frozen=True):
    """The App's wishes are newer than those of the environment's newest Release."""

    environment: Environment
    release: Release


class Forget(msgspec.Struct, frozen=True):
    """A run beyond what is retained."""

    run: PipelineRun


Action = StartRun | Deploy | Reconfigure | Forget


def plan(seen: Snapshot) -> tuple[Action, ...]:
    """The steps, in order. Each is decided from what exists, so that a step taken twice is one."""
    if seen.app.metadata.deletion_timestamp is not None:
        return ()
    return (*_start(seen), *_release(seen), *_forget(seen))


def skipped(subject: str) -> bool:
    """Whether the author of a commit asked for no run."""
    return any(mark in subject.lower() for mark in _SKIP_MARKS)


def _start(seen: Snapshot) -> tuple[StartRun, ...]:
    commit = seen.head.commit
    if not commit or skipped(seen.head.subject):
        return ()
    newest = seen.runs[-1] if seen.runs else None
    if newest is not None and seen.head.unchanged and newest.status.phase == "Succeeded":
        return ()  # somebody else's folder of the same repository changed
    if newest is not None and newest.spec.commit == commit:
        return ()
    # A run of another commit may be newer because somebody repeated it; the branch itself did not move then.
    if commit == seen.app.status.commit and any(run.spec.commit == commit for run in seen.runs):
        return ()
    return (StartRun((newest.spec.number if newest else 0) + 1, commit, seen.head.subject),)


def _release(seen: Snapshot) -> list[Deploy | Reconfigure]:
    if seen.app.spec.deploy.paused:
        return []
    steps: list[Deploy | Reconfigure] = []
    for environment in seen.environments:
        newest = seen.newest_release(environment.name)
        good = next((run for run in reversed(seen.runs) if _can_be_released(seen, run, environment)), None)
        if good is not None and good.spec.number > _released(seen, environment.name):
            steps.append(Deploy(environment, good))
        elif newest is not None and (_wished_anew(seen, newest) or _hosts_came(seen, environment, newest)):
            steps.append(Reconfigure(environment, newest))
    return steps


def _can_be_released(seen: Snapshot, run: PipelineRun, environment: Environment) -> bool:
    """A pipeline may end well without an image, when it only tests. What its jobs deployed is released in any case."""
    if run.status.deploys:
        return deployed(run, environment.name)
    made = bool(run.status.image) or seen.app.spec.deploy.mode != "generated"
    return run.status.phase == "Succeeded" and made and bool(environment.automatic)


def _hosts_came(seen: Snapshot, environment: Environment, newest: Release) -> bool:
    """Whether a host is held by now that had to be left out of the newest Release."""
    if seen.app.spec.deploy.mode != "generated" or newest.spec.adopted or newest.spec.reason == "rollback":
        return False
    return bool(set(environment.domains) - set(hosts_of(newest.spec.manifests)))


def _released(seen: Snapshot, environment: str) -> int:
    """The number of the newest run that was ever released there. Rollbacks repeat older runs, and count for nothing."""
    number = seen.app.status.released.get(environment, 0)
    numbers = {run.metadata.name: run.spec.number for run in seen.runs}
    for release in seen.releases:
        if release.spec.environment == environment:
            number = max(number, numbers.get(release.spec.run, 0))
    return number


def _wished_anew(seen: Snapshot, newest: Release) -> bool:
    """Whether the App changed since, in what this environment is made from."""
    configured = max(newest.spec.app_generation, seen.app.status.observed_generation)
    changed = seen.app.metadata.generation > configured
    return changed and wishes(seen.app, newest.spec.environment) != newest.spec.wishes


def _forget(seen: Snapshot) -> tuple[Forget, ...]:
    """Ended runs beyond the newest ones; the newest good one stays, for it may still be promoted."""
    good = next((run for run in reversed(seen.runs) if run.status.phase == "Succeeded"), None)
    old = seen.runs[: -seen.app.spec.history.runs] if len(seen.runs) > seen.app.spec.history.runs else ()
    return tuple(Forget(run) for run in old if run.status.phase in ENDED and run is not good)
