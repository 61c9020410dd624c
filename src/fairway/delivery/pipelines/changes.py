"""Which objects of the cluster the jobs of a run changed: what their pods noted, and what the run says of it."""

from collections.abc import Iterable

import msgspec

from fairway.delivery.kinds.apps import App, environments
from fairway.delivery.kinds.runs import Change
from fairway.delivery.pipelines.ir import Job

BYTES_MAX = 512 * 1024
CHANGES_MAX = 200
NOTHING = "no job changed an object of the cluster, so nothing is released"


class Note(msgspec.Struct, frozen=True):
    """One object, as apigate.py notes it; `group` is empty for the core."""

    group: str
    resource: str
    name: str
    deleted: bool = False


def notes(data: bytes) -> tuple[Note, ...]:
    """Raises ValueError for what no gate would send."""
    try:
        return msgspec.json.decode(data, type=tuple[Note, ...])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"these are no notes: {error}") from None


def merged(before: Iterable[Note], after: Iterable[Note]) -> bytes:
    """Of two attempts of a step; the later one knows better."""
    found = {(one.group, one.resource, one.name): one for one in (*before, *after)}
    return msgspec.json.encode(tuple(found.values()))


def of_step(app: App, job: Job, found: Iterable[Note]) -> tuple[Change, ...]:
    """The changes of a job, in the App's environment that it names, else in the first one."""
    known = [one.name for one in environments(app)]
    environment = job.environment if job.environment in known else known[0]
    return tuple(Change(environment, one.group, one.resource, one.name, one.deleted) for one in found)


def together(parts: Iterable[Change]) -> tuple[Change, ...]:
    """Of all steps, in their order: of an object the last one counts."""
    found = {(one.environment, one.group, one.resource, one.name): one for one in parts}
    return tuple(found.values())[:CHANGES_MAX]
