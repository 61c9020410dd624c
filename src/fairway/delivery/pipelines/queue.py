"""Which runs may work now, and which have been overtaken."""

from collections.abc import Iterable

from fairway.delivery.kinds.runs import ENDED, PipelineRun
from fairway.kube.api.meta import ObjectKey


def admitted(runs: Iterable[PipelineRun], runs_max: int) -> frozenset[ObjectKey]:
    """The runs that may work: those that already do, then the oldest ones until `runs_max` are at it.

    A run that is being stopped still takes its place until its pods are gone.
    """
    open_runs = [run for run in runs if run.status.phase not in ENDED]
    working = [run for run in open_runs if run.status.phase == "Running"]
    overtaken = superseded(open_runs)
    waiting = [
        run
        for run in open_runs
        if run.status.phase != "Running" and not run.spec.cancelled and run.metadata.key not in overtaken
    ]
    waiting.sort(key=_age)
    free = max(0, runs_max - len(working))
    return frozenset(run.metadata.key for run in (*working, *waiting[:free]))


def position(run: PipelineRun, runs: Iterable[PipelineRun]) -> int:
    """How many runs are ahead of one that waits."""
    return sum(
        other.status.phase not in ENDED and (other.status.phase == "Running" or _age(other) < _age(run))
        for other in runs
        if other.metadata.key != run.metadata.key
    )


def superseded(runs: Iterable[PipelineRun]) -> frozenset[ObjectKey]:
    """The runs of which a newer one of the same App exists."""
    newest: dict[tuple[str, str], int] = {}
    listed = tuple(runs)
    for run in listed:
        app = (run.metadata.namespace, run.spec.app)
        newest[app] = max(newest.get(app, 0), run.spec.number)
    return frozenset(
        run.metadata.key for run in listed if run.spec.number < newest[run.metadata.namespace, run.spec.app]
    )


def _age(run: PipelineRun) -> tuple[str, str, str]:
    created = run.metadata.creation_timestamp
    return (created.isoformat() if created else "", run.metadata.namespace, run.metadata.name)
