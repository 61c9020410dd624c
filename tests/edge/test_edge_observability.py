"""The access log, the metrics and the trace context: pure parts by table, the rest with a real HAProxy."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fairway.edge import metrics
from fairway.edge.access_log import Collector, File, Receiver, listen, redact
from fairway.edge.ir import Forward, Match, PathKind, Route
from fairway.edge.metrics import OTHER, Series, Traffic, index

RULES = tuple(
    Route(Match("a.test", path, kind), Forward("n/web:80"))
    for path, kind in (
        ("/", PathKind.PREFIX),
        ("/api", PathKind.PREFIX),
        ("/api", PathKind.EXACT),
        ("/stat", PathKind.STRING),
    )
)


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/", "/"),
        ("/x", "/"),
        ("/api", "/api"),
        ("/api/v1", "/api"),
        ("/apis", "/"),
        ("/static/x", "/stat"),
        ("*", OTHER),
    ],
)
def test_a_path_is_counted_for_the_rule_that_serves_it(path: str, rule: str) -> None:
    assert index(RULES).rule(path) == rule


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("a.test", "a.test"),
        ("A.test.:8080", "a.test"),
        ("x.wild.test", "*.wild.test"),
        ("x.y.wild.test", OTHER),
        ("evil", OTHER),
        ("", OTHER),
    ],
)
def test_a_host_that_nobody_configured_is_no_series(host: str, expected: str) -> None:
    traffic = Traffic()
    wild = (Route(Match("*.wild.test", "/", PathKind.PREFIX), Forward("n/web:80")),)
    traffic.see({"a.test": RULES, "*.wild.test": wild}, {})
    assert traffic.count(host, "/", 200, 1, 1, 1)[0] == expected


def test_the_number_of_series_is_bounded_and_forgets_what_is_gone() -> None:
    traffic = Traffic(series_most=2)
    routes = {f"h{number}.test": RULES for number in range(4)}
    traffic.see(routes, {})
    for number in range(4):
        traffic.count(f"h{number}.test", "/", 200, 1, 1, 1)
    assert set(traffic.series) == {("h0.test", "/"), ("h1.test", "/"), (OTHER, OTHER)}
    assert sum(sum(one.classes) for one in traffic.series.values()) == 4
    traffic.see({"h3.test": RULES}, {})
    traffic.count("h3.test", "/", 200, 1, 1, 1)
    assert set(traffic.series) == {("h3.test", "/"), (OTHER, OTHER)}


def test_series_count_classes_times_and_bytes() -> None:
    one = Series()
    for status, milliseconds in ((200, 0), (204, 5), (301, 6), (503, 99_999), (0, -1)):
        one.count(status, milliseconds, 10, 1)
    assert one.classes == [1, 0, 2, 1, 0, 1]
    assert (one.buckets[0], one.buckets[1], one.buckets[-1], sum(one.buckets)) == (3, 1, 1, 5)
    assert (one.sent, one.received) == (50, 5)


def test_the_text_is_what_prometheus_reads() -> None:
    traffic = Traffic()
    traffic.see({"a.test": RULES}, {})
    traffic.count("a.test", "/api", 200, 7, 100, 10)
    text = metrics.text(traffic, {"healed": 2}, {'new "x"': 3})
    for line in (
        'fairway_edge_requests_total{host="a.test",path="/api",code="2xx"} 1',
        'fairway_edge_request_duration_seconds_bucket{host="a.test",path="/api",le="0.005"} 0',
        'fairway_edge_request_duration_seconds_bucket{host="a.test",path="/api",le="0.01"} 1',
        'fairway_edge_request_duration_seconds_bucket{host="a.test",path="/api",le="+Inf"} 1',
        'fairway_edge_sent_bytes_total{host="a.test",path="/api"} 100',
        'fairway_edge_reloads_total{reason="new \\"x\\""} 3',
        "fairway_edge_healed_total 2",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/a", "/a"),
        ("/a?q=1&page=2", "/a?q=1&page=2"),
        ("/a?access_token=x&q=1", "/a?access_token=REDACTED&q=1"),
        ("/a?PassWord=x=y", "/a?PassWord=REDACTED"),
        ("/a?to%6ben=x", "/a?to%6ben=REDACTED"),
        ("/a?X-Amz-Signature=ff&b", "/a?X-Amz-Signature=REDACTED&b"),
        ("/a?q=1?token=2", "/a?q=1?token=2"),
    ],
)
def test_secrets_of_queries_are_not_written(uri: str, expected: str) -> None:
    assert redact(uri) == expected


def test_all_values_can_be_left_out_or_none() -> None:
    assert redact("/a?q=1&word", ("*",)) == "/a?q=REDACTED&REDACTED"
    assert redact("/a?token=1", ()) == "/a?token=1"


def test_the_file_is_rotated_and_the_oldest_goes(tmp_path: Path) -> None:
    file = File(tmp_path / "log" / "access.log", bytes_max=10, keep=2)
    for text in (b"one\n", b"two\n", b"three\n", b"four....\n", b"five....\n"):
        file.write(text)
    file.close()
    found = {path.name: path.read_bytes() for path in (tmp_path / "log").iterdir()}
    assert found == {
        "access.log": b"five....\n",
        "access.log.1": b"four....\n",
        "access.log.2": b"three\n",
    }


def test_lines_arrive_whole_however_they_are_cut() -> None:
    taken: list[bytes] = []
    receiver = Receiver(taken.append)
    for piece in (b"on", b"e\ntw", b"o\nthree\nfo", b"ur\n"):
        receiver.data_received(piece)
    assert b"".join(taken) == b"one\ntwo\nthree\nfour\n"


def test_what_is_no_line_is_counted_and_nothing_else() -> None:
    traffic = Traffic()
    Collector(traffic, None).take(b'{"time":1\nnonsense\n\xff\xfe\n')
    assert (traffic.malformed, traffic.requests) == (3, 0)


class Logged:
    """An edge whose lines are collected."""

    def __init__(self, edge: Any, path: Path) -> None:
        self.edge = edge
        self.traffic = Traffic()
        self.path = path
        self.came = asyncio.Event()
        self._file = File(path, bytes_max=1 << 20, keep=1)
        self.collector = Collector(self.traffic, self._file)

    def take(self, data: bytes) -> None:
        Collector.take(self.collector, data)
        self.came.set()

    async def entries(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(60):
            while self.traffic.requests < count:
                self.came.clear()
                await self.came.wait()
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def close(self) -> None:
        self._file.close()


class Watching(Collector):
    """Tells when something came."""

    def __init__(self, logged: Logged) -> None:
        self._logged = logged

    def take(self, data: bytes) -> None:
        self._logged.take(data)


@pytest.fixture
async def logged(edge: Any, tmp_path: Path) -> AsyncIterator[Logged]:
    edge.options = msgspec.structs.replace(edge.options, log=True, trace=True)
    made = Logged(edge, tmp_path / "access.log")
    server = await listen(edge.folder / "root" / "access.sock", Watching(made), None)
    yield made
    server.close()
    made.close()


async def test_every_request_is_a_line(logged: Logged, make: Any, pods: Any) -> None:
    edge = logged.edge
    rules = [("a.test", "/api", "Prefix", "web"), ("a.test", "/", "Prefix", "web")]
    await edge.apply([make.ingress("a", *rules), *make.service("web", await pods("web").start())])
    logged.traffic.see(edge.translation.groups.by_host, edge.proxy.running.placement.names)
    nasty = 'x"\\\t\u00e9{}%'
    answer = await edge.get("a.test/api/x?q=1&token=geheim", headers={"User-Agent": nasty, "X-Request-ID": 'r-"1\\'})
    assert answer.status == 200
    await edge.get("other.test/none")
    first, second = await logged.entries(2)
    assert {name: first[name] for name in ("host", "path", "method", "status", "rule", "backend", "request_id")} == {
        "host": "a.test",
        "path": "/api/x?q=1&token=REDACTED",
        "method": "GET",
        "status": 200,
        "rule": "a.test/api",
        "backend": "default/web:80",
        "request_id": 'r-"1\\',
    }
    assert first["bytes_sent"] > 0 and first["bytes_received"] > 0 and first["server"].startswith("127.0.0.1:")
    assert first["user_agent"].startswith('x"\\\t')
    assert (second["status"], second["rule"], second["backend"]) == (404, f"{OTHER}{OTHER}", None)
    assert first["traceparent"] == answer.sent("traceparent")
    assert "geheim" not in logged.path.read_text()


async def test_lines_written_while_nobody_listened_come_later(edge: Any, tmp_path: Path) -> None:
    edge.options = msgspec.structs.replace(edge.options, log=True)
    await edge.apply([])
    for _ in range(5):
        await edge.get("x.test/")
    made = Logged(edge, tmp_path / "access.log")
    server = await listen(edge.folder / "root" / "access.sock", Watching(made), None)
    await edge.get("x.test/")
    assert len(await made.entries(6)) == 6
    server.close()
    made.close()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        ("00-0AF7-1-01", False),
        ("", False),
    ],
)
async def test_a_trace_goes_on_or_begins(logged: Logged, make: Any, pods: Any, sent: str, kept: bool) -> None:
    edge = logged.edge
    await edge.apply(
        [make.ingress("a", ("a.test", "/", "Prefix", "web")), *make.service("web", await pods("web").start())]
    )
    headers = {"traceparent": sent, "tracestate": "x=1"} if sent else {}
    answers = [await edge.get("a.test/", headers=headers) for _ in range(2)]
    found = [answer.sent("traceparent") for answer in answers]
    assert [answer.sent("tracestate") for answer in answers] == (["x=1"] * 2 if kept else [None] * 2)
    if kept:
        assert found == [sent, sent]
    else:
        version, trace, parent, flags = found[0].split("-")
        assert (version, len(trace), len(parent), flags) == ("00", 32, 16, "01")
        assert bytes.fromhex(trace) and trace == trace.lower() and found[0] != found[1]
