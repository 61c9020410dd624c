"""Jobs: pods that run until they succeed."""

from datetime import datetime

from fairway.engine.apiserver.resources import ages, causes, selectors
from fairway.engine.apiserver.resources.defaulting import child, fill, fill_numbers
from fairway.engine.apiserver.resources.job_policies import validate_elastic, validate_policies
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    age_of,
    bump_generation,
    name_of,
)
from fairway.engine.apiserver.resources.pod_spec import validate_template
from fairway.engine.apiserver.resources.workloads import WIDE_COLUMNS, default_template, validate_counts, wide_cells

MODES = ("NonIndexed", "Indexed")
REPLACEMENTS = ("TerminatingOrFailed", "Failed")
_COUNTS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
)

COLUMNS = (
    NAME,
    Column("Status", "string", "Status of the job."),
    Column("Completions", "string", "Successful pods of those that are wanted."),
    Column("Duration", "string", "Time required to complete the job."),
    AGE,
    *WIDE_COLUMNS,
)


def default(job: Object) -> None:
    """batch/v1 SetDefaults_Job."""
    spec = child(job, "spec")
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    fill_numbers(
        spec, {"parallelism": 1, "backoffLimit": 2**31 - 1 if spec.get("backoffLimitPerIndex") is not None else 6}
    )
    fill(spec, "completionMode", MODES[0])
    fill(spec, "podReplacementPolicy", REPLACEMENTS[1] if spec.get("podFailurePolicy") else REPLACEMENTS[0])
    if spec.get("suspend") is None:
        spec["suspend"] = False
    default_template(spec)


def prepare_create(job: Object) -> None:
    """The selector and the labels that tie pods to this job are made from its uid."""
    job["status"] = {}
    job["metadata"]["generation"] = 1
    spec, uid = child(job, "spec"), job["metadata"].get("uid")
    if spec.get("manualSelector") or not uid:
        return
    labels = child(child(child(spec, "template"), "metadata"), "labels")
    for prefix in ("", "batch.kubernetes.io/"):
        labels[f"{prefix}controller-uid"] = uid
        labels[f"{prefix}job-name"] = name_of(job)
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


def validate(new: Object, old: Object | None) -> list[Cause]:
    """batch validation; completions, selector and template never change."""
    spec = new.get("spec") or {}
    found = validate_job_spec(spec, "spec")
    if spec.get("selector") is not None:
        found += selectors.validate_selector(spec["selector"], "spec.selector")
    if old is None:
        return found
    before = old.get("spec") or {}
    for field in (
        "selector",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ):
        found += causes.immutable(f"spec.{field}", spec.get(field), before.get(field))
    if spec.get("completionMode") != MODES[1]:
        found += causes.immutable("spec.completions", spec.get("completions"), before.get("completions"))
    else:
        found += validate_elastic(spec, before)
    if not before.get("suspend"):
        found += causes.immutable("spec.template", spec.get("template"), before.get("template"))
    return found


def validate_job_spec(spec: Object, field: str) -> list[Cause]:
    """A job, also inside a CronJob."""
    found = [] if field != "spec" else validate_counts(spec, *_COUNTS)
    found += causes.one_of(f"{field}.completionMode", spec.get("completionMode"), MODES, needed=False)
    if spec.get("completionMode") == MODES[1] and spec.get("completions") is None:
        says = f"when completion mode is {MODES[1]}"
        found.append(causes.required(f"{field}.completions", says))
    found += validate_policies(spec, field)
    found += validate_template(spec.get("template"), f"{field}.template")
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy")
    if policy == "Always":
        path = f"{field}.template.spec.restartPolicy"
        found.append(causes.required(path, 'valid values: "OnFailure", "Never"'))
    return found


def row(job: Object, now: datetime) -> list[object]:
    """One cell per column."""
    spec, status = job.get("spec") or {}, job.get("status") or {}
    return [
        name_of(job),
        _state(job),
        _completions(spec, status),
        _duration(status, now),
        age_of(job, now),
        *wide_cells(spec),
    ]


def selectable(job: Object) -> dict[str, str]:
    """The field selectors of jobs."""
    return {"status.successful": str((job.get("status") or {}).get("succeeded") or 0)}


def _state(job: Object) -> str:
    met = {item.get("type") for item in (job.get("status") or {}).get("conditions") or () if item["status"] == "True"}
    if "Complete" in met:
        return "Complete"
    if "Failed" in met:
        return "Failed"
    if (job.get("metadata") or {}).get("deletionTimestamp"):
        return "Terminating"
    for name in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if name in met:
            return name
    return "Running"


def _completions(spec: Object, status: Object) -> str:
    done = status.get("succeeded") or 0
    if spec.get("completions") is not None:
        return f"{done}/{spec['completions']}"
    parallel = spec.get("parallelism") or 0
    return f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"


def _duration(status: Object, now: datetime) -> str:
    if not status.get("startTime"):
        return ""
    end = ages.parse(status["completionTime"]) if status.get("completionTime") else now
    return ages.human((end - ages.parse(status["startTime"])).total_seconds())


JOBS = Kind(
    group="batch",
    version="v1",
    kind="Job",
    plural="jobs",
    singular="job",
    namespaced=True,
    list_kind="JobList",
    categories=("all",),
    subresources=("status",),
    columns=COLUMNS,
    row=row,
    default=default,
    prepare_create=prepare_create,
    prepare_update=bump_generation,
    validate=validate,
    selectable=selectable,
)
