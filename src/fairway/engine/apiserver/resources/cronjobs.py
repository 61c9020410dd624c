"""CronJobs: jobs by the clock."""

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

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
from fairway.toolkit import cron

POLICIES = ("Allow", "Forbid", "Replace")
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
    found = _schedule(spec.get("schedule") or "", old) + _time_zone(spec.get("timeZone"))
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


def _schedule(schedule: str, old: Object | None) -> list[Cause]:
    if not schedule:
        return [causes.required("spec.schedule")]
    if "TZ" in schedule and schedule != ((old or {}).get("spec") or {}).get("schedule"):
        says = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        return [causes.invalid("spec.schedule", schedule, says)]
    try:
        cron.parse(schedule)
    except ValueError as error:
        return [causes.invalid("spec.schedule", schedule, str(error))]
    return []


def _time_zone(name: str | None) -> list[Cause]:
    if name is None:
        return []
    if not name:
        return [causes.invalid("spec.timeZone", name, "timeZone must be nil or non-empty string")]
    if name.lower() == "local":
        says = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        return [causes.invalid("spec.timeZone", name, says)]
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return [causes.invalid("spec.timeZone", name, f"unknown time zone {name}")]
    return []


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
