"""What went through the edge, by host and path rule, and what the edge did; as Prometheus text (exposition 0.0.4).

The number of series is bounded: hosts that nobody configured and rules beyond the limit are counted as `other`.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping

import msgspec

from fairway.edge.ir import ANY_HOST, PathKind, Route

BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BUCKETS_MILLISECONDS = tuple(int(seconds * 1000) for seconds in BUCKETS_SECONDS)
SERIES_MOST = 1000
OTHER = "other"
_INDEXES_MOST = 20_000
_STRINGS_MOST = 64
_CLASSES = ("other", "1xx", "2xx", "3xx", "4xx", "5xx")


class Series:
    """The counts of one path rule; `buckets` are not cumulative and end with +Inf."""

    __slots__ = ("buckets", "classes", "milliseconds", "received", "sent")

    def __init__(self) -> None:
        self.classes = [0] * len(_CLASSES)
        self.buckets = [0] * (len(BUCKETS_SECONDS) + 1)
        self.milliseconds = 0
        self.sent = 0
        self.received = 0

    def count(self, status: int, milliseconds: int, sent: int, received: int) -> None:
        self.classes[status // 100 if 100 <= status < 600 else 0] += 1
        self.buckets[bisect_left(_BUCKETS_MILLISECONDS, milliseconds)] += 1
        self.milliseconds += max(milliseconds, 0)
        self.sent += sent
        self.received += received


class Index(msgspec.Struct, frozen=True):
    """The path rules of one host, to be found by a path as a client wrote it."""

    routes: tuple[Route, ...]
    exact: frozenset[str]
    prefixes: frozenset[str]
    strings: tuple[str, ...]
    expressions: bool

    def rule(self, path: str) -> str:
        """The path of the rule that applies; expressions are one rule, for trying them here would cost too much."""
        if path in self.exact:
            return path
        string = next((text for text in self.strings if path.startswith(text)), None)
        prefix = self._prefix(path)
        if prefix is not None and (string is None or len(prefix) >= len(string)):
            return prefix.rstrip("/") or "/"
        return string or ("~" if self.expressions else OTHER)

    def _prefix(self, path: str) -> str | None:
        rest = f"{path}/"
        while (end := rest.rfind("/")) >= 0:
            if rest[: end + 1] in self.prefixes:
                return rest[: end + 1]
            rest = rest[:end]
        return None


class Traffic:
    """Counts requests; `see` tells it what is configured."""

    def __init__(self, series_most: int = SERIES_MOST) -> None:
        self.series: dict[tuple[str, str], Series] = {}
        self.malformed = 0
        self.requests = 0
        self._series_most = series_most
        self._routes: Mapping[str, tuple[Route, ...]] = {}
        self._names: Mapping[str, str] = {}
        self._places: Mapping[str, str] = {}
        self._indexes: dict[str, Index] = {}

    def see(self, by_host: Mapping[str, tuple[Route, ...]], names: Mapping[str, str]) -> None:
        """The routes of every host, and the backends of HAProxy by their names in the edge."""
        self._routes = by_host
        if names is not self._names:
            self._names, self._places = names, {place: name for name, place in names.items()}

    def backend(self, place: str) -> str | None:
        """The Service and port that a backend of HAProxy stands for."""
        name = self._places.get(place)
        return name.partition("#")[0] if name else None

    def count(self, host: str, path: str, status: int, milliseconds: int, sent: int, received: int) -> tuple[str, str]:
        """Count one request and tell which host and path rule it was for."""
        self.requests += 1
        key = self._rule(host, path)
        series = self.series.get(key) or self._open(key)
        series.count(status, milliseconds, sent, received)
        return key

    def _open(self, key: tuple[str, str]) -> Series:
        if len(self.series) >= self._series_most:
            for gone in [known for known in self.series if known[0] not in self._routes and known[0] != OTHER]:
                del self.series[gone]
            if len(self.series) >= self._series_most:
                key = (OTHER, OTHER)
        return self.series.setdefault(key, Series())

    def _rule(self, host: str, path: str) -> tuple[str, str]:
        name = self._host(host)
        if not name:
            return OTHER, OTHER
        rule = self._index(name).rule(path)
        return name, rule

    def _host(self, host: str) -> str:
        routes = self._routes
        if host in routes:
            return host
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        name = name.lower().rstrip(".")
        if name in routes:
            return name
        wildcard = f"*.{name.partition('.')[2]}"
        return wildcard if wildcard in routes else ANY_HOST if ANY_HOST in routes else ""

    def _index(self, host: str) -> Index:
        routes = self._routes[host]
        known = self._indexes.get(host)
        if known is not None and known.routes is routes:
            return known
        if len(self._indexes) >= _INDEXES_MOST:
            self._indexes.clear()
        self._indexes[host] = made = index(routes)
        return made


def index(routes: tuple[Route, ...]) -> Index:
    """Rules by kind."""
    by_kind: dict[PathKind, list[str]] = {kind: [] for kind in PathKind}
    for route in routes:
        by_kind[route.match.kind].append(route.match.path)
    strings = sorted(by_kind[PathKind.STRING], key=len, reverse=True)
    return Index(
        routes=routes,
        exact=frozenset(by_kind[PathKind.EXACT]),
        prefixes=frozenset(f"{path.rstrip('/')}/" for path in by_kind[PathKind.PREFIX]),
        strings=tuple(strings[:_STRINGS_MOST]),
        expressions=bool(by_kind[PathKind.REGEX]),
    )


def text(traffic: Traffic, edge: Mapping[str, int], reloads: Mapping[str, int]) -> str:
    """Everything; `edge` are further counters by name, `reloads` how often HAProxy was reloaded and why."""
    return "\n".join((*_traffic(traffic), *_edge(traffic, edge, reloads), ""))


def _traffic(traffic: Traffic) -> Iterator[str]:
    labelled = [(f'host="{_escape(host)}",path="{_escape(path)}"', one) for (host, path), one in traffic.series.items()]
    yield from _head("fairway_edge_requests_total", "counter", "Requests by host, path rule and status class.")
    for labels, one in labelled:
        for name, count in zip(_CLASSES, one.classes, strict=True):
            if count:
                yield f'fairway_edge_requests_total{{{labels},code="{name}"}} {count}'
    yield from _head("fairway_edge_request_duration_seconds", "histogram", "From the first byte to the last.")
    for labels, one in labelled:
        below = 0
        for bound, count in zip((*map(str, BUCKETS_SECONDS), "+Inf"), one.buckets, strict=True):
            below += count
            yield f'fairway_edge_request_duration_seconds_bucket{{{labels},le="{bound}"}} {below}'
        yield f"fairway_edge_request_duration_seconds_sum{{{labels}}} {one.milliseconds / 1000}"
        yield f"fairway_edge_request_duration_seconds_count{{{labels}}} {below}"
    for name, about in (("sent", "Bytes to clients."), ("received", "Bytes from clients.")):
        yield from _head(f"fairway_edge_{name}_bytes_total", "counter", about)
        for labels, one in labelled:
            yield f"fairway_edge_{name}_bytes_total{{{labels}}} {getattr(one, name)}"


def _edge(traffic: Traffic, edge: Mapping[str, int], reloads: Mapping[str, int]) -> Iterator[str]:
    yield from _head("fairway_edge_reloads_total", "counter", "HAProxy processes that took over, by why.")
    for reason, count in sorted(reloads.items()):
        yield f'fairway_edge_reloads_total{{reason="{_escape(reason)}"}} {count}'
    for name, count in edge.items():
        yield from _head(f"fairway_edge_{name}_total", "counter", _ABOUT.get(name, name))
        yield f"fairway_edge_{name}_total {count}"
    yield from _head("fairway_edge_malformed_log_lines_total", "counter", "Lines that could not be read.")
    yield f"fairway_edge_malformed_log_lines_total {traffic.malformed}"
    yield from _head("fairway_edge_series", "gauge", "Path rules that are counted by themselves.")
    yield f"fairway_edge_series {len(traffic.series)}"


_ABOUT = {
    "runtime_changes": "Changes made while HAProxy ran.",
    "healed": "Times that HAProxy had something else than it should.",
    "revived": "Times that HAProxy had ended and was started again.",
    "refused": "Configurations and certificates that HAProxy did not take.",
    "passes": "Looks at the whole picture.",
}


def _head(name: str, kind: str, about: str) -> tuple[str, str]:
    return f"# HELP {name} {about}", f"# TYPE {name} {kind}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
