"""Requests as they are answered: how many, how long, how many at this moment.

Counting must cost nearly nothing, so a series is found by one lookup and holds plain numbers. Labels come from the
tables of kinds and paths, never from what clients send: their number is bounded.
"""

from bisect import bisect_left
from collections.abc import Awaitable
from functools import partial
from time import perf_counter

import msgspec

from fairway.engine.apiserver.resources import Kind
from fairway.toolkit.http_messages import Reply, Sink, Stream, Upgrade

BUCKETS_SECONDS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
)  # fmt: skip
"""Upper bounds, as upstream's."""

_VERBS = {
    "get": "GET",
    "list": "LIST",
    "watch": "WATCH",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETECOLLECTION",
}
_CONNECTED = frozenset({"attach", "exec", "portforward", "proxy"})
_READING = frozenset({"GET", "LIST", "WATCH", "HEAD"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


class Labels(msgspec.Struct, frozen=True):
    """What the requests of one series have in common; `resource` is empty for documents, `subresource` their path."""

    group: str = ""
    version: str = ""
    kind: str = ""
    resource: str = ""
    subresource: str = ""
    scope: str = ""
    verb: str = "other"
    dry_run: str = ""


class Series:
    """Numbers of the requests with the same labels."""

    __slots__ = ("buckets", "codes", "labels", "reading", "running", "seconds")

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.reading = labels.verb in _READING
        self.codes: dict[int, int] = {}
        self.buckets = [0] * (len(BUCKETS_SECONDS) + 1)
        """How many took so long, the last ones longer than any bound; not cumulated."""
        self.seconds = 0.0
        self.running = 0
        """Streams that are open now."""


class Requests:
    """Every series; belongs to one event loop."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, ...], Series] = {}
        self.unknown = Series(Labels())
        """Requests about nothing that exists."""
        self.reading = 0
        self.writing = 0

    def all(self) -> list[Series]:
        """In the order of their first requests."""
        return [self.unknown, *self._series.values()]

    def of(self, kind: Kind, verb: str, subresource: str, scope: str, *, dry_run: bool) -> Series:
        """The series of a request to a resource; `verb` in words of the API, or `apply`."""
        dry = "All" if dry_run else ""
        key = (kind.group, kind.version, kind.plural, verb, subresource, scope, dry)
        found = self._series.get(key)
        if found is None:
            shown = (
                "CONNECT" if subresource in _CONNECTED else _VERBS.get(verb, "APPLY" if verb == "apply" else "other")
            )
            labels = Labels(kind.group, kind.version, kind.kind, kind.plural, subresource, scope, shown, dry)
            found = self._series[key] = Series(labels)
        return found

    def of_document(self, path: str, method: str) -> Series:
        """The series of a request to one of the server's own documents."""
        key = (path, method if method in _METHODS else "other")
        found = self._series.get(key)
        if found is None:
            found = self._series[key] = Series(Labels(subresource=path, verb=key[1]))
        return found

    def answered(self, series: Series, code: int, started: float) -> None:
        """Count one that is over; `started` is what `perf_counter` said at its beginning."""
        codes = series.codes
        codes[code] = codes.get(code, 0) + 1
        seconds = perf_counter() - started
        series.seconds += seconds
        series.buckets[bisect_left(BUCKETS_SECONDS, seconds)] += 1

    async def waited(self, series: Series, reply: Awaitable[Reply]) -> Reply:
        """Count one that is not answered at once among those in flight."""
        if series.reading:
            self.reading += 1
        else:
            self.writing += 1
        try:
            return await reply
        finally:
            if series.reading:
                self.reading -= 1
            else:
                self.writing -= 1

    def followed(self, series: Series, reply: Stream | Upgrade, started: float) -> Reply:
        """The same answer, counted as one that is open while it lasts; upgrades leave our sight."""
        if isinstance(reply, Upgrade):
            self.answered(series, 101, started)
            return reply
        return msgspec.structs.replace(reply, run=partial(self._run, series, reply, started))

    async def _run(self, series: Series, reply: Stream, started: float, sink: Sink) -> None:
        series.running += 1
        try:
            await reply.run(sink)
        finally:
            series.running -= 1
            self.answered(series, reply.status, started)
