"""Which jobs wait for which others, and whose artifacts they get."""

from collections.abc import Sequence

import msgspec

from fairway.delivery.pipelines.document import Document
from fairway.delivery.pipelines.fields import Fields
from fairway.delivery.pipelines.inheritance import whole
from fairway.delivery.pipelines.ir import Job


def connect(document: Document, jobs: Sequence[Job], stages: tuple[str, ...]) -> tuple[Job, ...]:
    """The jobs in the order of their stages, with `needs` and `inputs` filled. Raises PipelineError."""
    order = {stage: number for number, stage in enumerate(stages)}
    ordered = sorted(jobs, key=lambda job: order[job.stage])
    giving = {one.name for one in ordered if one.artifacts}
    connected = []
    for job in ordered:
        earlier = tuple(one.name for one in ordered if order[one.stage] < order[job.stage])
        connected.append(_connect(whole(document, job.name), job, {one.name for one in ordered}, earlier, giving))
    _check_circles(document, connected)
    return tuple(connected)


def _connect(fields: Fields, job: Job, names: set[str], earlier: tuple[str, ...], giving: set[str]) -> Job:
    needs, inputs = _needs(fields, names) if "needs" in fields.values else (earlier, earlier)
    if "dependencies" in fields.values:
        inputs = fields.texts("dependencies")
        for name in inputs:
            if name not in names:
                fields.refuse(f"there is no job {name!r} in this run", "dependencies")
            if name not in (*needs, *earlier):
                fields.refuse(f"{name!r} does not run before this job", "dependencies")
    inputs = tuple(name for name in dict.fromkeys(inputs) if name in giving)
    return msgspec.structs.replace(job, needs=tuple(dict.fromkeys(needs)), inputs=inputs)


def _needs(fields: Fields, names: set[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    needs: list[str] = []
    inputs: list[str] = []
    for number, item in enumerate(fields.items("needs")):
        one = Fields(
            fields.document, item if isinstance(item, dict) else {"job": item}, (*fields.path, "needs", number)
        )
        name = one.text("job")
        if "pipeline" in one.values or "project" in one.values:
            one.refuse("jobs of other pipelines cannot be needed here")
        if name not in names:
            if one.flag("optional"):
                continue
            one.refuse(f"there is no job {name!r} in this run (is it left out by its rules? then add `optional: true`)")
        needs.append(name)
        if "artifacts" not in one.values or one.flag("artifacts"):
            inputs.append(name)
    return tuple(needs), tuple(inputs)


def _check_circles(document: Document, jobs: Sequence[Job]) -> None:
    """Jobs whose needs are done are taken away; what is left waits for itself."""
    left = {job.name: set(job.needs) for job in jobs}
    while ready := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in ready:
            del left[name]
    if left:
        first = next(iter(left))
        Fields(document, {}, (first,)).refuse(f"{', '.join(sorted(left))} wait for each other", "needs")
