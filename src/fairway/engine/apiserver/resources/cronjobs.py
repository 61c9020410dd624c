"""CronJobs: jobs by the clock."""

import re
from datetime import datetime

from fairway.engine.apiserver.resources import ages, causes, names
from fairway.engine.apiserver.resources.defaulting import child, fill, fill_numbers
from fairway.engine.apiserver.resources.jobs import validate_job_spec
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    age_of,
    bump_generation,
    first_generation,
    name_of,
)
from fairway.engine.apiserver.resources.workloads import WIDE_COLUMNS, default_template, validate_counts, wide_cells

POLICIES = ("Allow", "Forbid", "Replace")
_SHORTHANDS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_PART = re.compile(r"[\d*/,?a-zA-Z-]+")
_NAME_BYTES_MAX = 52  # eleven more are added to name the jobs

COLUMNS = (
    NAME,
    Column("Schedule", "string", "The schedule in Cron format."),
    Column("Timezone", "string", "The time zone of the schedule."),
    Column("Suspend", "boolean", "Whether subsequent executions are suspended."),
    Column("Active", "integer", "How many jobs are running."),
    Column("Last Schedule", "string", "When a job was last scheduled."),
    AGE,
    *WIDE_COLUMNS,
)


def default(cron_job: Object) -> None:
    """batch/v1 SetDefaults_CronJob."""
    spec = child(cron_job, "spec")
    fill(spec, "concurrencyPolicy", POLICIES[0])
    if spec.get("suspend") is None:
        spec["suspend"] = False
    fill_numbers(spec, {"successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1})
    # The rest of a job's defaults come when a job is made from the template.
    default_template(child(child(spec, "jobTemplate"), "spec"))


def validate(new: Object, old: Object | None) -> list[Cause]:
    """batch validation."""
    spec = new.get("spec") or {}
    schedule = spec.get("schedule") or ""
    found = [] if schedule else [causes.required("spec.schedule")]
    if schedule and not _readable(schedule):
        says = f"expected exactly 5 fields, found {len(schedule.split())}: [{schedule}]"
        found.append(causes.invalid("spec.schedule", schedule, says))
    found += causes.one_of("spec.concurrencyPolicy", spec.get("concurrencyPolicy"), POLICIES)
    found += validate_counts(spec, "startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    if len(name_of(new)) > _NAME_BYTES_MAX:
        found.append(
            causes.invalid("metadata.name", name_of(new), f"must be no more than {_NAME_BYTES_MAX} characters")
        )
    return found + validate_job_spec((spec.get("jobTemplate") or {}).get("spec") or {}, "spec.jobTemplate.spec")


def row(cron_job: Object, now: datetime) -> list[object]:
    """One cell per column."""
    spec, status = cron_job.get("spec") or {}, cron_job.get("status") or {}
    last = status.get("lastScheduleTime")
    return [
        name_of(cron_job),
        spec.get("schedule") or "",
        spec.get("timeZone") or "<none>",
        "True" if spec.get("suspend") else "False",
        len(status.get("active") or ()),
        ages.since(last, now) if last else "<none>",
        age_of(cron_job, now),
        *wide_cells((spec.get("jobTemplate") or {}).get("spec") or {}),
    ]


def _readable(schedule: str) -> bool:
    if schedule.startswith("@"):
        return schedule in _SHORTHANDS or schedule.startswith("@every ")
    parts = schedule.split()
    return len(parts) == 5 and all(_PART.fullmatch(part) for part in parts)


CRON_JOBS = Kind(
    group="batch",
    version="v1",
    kind="CronJob",
    plural="cronjobs",
    singular="cronjob",
    namespaced=True,
    list_kind="CronJobList",
    short_names=("cj",),
    categories=("all",),
    subresources=("status",),
    columns=COLUMNS,
    row=row,
    default=default,
    prepare_create=first_generation,
    prepare_update=bump_generation,
    validate=validate,
    name_rule=names.dns_subdomain,
)
