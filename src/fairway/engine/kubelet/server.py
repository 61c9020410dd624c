"""The kubelet's HTTP door on a Unix socket: container logs and streams for the API server."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl, unquote

import msgspec

from fairway.engine.kubelet import node_pages
from fairway.engine.kubelet.config import Config
from fairway.engine.kubelet.log_reader import LogOptions, copy
from fairway.engine.kubelet.machine import Machine
from fairway.engine.kubelet.metrics import Metrics
from fairway.engine.kubelet.streaming.endpoints import Streaming
from fairway.kube.api.meta import ObjectKey
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_messages import Reply, Request, Response, Sink, Stream, refusal
from fairway.toolkit.http_server import HttpServer

log = logs.get("kubelet")
_TEXT = (("Content-Type", "text/plain; charset=utf-8"),)


class LogFile(msgspec.Struct, frozen=True):
    """One run's log and whether the run goes on."""

    path: Path
    running: Callable[[], bool]


class NoLog(Exception):
    """There is no such log; the message is for the user."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


FindLog = Callable[[ObjectKey, str, bool], LogFile]
"""The log of a pod's container, or of its previous run.  Raises NoLog."""


class Server:
    """Streams, `/stats`, and `/containerLogs/<namespace>/<pod>/<container>` with the log subresource's parameters."""

    def __init__(
        self, config: Config, clock: Clock, find: FindLog, streaming: Streaming, metrics: Metrics, machine: Machine
    ) -> None:
        self._config = config
        self._clock = clock
        self._find = find
        self._streaming = streaming
        self._metrics = metrics
        self._machine = machine

    async def run(self) -> None:
        """Serve until cancelled.  Raises OSError when the socket cannot be made."""
        server = HttpServer(self._answer, log)
        await server.listen_unix(self._config.server_socket, name="kubelet")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await server.stop(grace_seconds=0.5)

    def _answer(self, request: Request) -> Reply | Awaitable[Reply]:
        parts = [unquote(part) for part in request.path.strip("/").split("/")]
        if parts == ["healthz"]:
            return Response(200, b"ok", _TEXT)
        if parts == ["stats"]:
            return self._stats()
        if parts[0] in ("metrics", "stats"):
            return self._page("/".join(parts))
        streams = self._streaming.answer(request, parts)
        if streams is not None:
            return streams
        if len(parts) != 4 or parts[0] != "containerLogs":
            return refusal(404, "404 page not found")
        if request.method != "GET":
            return refusal(405, "only GET")
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        try:
            options = self._options(query)
            found = self._find(ObjectKey(parts[1], parts[2]), parts[3], _flag(query, "previous"))
        except ValueError as error:
            return refusal(400, str(error))
        except NoLog as error:
            return refusal(error.status, error.message)
        return Stream(200, partial(self._copy, found, options), _TEXT)

    async def _stats(self) -> Reply:
        return Response(200, msgspec.json.encode(await self._metrics.report()), (("Content-Type", "application/json"),))

    async def _page(self, path: str) -> Reply:
        """What monitors read."""
        sample, targets = await self._metrics.look()
        match path:
            case "metrics":
                text = node_pages.kubelet(targets, self._config.node_name, self._config.version)
            case "metrics/cadvisor":
                text = node_pages.cadvisor(sample, targets, self._machine)
            case "metrics/resource":
                text = node_pages.resource(sample, targets)
            case "stats/summary":
                metrics = self._metrics
                found = node_pages.summary(sample, targets, metrics.nanocores, self._machine, self._config.node_name)
                return Response(200, msgspec.json.encode(found), (("Content-Type", "application/json"),))
            case _:
                return refusal(404, "404 page not found")
        return Response(200, text.encode(), (("Content-Type", node_pages.CONTENT_TYPE),))

    async def _copy(self, found: LogFile, options: LogOptions, sink: Sink) -> None:
        async def write(data: bytes) -> None:
            sink.write(data)
            await sink.drain()

        try:
            await copy(found.path, options, write, found.running, self._clock)
        except OSError as error:
            log.warning("unreadable", path=found.path, error=error)
            sink.abort()

    def _options(self, query: dict[str, str]) -> LogOptions:
        return LogOptions(
            follow=_flag(query, "follow"),
            tail_lines=_number(query, "tailLines"),
            since=self._since(query),
            timestamps=_flag(query, "timestamps"),
            limit_bytes=_number(query, "limitBytes"),
        )

    def _since(self, query: dict[str, str]) -> str:
        seconds = _number(query, "sinceSeconds")
        if seconds is not None:
            return _stamp(self._clock.now() - timedelta(seconds=seconds))
        if text := query.get("sinceTime"):
            return _stamp(datetime.fromisoformat(text))
        return ""


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def _flag(query: dict[str, str], name: str) -> bool:
    return query.get(name, "").lower() in ("true", "1")


def _number(query: dict[str, str], name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not text.isdigit():
        raise ValueError(f"{name} must be a number that is not negative, but is {text!r}")
    return int(text)
