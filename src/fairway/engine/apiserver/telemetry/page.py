"""`/metrics` and `/metrics/slis`: Prometheus text (exposition 0.0.4) with upstream's names and labels."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from fairway.engine.apiserver.telemetry import process
from fairway.engine.apiserver.telemetry.requests import BUCKETS_SECONDS, Labels, Requests, Series

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_BOUNDS = tuple(f"{bound:g}" for bound in BUCKETS_SECONDS)

Counts = Callable[[], Mapping[str, int]]
Check = Callable[[], str]
"""Gives an empty string, or what is wrong."""


class Page:
    """Written when asked for; nothing is kept ready.

    `objects` gives how many objects of each resource are stored; `checks` are the health checks by probe and name.
    """

    def __init__(
        self, requests: Requests, objects: Counts, checks: Mapping[str, Mapping[str, Check]], release: Mapping[str, str]
    ) -> None:
        self._requests = requests
        self._objects = objects
        self._checks = checks
        self._release = release

    def metrics(self) -> str:
        """Everything. Raises OSError."""
        every = self._requests.all()
        answered = [series for series in every if series.codes]
        parts = (
            _family("apiserver_request_total", "counter", "Requests by verb, resource and code.", _totals(answered)),
            _family(
                "apiserver_request_duration_seconds",
                "histogram",
                "How long answering took; a watch counts when it ends.",
                _durations(answered),
            ),
            _family(
                "apiserver_longrunning_requests",
                "gauge",
                "Streams that are open now.",
                (f"{_named(series.labels)} {series.running}" for series in every if series.running),
            ),
            _family(
                "apiserver_registered_watchers",
                "gauge",
                "Open watches of each kind.",
                _watchers(series for series in every),
            ),
            _family(
                "apiserver_current_inflight_requests",
                "gauge",
                "Requests that wait for something now, watches and other streams left out.",
                (
                    f'{{request_kind="mutating"}} {self._requests.writing}',
                    f'{{request_kind="readOnly"}} {self._requests.reading}',
                ),
            ),
            _family(
                "apiserver_storage_objects",
                "gauge",
                "Stored objects of each resource.",
                (f"{_labelled(resource=name)} {count}" for name, count in sorted(self._objects().items())),
            ),
            _family("kubernetes_build_info", "gauge", "Which release this is.", (f"{_labelled(**self._release)} 1",)),
            *(
                _family(name, _type(name), "Of this process.", (f" {value}",))
                for name, value in process.numbers().items()
            ),
        )
        return "\n".join(line for part in parts for line in part) + "\n"

    def health(self) -> str:
        """Whether each health check passes."""
        lines = (
            f"{_labelled(name=name, type=probe)} {0 if check() else 1}"
            for probe, checks in self._checks.items()
            for name, check in checks.items()
        )
        return "\n".join(_family("kubernetes_healthcheck", "gauge", "1 while a health check passes.", lines)) + "\n"


def _family(name: str, type: str, help: str, samples: Iterable[str]) -> Iterator[str]:
    """Samples without their name, which may begin with the rest of it."""
    yield f"# HELP {name} {help}"
    yield f"# TYPE {name} {type}"
    for sample in samples:
        yield name + sample


def _type(name: str) -> str:
    return "counter" if name.endswith("_total") else "gauge"


def _totals(every: Iterable[Series]) -> Iterator[str]:
    for series in every:
        rest = _shown(series.labels)
        for code, count in series.codes.items():
            yield f'{{code="{code}",{rest}}} {count}'


def _durations(every: Iterable[Series]) -> Iterator[str]:
    for series in every:
        labels, reached = _shown(series.labels), 0
        for bound, count in zip(_BOUNDS, series.buckets, strict=False):
            reached += count
            yield f'_bucket{{{labels},le="{bound}"}} {reached}'
        reached += series.buckets[-1]
        yield f'_bucket{{{labels},le="+Inf"}} {reached}'
        yield f"_sum{{{labels}}} {series.seconds:.6f}"
        yield f"_count{{{labels}}} {reached}"


def _watchers(every: Iterable[Series]) -> Iterator[str]:
    found: dict[tuple[str, str, str], int] = {}
    for series in every:
        labels = series.labels
        if labels.verb == "WATCH" and series.running:
            key = (labels.group, labels.kind, labels.version)
            found[key] = found.get(key, 0) + series.running
    for (group, kind, version), count in found.items():
        yield f"{_labelled(group=group, kind=kind, version=version)} {count}"


def _named(labels: Labels) -> str:
    return f"{{{_shown(labels)}}}"


def _shown(labels: Labels) -> str:
    return _pairs(
        component="apiserver",
        dry_run=labels.dry_run,
        group=labels.group,
        resource=labels.resource,
        scope=labels.scope,
        subresource=labels.subresource,
        verb=labels.verb,
        version=labels.version,
    )


def _labelled(**labels: str) -> str:
    return f"{{{_pairs(**labels)}}}"


def _pairs(**labels: str) -> str:
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
