"""A Dockerfile that runs commands as jobs: what is copied is the platform's work, each group of commands is a pod.

The pod is one like any other of a pipeline: it has no token, its limits and its time are those of the App, and it runs
in the very image that the commands change. What they changed is found by the platform, from what the pod packed.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from msgspec.structs import replace

from fairway.delivery.builds.parts import Part, parts
from fairway.delivery.kinds.apps import Variable
from fairway.delivery.pipelines.ir import Box, Cache, Job, Make, Mount, Pipeline, PipelineError, Problem
from fairway.delivery.pipelines.names import cache_name, step_name
from fairway.toolkit.oci import dockerfile, stages
from fairway.toolkit.oci.dockerfile import DockerfileError
from fairway.toolkit.oci.run_flags import RunMount
from fairway.toolkit.oci.stages import Recipe

OUTPUT = "out"
"""The folder of a pod with what the commands changed."""
_RESERVED = ("/.fairway", "/proc", "/sys", "/dev")


def dockerfiles(pipeline: Pipeline) -> tuple[str, ...]:
    """The Dockerfiles that a pipeline builds."""
    return tuple(job.make.dockerfile for job in pipeline.jobs if job.make and job.make.kind == "dockerfile")


def with_runs(
    pipeline: Pipeline, texts: Mapping[str, str], repository: str, run: str, variables: Sequence[Variable] = ()
) -> Pipeline | Problem:
    """The pipeline with the jobs that Dockerfiles need; `texts` are those that there are in the repository.

    `repository` is where the images go that commands run in, by tags that begin with `run`. `variables` are the
    App's: from those that come from Secrets commands may have secrets.
    """
    jobs: list[Job] = []
    for job in pipeline.jobs:
        make = job.make
        if make is None or make.kind != "dockerfile" or make.dockerfile not in texts:
            jobs.append(job)
            continue
        try:
            recipe = stages.read(dockerfile.parse(texts[make.dockerfile]), make.arguments, make.target)
            needs_pods = any(
                one.keyword == "RUN" for index in recipe.needed for one in recipe.stages[index].instructions
            )
            found = parts(recipe) if needs_pods else ()
            stem = f"{repository}:{run}-{step_name(job.name)}"
            jobs += _Jobs(job, make, found, stem, variables).made() if found else [job]
        except DockerfileError as error:
            return Problem(error.problem, line=error.line, file=make.dockerfile)
        except PipelineError as error:
            return error.problem
    return replace(pipeline, jobs=tuple(jobs))


def _runs_something(recipe: Recipe) -> bool:
    return any(one.keyword == "RUN" for index in recipe.needed for one in recipe.stages[index].instructions)


class _Jobs:
    """The jobs of one Dockerfile: for each part make the image so far, and then run in it."""

    def __init__(self, job: Job, make: Make, found: tuple[Part, ...], stem: str, variables: Sequence[Variable]) -> None:
        self._job = job
        self._make = make
        self._parts = found
        self._stem = stem
        self._secrets = {one.name: one.value_from for one in variables if one.value_from is not None}
        self._several = len({part.stage for part in found}) > 1
        self._names = {part.number: self._name(part) for part in found}

    def made(self) -> list[Job]:
        found: list[Job] = []
        for part in self._parts:
            copy = self._copy(part)
            found.append(copy)
            if part.runs:
                found.append(self._commands(part, copy))
        return found

    def _name(self, part: Part) -> tuple[str, str]:
        """What the steps of a part are called: copying, and running."""
        stage = f"-{part.label}" if self._several else ""
        place = 1 + sum(other.stage == part.stage and other.number < part.number for other in self._parts)
        if part.number == len(self._parts):
            return self._job.name, ""
        if not part.runs:
            return f"{self._job.name}{stage}", ""
        return f"{self._job.name}{stage}-copy-{place}", f"{self._job.name}{stage}-run-{place}"

    def _copy(self, part: Part) -> Job:
        name, runs = self._names[part.number]
        is_last = part.number == len(self._parts)
        ran = self._names[part.before][1] if part.before else ""
        needs = tuple(self._names[number][0] for number in part.needs)
        make = replace(
            self._make, part=part.number, stem=self._stem, ran=ran, runs=runs, is_last=is_last,
            tags=self._make.tags if is_last else (),
        )  # fmt: skip
        needs = tuple(dict.fromkeys((*((ran,) if ran else self._job.needs), *needs)))
        return replace(self._job, name=name, needs=needs, make=make)

    def _commands(self, part: Part, copy: Job) -> Job:
        mounts = tuple(mount for one in part.mounts for mount in self._mounts(part, one))
        binds = itertools.count()  # as run_order.py counts them
        mounts = tuple(replace(one, source=str(next(binds))) if one.kind == "bind" else one for one in mounts)
        caches = tuple(Cache(mount.source, (cache_folder(mount.source),)) for mount in mounts if mount.kind == "cache")
        return Job(
            self._names[part.number][1],
            self._job.stage,
            image=f"{self._stem}-{part.number}",
            needs=(copy.name,),
            inputs=(copy.name,),
            artifacts=(OUTPUT,),
            caches=tuple(dict.fromkeys(caches)),
            box=Box(f"{self._make.dockerfile} {part.lines}", mounts, part.has_network),
            when=self._job.when,
            allow_failure=self._job.allow_failure,
            timeout_seconds=self._job.timeout_seconds,
        )

    def _mounts(self, part: Part, one: RunMount) -> list[Mount]:
        if any(one.target == path or one.target.startswith(f"{path}/") for path in _RESERVED) or ":" in one.target:
            self._refuse(part, f"--mount: target={one.target[:80]} cannot be mounted; choose another path")
        match one.kind:
            case "cache":
                return [Mount("cache", one.target, f"Dockerfile {one.id}", read_only=one.read_only)]
            case "tmpfs":
                return [Mount("tmpfs", one.target, size_bytes=one.size_bytes)]
            case "secret":
                return self._secret(part, one)
        return [Mount("bind", one.target, read_only=one.read_only)]

    def _secret(self, part: Part, one: RunMount) -> list[Mount]:
        source = self._secrets.get(one.id, {})
        selector: Mapping[str, Any] = (source or {}).get("secretKeyRef") or {}
        if not selector:
            if one.required or one.id in self._secrets:
                self._refuse(
                    part,
                    f"--mount=type=secret: there is no secret {one.id!r}; add a variable of this name with "
                    "valueFrom.secretKeyRef to spec.build.variables",
                )
            return []
        name, key = str(selector.get("name", "")), str(selector.get("key", ""))
        readable = one.mode or (0o444 if any(one.owner) else 0o400)
        found = [Mount("secret", one.target, name, key, read_only=True, mode=readable)] if one.target else []
        return found + ([Mount("variable", one.env, name, key)] if one.env else [])

    def _refuse(self, part: Part, problem: str) -> NoReturn:
        raise PipelineError(Problem(problem, line=part.runs[0].line, file=self._make.dockerfile))


def cache_folder(key: str) -> str:
    """Where a cache is in the pod's workspace: the same for every command that mounts it."""
    return f"caches/{cache_name(key)}"
