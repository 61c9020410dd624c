"""Events, in their core form and their events.k8s.io form (one storage, two shapes)."""

from datetime import datetime

from fairway.engine.apiserver.resources import ages, causes
from fairway.engine.apiserver.resources.defaulting import child
from fairway.engine.apiserver.resources.kind import (
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    keep_nothing,
    name_of,
    nothing,
)

MESSAGE_BYTES_MAX = 1024

COLUMNS = (
    Column("Last Seen", "string", "The time at which the most recent occurrence of this event was recorded."),
    Column("Type", "string", "Type of this event (Normal, Warning)."),
    Column("Reason", "string", "Why the action was taken; it is for machines."),
    Column("Object", "string", "The object that this event is about."),
    Column("Subobject", "string", "The part of the object that this event is about.", priority=1),
    Column("Source", "string", "The component that reports this event.", priority=1),
    Column("Message", "string", "What happened, for people."),
    Column("First Seen", "string", "The time at which the event was first recorded.", priority=1),
    Column("Count", "string", "The number of times that this event has occurred.", priority=1),
    Column("Name", NAME.type, NAME.description, NAME.format, priority=1),
)


def default(event: Object) -> None:
    """Source and involved object are always there."""
    child(event, "source")
    child(event, "involvedObject")


def validate(new: Object, old: Object | None) -> list[Cause]:
    """An event lives where its object does; cluster-wide objects report in `default`."""
    namespace = (new.get("metadata") or {}).get("namespace") or ""
    about = (new.get("involvedObject") or {}).get("namespace") or ""
    if (about and about != namespace) or (not about and namespace not in ("default", "kube-system")):
        return [causes.invalid("involvedObject.namespace", about, "does not match event.namespace")]
    return []


def row(event: Object, now: datetime) -> list[object]:
    """One cell per column."""
    about, source = event.get("involvedObject") or {}, event.get("source") or {}
    series = event.get("series") or {}
    first = event.get("firstTimestamp") or event.get("eventTime")
    last = series.get("lastObservedTime") or event.get("lastTimestamp") or first
    component = source.get("component") or event.get("reportingComponent") or ""
    host = source.get("host") or event.get("reportingInstance") or ""
    return [
        ages.since(last, now),
        event.get("type") or "",
        event.get("reason") or "",
        "/".join(part for part in ((about.get("kind") or "").lower(), about.get("name") or "") if part),
        about.get("fieldPath") or "",
        ", ".join(part for part in (component, host) if part),
        (event.get("message") or "").strip(),
        ages.since(first, now),
        series.get("count") or event.get("count") or 1,
        name_of(event),
    ]


def selectable(event: Object) -> dict[str, str]:
    """The field selectors of events, in the words of both shapes, which share one storage."""
    about, source = event.get("involvedObject") or {}, event.get("source") or {}
    fields = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    return {
        **{
            f"{holder}.{field}": about.get(field) or ""
            for holder in ("involvedObject", "regarding")
            for field in fields
        },
        "reason": event.get("reason") or "",
        "reportingComponent": event.get("reportingComponent") or "",
        "reportingController": event.get("reportingComponent") or "",
        "source": source.get("component") or event.get("reportingComponent") or "",
        "type": event.get("type") or "",
    }


EVENTS = Kind(
    group="",
    version="v1",
    kind="Event",
    plural="events",
    singular="event",
    namespaced=True,
    list_kind="EventList",
    create_on_update=True,
    short_names=("ev",),
    columns=COLUMNS,
    row=row,
    default=default,
    prepare_create=nothing,
    prepare_update=keep_nothing,
    validate=validate,
    selectable=selectable,
)
