"""A pipeline file (the syntax of GitLab CI, as far as it makes sense here) as a Pipeline.

Source: GitLab's CI/CD YAML reference. Lenient where the documents' files need it: a job without `stage` whose name is
that of a stage belongs to it, and when no job declares artifacts, every job passes its whole workspace on.
"""

from collections.abc import Mapping

import msgspec

from fairway.delivery.pipelines import document, rules
from fairway.delivery.pipelines.docker import drives_docker
from fairway.delivery.pipelines.document import Document
from fairway.delivery.pipelines.fields import Fields, kind
from fairway.delivery.pipelines.inheritance import DEFAULTS, whole
from fairway.delivery.pipelines.ir import ALL, Job, Pipeline, PipelineError, Problem
from fairway.delivery.pipelines.job import read_job
from fairway.delivery.pipelines.needs import connect

JOBS_MAX = 48
_STAGES = ("build", "test", "deploy")
_TOP = frozenset({"stages", "variables", "default", "workflow", "spec", "types", *DEFAULTS})
_REFUSED = {"include": "other files are not included; write the jobs here", "types": "write `stages`"}


def read(data: bytes, name: str, variables: Mapping[str, str], files: frozenset[str]) -> Pipeline | Problem:
    """Parse a pipeline file for one commit.

    `variables` are the predefined ones and those of the App, which win over the file's; `files` are the paths at the
    top of the repository. A mistake comes back as a Problem with file, line and field.
    """
    try:
        return _read(document.read(data), name, variables, files)
    except PipelineError as error:
        return msgspec.structs.replace(error.problem, file=name)


def _read(doc: Document, name: str, variables: Mapping[str, str], files: frozenset[str]) -> Pipeline:
    top = Fields(doc, doc.root, ())
    for key, advice in _REFUSED.items():
        if key in doc.root:
            top.refuse(f"is not supported: {advice}", key)
    stages = _stages(top)
    known = {**top.variables("variables"), **variables}
    _check_workflow(top, known, files)
    jobs = [
        found
        for key in doc.root
        if key not in _TOP and not key.startswith(".")
        if (found := _job(doc, key, stages, known, variables, files)) is not None
    ]
    if not jobs:
        raise PipelineError(Problem(f"no job runs for {variables.get('CI_COMMIT_REF_NAME', 'this commit')}", line=1))
    if len(jobs) > JOBS_MAX:
        raise PipelineError(Problem(f"{len(jobs)} jobs; at most {JOBS_MAX} can run", line=1))
    ordered = connect(doc, _passed_on(jobs), (".pre", *stages, ".post"))
    return Pipeline(name, f"{name} → {', '.join(job.name for job in ordered)}", ordered)


def _stages(top: Fields) -> tuple[str, ...]:
    stages = top.texts("stages") or _STAGES
    if len(set(stages)) != len(stages):
        top.refuse("a stage is named twice", "stages")
    return tuple(stage for stage in stages if stage not in (".pre", ".post"))


def _check_workflow(top: Fields, variables: Mapping[str, str], files: frozenset[str]) -> None:
    workflow = top.inner("workflow")
    if workflow.items("rules") and rules.decide(workflow, variables, files).when == "never":
        workflow.refuse("nothing is to be done for this commit: no rule is met", "rules")


def _job(
    doc: Document,
    name: str,
    stages: tuple[str, ...],
    known: Mapping[str, str],
    winning: Mapping[str, str],
    files: frozenset[str],
) -> Job | None:
    """One job, or None when its rules leave it out."""
    if not isinstance(doc.root[name], dict):
        Fields(doc, doc.root, ()).refuse(f"a job must be a mapping with a script, not {kind(doc.root[name])}", name)
    fields = whole(doc, name)
    stage = _stage(fields, name, stages)
    own = {**known, **fields.variables("variables"), **winning}
    verdict = rules.decide(fields, own, files)
    if verdict.when == "never":
        return None
    return read_job(fields, name, stage, {**own, **verdict.variables, **winning}, verdict)


def _stage(fields: Fields, name: str, stages: tuple[str, ...]) -> str:
    stage = fields.text("stage") or (name if name in stages else "test")
    if stage not in (*stages, ".pre", ".post"):
        listed = ", ".join(stages)
        if "stage" in fields.values:
            fields.refuse(f"there is no stage {stage!r}; the stages are {listed}", "stage")
        fields.refuse(f"the job has no stage, and its name is none of the stages {listed}; add `stage:`")
    return stage


def _passed_on(jobs: list[Job]) -> list[Job]:
    """When nobody declares artifacts, every workspace is passed on: what one stage builds the next one can use."""
    if any(job.artifacts for job in jobs):
        return jobs
    passing = [job for job in jobs if not drives_docker(job.image, job.script)]
    return [msgspec.structs.replace(job, artifacts=(ALL,)) if job in passing else job for job in jobs]
