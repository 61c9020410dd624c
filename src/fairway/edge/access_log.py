"""The access log: lines from HAProxy to JSON in a file that is rotated, without the secrets of queries."""

import asyncio
import functools
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote_plus

import msgspec

from fairway.edge.metrics import Traffic
from fairway.toolkit import logs

log = logs.get("edge")
SECRET_WORDS = (
    *("auth", "code", "credential", "jwt", "key", "otp", "pass", "pin", "pwd", "secret", "session", "sig", "token"),
)
"""A query parameter whose name contains one of these has a value that is not for the log; `*` is every name."""

_READ_BYTES = 256 * 1024
_LINE_BYTES_MAX = 16 * 1024


class Line(msgspec.Struct, frozen=True):
    """What HAProxy says of one request; see `render/logging.py`. `ms` is the whole time, `wait` that of the server."""

    time: float
    status: int
    sent: int
    received: int
    ms: int
    wait: int
    client: str
    version: str
    backend: str
    server: str
    tls: str
    end: str
    method: str
    uri: str
    host: str
    agent: str
    request: str
    trace: str


class Entry(msgspec.Struct, frozen=True):
    """A line of the file."""

    time: str
    client: str
    method: str
    host: str
    path: str
    status: int
    duration_ms: int
    upstream_ms: int | None
    bytes_sent: int
    bytes_received: int
    protocol: str
    tls: str | None
    rule: str
    backend: str | None
    server: str | None
    user_agent: str
    request_id: str
    traceparent: str
    end: str


class File:
    """Append-only; when it is large it becomes NAME.1, and the oldest goes."""

    def __init__(self, path: Path, *, bytes_max: int, keep: int) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._keep = keep
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open()

    def write(self, data: bytes) -> None:
        """Append whole lines. Raises OSError."""
        if self._size and self._size + len(data) > self._bytes_max:
            self._rotate()
        view = memoryview(data)
        while view:
            written = os.write(self._handle, view)
            self._size += written
            view = view[written:]

    def close(self) -> None:
        os.close(self._handle)

    def _open(self) -> None:
        self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._handle).st_size

    def _rotate(self) -> None:
        os.close(self._handle)
        for number in range(self._keep - 1, 0, -1):
            older, newer = self._numbered(number + 1), self._numbered(number)
            if newer.exists():
                os.replace(newer, older)
        if self._keep:
            os.replace(self._path, self._numbered(1))
        else:
            self._path.unlink()
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class Collector:
    """Takes the lines of every HAProxy that runs, counts them and writes them down."""

    def __init__(self, traffic: Traffic, file: File | None, secret_words: tuple[str, ...] = SECRET_WORDS) -> None:
        self._traffic = traffic
        self._file = file
        self._redact = functools.partial(redact, secret_words=secret_words)
        self._decode = msgspec.json.Decoder(Line).decode
        self._encoder = msgspec.json.Encoder()
        self._broken = False

    def take(self, data: bytes) -> None:
        """Whole lines. Never raises: a log that cannot be written must not stop the edge."""
        written = bytearray()
        for text in data.splitlines():
            try:
                line = self._decode(text)
            except msgspec.MsgspecError:
                self._traffic.malformed += 1
                continue
            path, _, _ = line.uri.partition("?")
            host, rule = self._traffic.count(line.host, path, line.status, line.ms, line.sent, line.received)
            if self._file is not None:
                written += self._encoder.encode(self._entry(line, host, rule)) + b"\n"
        if self._file is not None and written:
            self._write(self._file, written)

    def _entry(self, line: Line, host: str, rule: str) -> Entry:
        return Entry(
            time=_timestamp(line.time),
            client=line.client,
            method=line.method,
            host=line.host,
            path=self._redact(line.uri),
            status=line.status,
            duration_ms=line.ms,
            upstream_ms=line.wait if line.wait >= 0 else None,
            bytes_sent=line.sent,
            bytes_received=line.received,
            protocol=line.version,
            tls=line.tls if line.tls != "-" else None,
            rule=f"{host}{rule}",
            backend=self._traffic.backend(line.backend),
            server=line.server if line.server[0] != "-" else None,
            user_agent=line.agent,
            request_id=line.request,
            traceparent=line.trace,
            end=line.end,
        )

    def _write(self, file: File, data: bytearray) -> None:
        try:
            file.write(bytes(data))
            self._broken = False
        except OSError as error:
            if not self._broken:
                log.error("failed", file="access log", error=str(error))
            self._broken = True


class Receiver(asyncio.Protocol):
    """One connection of HAProxy."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        end = data.rfind(b"\n") + 1
        if not end:
            self._rest = (self._rest + data)[-_LINE_BYTES_MAX:]
            return
        whole, self._rest = self._rest + data[:end], data[end:]
        self._take(whole)


async def listen(path: Path, collector: Collector, owner: tuple[int, int] | None) -> asyncio.Server:
    """Serve the socket that HAProxy writes to; `owner` is the user and group that it runs as. Raises OSError."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Through the folder's descriptor, because the path of a socket may not be longer than 107 bytes.
        name = f"/proc/self/fd/{folder}/{path.name}"
        path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        sock.bind(name)
        os.chmod(name, 0o600)
        if owner is not None:
            os.chown(name, *owner)
            os.chown(path.parent, *owner)
            os.chmod(path.parent, 0o500)  # to be passed through, not to be written in
    finally:
        os.close(folder)
    return await asyncio.get_running_loop().create_unix_server(lambda: Receiver(collector.take), sock=sock)


def redact(uri: str, secret_words: tuple[str, ...] = SECRET_WORDS) -> str:
    """The path and query without the values that are nobody's business. Names are compared decoded, in any case."""
    path, mark, query = uri.partition("?")
    if not mark or not secret_words:
        return uri
    return f"{path}?{'&'.join(_parameter(text, secret_words) for text in query.split('&'))}"


def _parameter(text: str, secret_words: tuple[str, ...]) -> str:
    name, equals, _ = text.partition("=")
    if not equals:
        return text if "*" not in secret_words else "REDACTED"
    plain = unquote_plus(name).lower()
    secret = "*" in secret_words or any(word in plain for word in secret_words)
    return f"{name}=REDACTED" if secret else text


def _timestamp(seconds: float) -> str:
    whole = int(seconds)
    return f"{_second(whole)}.{round((seconds - whole) * 1000):03d}Z"


@functools.lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
