"""A Dockerfile that runs commands as jobs: what is copied is the platform's work, each group of commands is a pod.

The pod is one like any other of a pipeline: it has no token, its limits and its time are those of the App, and it runs
in the very image that the commands change. What they changed is found by the platform, from all files of the pod.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from fairway.delivery.builds.segments import RUN_FOLDER, Segment, script, segments
from fairway.delivery.pipelines.ir import Job, Pipeline, Problem
from fairway.delivery.pipelines.names import step_name
from fairway.toolkit.oci import dockerfile
from fairway.toolkit.oci.dockerfile import DockerfileError


def dockerfiles(pipeline: Pipeline) -> tuple[str, ...]:
    """The Dockerfiles that a pipeline builds."""
    return tuple(job.make.dockerfile for job in pipeline.jobs if job.make and job.make.kind == "dockerfile")


def with_runs(pipeline: Pipeline, texts: Mapping[str, str], repository: str, run: str) -> Pipeline | Problem:
    """The pipeline with the jobs that Dockerfiles need; `texts` are those that there are in the repository.

    `repository` is where the images go that commands run in, by tags that begin with the run's name.
    """
    jobs: list[Job] = []
    for job in pipeline.jobs:
        text = texts.get(job.make.dockerfile) if job.make and job.make.kind == "dockerfile" else None
        if text is None:
            jobs.append(job)
            continue
        try:
            parts = segments(dockerfile.parse(text))
        except DockerfileError as error:
            name = job.make.dockerfile if job.make else ""
            return Problem(str(error), line=error.line, file=name)
        jobs += _jobs(job, parts, f"{repository}:{run}-{step_name(job.name)}") if len(parts) > 1 else [job]
    return replace(pipeline, jobs=tuple(jobs))


def _jobs(job: Job, parts: tuple[Segment, ...], stem: str) -> list[Job]:
    """For each part but the last: make the image so far, run in it; the last part is the job itself."""
    assert job.make is not None
    found: list[Job] = []
    needs, inputs, before = job.needs, job.inputs, ""
    for number, part in enumerate(parts, start=1):
        make = replace(job.make, segment=number, before=before)
        if number == len(parts):
            found.append(replace(job, needs=needs, inputs=inputs, make=make))
            break
        before = f"{stem}-{number}"
        copy = replace(job, name=f"{job.name}-copy-{number}", needs=needs, inputs=inputs)
        copy = replace(copy, make=replace(make, name=before, tags=()))
        given = {name: job.make.arguments.get(name, default) for name, default in part.arguments}
        commands = Job(
            f"{job.name}-run-{number}",
            job.stage,
            image=before,
            script=script(part),
            variables={"CI_PROJECT_DIR": job.variables.get("CI_PROJECT_DIR", "/workspace"), **given},
            needs=(copy.name,),
            artifacts=(RUN_FOLDER,),
            bare=True,
            when=job.when,
            allow_failure=job.allow_failure,
            timeout_seconds=job.timeout_seconds,
        )
        found += [copy, commands]
        needs, inputs = (commands.name,), (*job.inputs, commands.name)
    return found
