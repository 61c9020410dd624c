"""The API server's figures beside their aims: writes, reads, lists, watches, memory and start.

    python bench/api.py [scale]       a scale of 0.1 does a tenth of everything

"Per core" counts the processor time that the server itself used, so that a busy machine does not matter.  The server is
a process of its own, on disk, without controllers.
"""

import asyncio
import contextlib
import json
import shutil
import sqlite3
import ssl
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))

from live_api import Live, live_api

from fairway.engine.apiserver.store import Key, SqliteStore
from fairway.engine.apiserver.store.history import KEPT_EVENTS

CLIENTS = 50
WATCHERS = 1000
PODS = 5000
STORED = 100_000
MAPS = "/api/v1/namespaces/default/configmaps"
PODS_PATH = "/api/v1/namespaces/default/pods"


class Figure(NamedTuple):
    """One line of the table."""

    what: str
    measured: str
    aim: str
    reached: bool


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b" * 200}}


def pod(name: str) -> dict[str, Any]:
    container = {
        "name": "web",
        "image": "nginx:1",
        "ports": [{"containerPort": 80}],
        "env": [{"name": f"NAME_{number}", "value": "some value"} for number in range(8)],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 80}},
    }
    metadata = {"name": name, "labels": {"app": "web", "tier": "front"}}
    spec = {"containers": [container], "automountServiceAccountToken": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


class Connection:
    """One kept connection that sends prepared bytes and reads whole answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def unix(cls, path: Path) -> "Connection":
        return cls(*await asyncio.open_unix_connection(str(path), limit=1 << 26))

    @classmethod
    async def tls(cls, live: Live) -> "Connection":
        context = ssl.create_default_context(cafile=str(live.folder / "ca.crt"))
        context.load_cert_chain(live.folder / "admin.crt", live.folder / "admin.key")
        return cls(*await asyncio.open_connection("127.0.0.1", live.port, ssl=context, limit=1 << 26))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r", 1)[0])
        return int(head[9:12]), await self.reader.readexactly(length)

    def close(self) -> None:
        self.writer.close()


def request(method: str, path: str, body: Any = None) -> bytes:
    """The bytes of a request."""
    data = b"" if body is None else json.dumps(body).encode()
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


async def many(connections: list[Connection], requests: Iterator[bytes], wanted: int) -> None:
    """Send all requests, each connection one after the other."""

    async def work(connection: Connection) -> None:
        for one in requests:
            status, body = await connection.ask(one)
            assert status == wanted, (status, body[:300])

    await asyncio.gather(*(work(connection) for connection in connections))


async def rate(live: Live, connections: list[Connection], requests: list[bytes], wanted: int) -> tuple[float, float]:
    """Requests per second of the server's processor time, and per second."""
    busy, started = live.cpu_seconds(), time.perf_counter()
    await many(connections, iter(requests), wanted)
    seconds = time.perf_counter() - started
    return len(requests) / max(live.cpu_seconds() - busy, 0.01), len(requests) / seconds


async def writes(live: Live, scale: float) -> list[Figure]:
    connections = [await Connection.unix(live.socket) for _ in range(CLIENTS)]
    found = []
    for what, path, make, count, aim in (
        ("durable creates of ConfigMaps", MAPS, config_map, 10_000, 2000),
        ("durable creates of pods", PODS_PATH, pod, PODS, 800),
    ):
        bodies = [request("POST", path, make(f"n{number}")) for number in range(int(count * scale))]
        core, wall = await rate(live, connections, bodies, 201)
        found.append(Figure(what, f"{core:,.0f}/s per core ({wall:,.0f}/s)", f"≥ {aim:,}/s", core >= aim))
    for connection in connections:
        connection.close()
    return found


async def gets(live: Live, scale: float) -> list[Figure]:
    connections = [await Connection.tls(live) for _ in range(CLIENTS)]
    core, wall = await rate(live, connections, [request("GET", f"{PODS_PATH}/n1")] * int(40_000 * scale), 200)
    for connection in connections:
        connection.close()
    return [Figure("gets over TLS", f"{core:,.0f}/s per core ({wall:,.0f}/s)", "≥ 15,000/s", core >= 15_000)]


async def lists(live: Live, scale: float) -> list[Figure]:
    connection = await Connection.unix(live.socket)
    rounds, size, busy = 10, 0, live.cpu_seconds()
    for _ in range(rounds):
        size = len((await connection.ask(request("GET", "/api/v1/pods")))[1])
    milliseconds = (live.cpu_seconds() - busy) / rounds * 1000
    connection.close()
    what = f"list of {int(PODS * scale):,} pods, {size / 1e6:.1f} MB"
    return [Figure(what, f"{milliseconds:.0f} ms of processor", "< 40 ms", milliseconds < 40)]


async def watches(live: Live, scale: float) -> list[Figure]:
    count = int(WATCHERS * scale)
    connections = [await Connection.unix(live.socket) for _ in range(count)]
    revision = json.loads((await connections[0].ask(request("GET", f"{MAPS}?limit=1")))[1])["metadata"][
        "resourceVersion"
    ]
    for connection in connections:
        connection.writer.write(request("GET", f"{MAPS}?watch=1&resourceVersion={revision}"))
        await connection.reader.readuntil(b"\r\n\r\n")
    writer = await Connection.unix(live.socket)
    delays: list[float] = []
    for number in range(20):
        arrivals = [asyncio.create_task(_arrival(connection)) for connection in connections]
        await asyncio.sleep(0.05)
        sent = time.perf_counter()
        await writer.ask(request("PATCH", f"{MAPS}/n1", {"data": {"a": f"{number}"}}))
        delays += [moment - sent for moment in await asyncio.gather(*arrivals)]
    for connection in (*connections, writer):
        connection.close()
    worst = sorted(delays)[int(len(delays) * 0.99) - 1] * 1000
    return [Figure(f"a patch to its event at {count:,} watchers, p99", f"{worst:.1f} ms", "< 30 ms", worst < 30)]


async def _arrival(connection: Connection) -> float:
    await connection.reader.readuntil(b"\n\r\n")
    return time.perf_counter()


async def stored(folder: Path, count: int) -> None:
    """Fill the disk of a server that is not running; the objects are old, so the log of changes is short."""
    store = SqliteStore(folder)
    store.open()
    pending = []
    for number in range(count):
        name = f"stored-{number}"
        obj = config_map(name)
        obj["metadata"] |= {"namespace": "default", "uid": f"u{number}", "creationTimestamp": "2026-01-01T00:00:00Z"}
        pending.append(store.put(Key("configmaps", "default", name), obj, None))
        if len(pending) == 2000:
            await asyncio.gather(*pending)
            pending = []
    await asyncio.gather(*pending)
    revision = store.revision
    store.close()
    with contextlib.closing(sqlite3.connect(folder / "objects.db")) as database, database:
        # what compaction does in the background, a piece at a time
        database.execute("DELETE FROM log WHERE revision <= ?", (revision - KEPT_EVENTS,))
        database.execute("INSERT OR REPLACE INTO meta VALUES ('compacted', ?)", (revision - KEPT_EVENTS,))


def start(folder: Path, what: str) -> list[Figure]:
    """From the start of the process to the moment at which requests are answered, imports included."""
    started = time.perf_counter()
    with live_api(folder, with_controllers=False) as live:
        milliseconds = (time.perf_counter() - started) * 1000
        memory = live.memory_megabytes()
    found = [Figure(f"answering after start, {what}", f"{milliseconds:.0f} ms", "< 400 ms", milliseconds < 400)]
    if what == "empty":
        found.append(Figure("resident at rest", f"{memory:.0f} MB", "< 60 MB", memory < 60))
    return found


def table(figures: list[Figure]) -> str:
    rows = [
        ("what", "measured", "aim", ""),
        *((f.what, f.measured, f.aim, "" if f.reached else "missed") for f in figures),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def main() -> None:
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    folder = Path(tempfile.mkdtemp(prefix="bench-api-"))
    steps: tuple[Callable[[Live, float], Awaitable[list[Figure]]], ...] = (writes, gets, lists, watches)
    figures: list[Figure] = []
    try:
        with live_api(folder / "load", with_controllers=False) as live:
            for step in steps:
                figures += uvloop.run(_once(step, live, scale))
        with live_api(folder / "empty", with_controllers=False):
            pass  # keys and certificates are made at the first start
        figures += start(folder / "empty", "empty")
        count = int(STORED * scale)
        uvloop.run(stored(folder / "empty/state", count))
        figures += start(folder / "empty", f"{count:,} objects stored")
    finally:
        shutil.rmtree(folder)
    print(table(figures))


async def _once(step: Callable[[Live, float], Awaitable[list[Figure]]], live: Live, scale: float) -> list[Figure]:
    return await step(live, scale)


if __name__ == "__main__":
    main()
