"""`fairway edge top`: what goes through the edge now, by domain; and how findings about Ingresses are shown."""

import argparse
import asyncio
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from fairway.cli import terminal
from fairway.toolkit.http_client import HttpClient, HttpError, unix_connector

METRICS_SOCKET = Path("edge/metrics.sock")
"""Below the state directory."""

_SAMPLE = re.compile(r"^fairway_edge_(\w+?)\{(.*)\} (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_CLEAR = "\x1b[H\x1b[J"
_UNITS = ("", "k", "M", "G", "T")
_LEVELS = {"native": "green", "harmless": "dim", "partial": "yellow", "refused": "red"}


class Counts(msgspec.Struct):
    """The counters of one row at one moment; `buckets` are cumulative, by upper bound in seconds."""

    classes: dict[str, float] = {}
    buckets: dict[float, float] = {}
    sent: float = 0
    received: float = 0

    def since(self, before: "Counts") -> "Counts":
        """What was added."""
        return Counts(
            {name: count - before.classes.get(name, 0) for name, count in self.classes.items()},
            {bound: count - before.buckets.get(bound, 0) for bound, count in self.buckets.items()},
            self.sent - before.sent,
            self.received - before.received,
        )

    @property
    def requests(self) -> float:
        return sum(self.classes.values())

    def quantile_seconds(self, share: float) -> float | None:
        """Estimated as Prometheus does: linear inside a bucket. None without requests."""
        bounds = sorted(self.buckets)
        if not bounds or not self.buckets[bounds[-1]]:
            return None
        rank, low, below = share * self.buckets[bounds[-1]], 0.0, 0.0
        for bound in bounds:
            count = self.buckets[bound]
            if count >= rank:
                return low if bound == float("inf") else low + (bound - low) * (rank - below) / max(count - below, 1e-9)
            low, below = bound, count
        return low


def parse(text: str, *, by_path: bool) -> dict[str, Counts]:
    """Prometheus text to counts by domain, or by domain and path rule."""
    rows: dict[str, Counts] = {}
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match is None:
            continue
        labels = dict(_LABEL.findall(match[2]))
        if "host" in labels:
            key = labels["host"] + (labels.get("path", "") if by_path else "")
            _add(rows.setdefault(key, Counts({}, {})), match[1], labels, float(match[3]))
    return rows


def _add(row: Counts, name: str, labels: Mapping[str, str], value: float) -> None:
    if name == "requests_total":
        row.classes[labels["code"]] = row.classes.get(labels["code"], 0) + value
    elif name == "request_duration_seconds_bucket":
        bound = float(labels["le"])
        row.buckets[bound] = row.buckets.get(bound, 0) + value
    elif name == "sent_bytes_total":
        row.sent += value
    elif name == "received_bytes_total":
        row.received += value


def screen(before: Mapping[str, Counts], now: Mapping[str, Counts], seconds: float, *, rows: int) -> str:
    """A table of what happened between two moments, the busiest first."""
    added = {name: counts.since(before.get(name, Counts())) for name, counts in now.items()}
    busiest = sorted(added.items(), key=lambda item: (-item[1].requests, item[0]))[:rows]
    headers = ("DOMAIN", "REQ/S", "2xx", "3xx", "4xx", "5xx", "P50", "P99", "OUT/S", "IN/S")
    lines = terminal.table(headers, [_row(name, counts, seconds) for name, counts in busiest]).splitlines()
    painted = [terminal.paint(lines[0], "bold")]
    for line, (_, counts) in zip(lines[1:], busiest, strict=True):
        painted.append(terminal.paint(line, *_style(counts)))
    return "\n".join(painted)


def _style(counts: Counts) -> tuple[str, ...]:
    if not counts.requests:
        return ("dim",)
    if counts.classes.get("5xx"):
        return ("red",)
    return ("yellow",) if counts.classes.get("4xx", 0) > counts.requests / 2 else ()


def _row(name: str, counts: Counts, seconds: float) -> tuple[str, ...]:
    classes = (f"{counts.classes.get(code, 0):.0f}" for code in ("2xx", "3xx", "4xx", "5xx"))
    times = (_milliseconds(counts.quantile_seconds(share)) for share in (0.5, 0.99))
    rates = (_bytes(counts.sent / seconds), _bytes(counts.received / seconds))
    return (name, f"{counts.requests / seconds:.1f}", *classes, *times, *rates)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f}ms"


def _bytes(count: float) -> str:
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            return f"{count:.0f}{unit}B" if not unit else f"{count:.1f}{unit}B"
        count /= 1000
    raise AssertionError


Action = Callable[[argparse.Namespace], int]


def add_parser(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    default_state_dir: Path,
    *,
    lint: Action,
    explain: Action,
    run: Action,
) -> "argparse._SubParsersAction[argparse.ArgumentParser]":
    """Add `edge` with its verbs and `run edge`; the actions are given, because they need the edge itself.

    Returns the parts that `run` knows, for more of them.
    """
    edge = commands.add_parser("edge", help="look at Ingresses and their traffic", description="Ingresses and traffic.")
    verbs = edge.add_subparsers(metavar="VERB", required=True)
    parser = verbs.add_parser("lint", help="what of Ingresses is native, partial or refused, and why")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="manifests; `-` is standard input")
    _add_cluster(parser)
    parser.set_defaults(run=lint)
    parser = verbs.add_parser("explain", help="which Ingress, path, backend and annotations answer a URL")
    parser.add_argument("url", metavar="URL")
    parser.add_argument("-f", "--file", action="append", default=[], type=Path, metavar="FILE", help="manifests")
    parser.add_argument("--state-dir", type=Path, default=default_state_dir, metavar="DIR")
    _add_cluster(parser)
    parser.set_defaults(run=explain)
    _add_top(verbs, default_state_dir)
    return _add_run(commands, default_state_dir, run)


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kubeconfig", type=Path, metavar="FILE", help="a cluster instead of files")
    parser.add_argument("--context", default="", help="of the kubeconfig; default: the current one")


def _add_run(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", default_state_dir: Path, run: Action
) -> "argparse._SubParsersAction[argparse.ArgumentParser]":
    alone = commands.add_parser("run", help="run one part by itself", description="Run one part by itself.")
    parts = alone.add_subparsers(metavar="PART", required=True)
    parser = parts.add_parser(
        "edge",
        help="the ingress controller, for the cluster of a kubeconfig",
        description="Serve the Ingresses of a cluster until interrupted. Its pods must be reachable from here.",
    )
    parser.add_argument("--kubeconfig", type=Path, required=True, metavar="FILE")
    parser.add_argument("--context", default="", help="default: the current one")
    for name, address in (("http", "127.0.0.1:8080"), ("https", "127.0.0.1:8443")):
        parser.add_argument(f"--{name}", default=address, metavar="ADDR:PORT", help=f"default {address}")
    parser.add_argument(
        "--status-address", action="append", default=[], metavar="ADDR", help="what Ingresses show; may repeat"
    )
    parser.add_argument(
        "--lease",
        default="fairway-edge/fairway-edge",
        metavar="NAMESPACE/NAME",
        help="what several edges settle with who writes statuses; default fairway-edge/fairway-edge",
    )
    parser.add_argument("--haproxy", metavar="FILE", help="the program; default: the best that is found")
    parser.add_argument("--state-dir", type=Path, default=default_state_dir / "run-edge", metavar="DIR")
    parser.set_defaults(run=run)
    return parts


def _add_top(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", default_state_dir: Path) -> None:
    parser = verbs.add_parser("top", help="requests, errors and latency by domain, live")
    parser.add_argument("--state-dir", type=Path, default=default_state_dir, metavar="DIR")
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="default 1")
    parser.add_argument("--rows", type=int, default=20, help="how many, default 20")
    parser.add_argument("--paths", action="store_true", help="by path rule instead of by domain")
    parser.add_argument("--once", action="store_true", help="one table, then end")
    parser.set_defaults(run=top)


def top(arguments: argparse.Namespace) -> int:
    """Show the table until interrupted; returns the exit code."""
    path = arguments.state_dir / METRICS_SOCKET
    try:
        asyncio.run(_watch(path, arguments))
    except (HttpError, OSError) as error:
        terminal.fail(f"{path}: {error or 'no answer'}; is the cluster up? `fairway up` starts it")
        return 1
    return 0


async def _watch(path: Path, arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    async with HttpClient(unix_connector(path), host_header="localhost") as http:
        before, at = await _sample(http, arguments.paths), loop.time()
        while True:
            await asyncio.sleep(arguments.interval)
            now, then = await _sample(http, arguments.paths), loop.time()
            shown = screen(before, now, then - at, rows=arguments.rows)
            print(f"{_CLEAR if terminal.colourful(sys.stdout) and not arguments.once else ''}{shown}", flush=True)
            if arguments.once:
                return
            before, at = now, then


async def _sample(http: HttpClient, by_path: bool) -> dict[str, Counts]:
    async with await http.request("GET", "/metrics") as response:
        return parse((await response.read()).decode(), by_path=by_path)


def finding(where: str, level: str, subject: str, message: str) -> str:
    """One line about one thing: where it stands, how far it is obeyed, and why."""
    mark = terminal.paint(f"{level:8}", _LEVELS.get(level, "bold"))
    return f"{terminal.paint(where, 'dim')}  {mark}  {subject}" + (f": {message}" if message else "")


def findings(rows: Sequence[tuple[str, str, str, str]]) -> str:
    """A line each, in columns: where, how far, what, and why."""
    places = max((terminal.width(row[0]) for row in rows), default=0)
    things = max((terminal.width(row[2]) for row in rows), default=0)
    lines = []
    for where, level, subject, message in rows:
        mark = terminal.paint(f"{level:8}", _LEVELS.get(level, "bold"))
        thing = f"{subject.ljust(things)}  {message}" if message else subject
        lines.append(f"{terminal.paint(where.ljust(places), 'dim')}  {mark}  {thing}\n")
    return "".join(lines)


def summary(levels: Sequence[str]) -> str:
    """How many of each."""
    return ", ".join(f"{levels.count(level)} {level}" for level in _LEVELS if level in levels) or "nothing found"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values, one below the other."""
    found = [(name, value) for name, value in pairs if value]
    columns = max((terminal.width(name) for name, _ in found), default=0)
    return "\n".join(f"{terminal.paint(name.ljust(columns), 'bold')}   {value}" for name, value in found)
