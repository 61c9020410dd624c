"""`/exec`, `/attach` and `/portforward` of the kubelet: from a request to streams."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from urllib.parse import parse_qsl, unquote

import msgspec

from fairway.engine.kubelet.interfaces import Runtime
from fairway.engine.kubelet.runtime.errors import ContainerUnknown, ExecFailed, RuntimeUnavailable
from fairway.engine.kubelet.runtime.sessions import Session
from fairway.engine.kubelet.streaming import outcomes, protocols
from fairway.engine.kubelet.streaming.channels import Channel
from fairway.engine.kubelet.streaming.commands import converse
from fairway.engine.kubelet.streaming.forwarding import Pod, SpdyForwarder, forward_ports
from fairway.engine.kubelet.streaming.protocols import Protocol, Refusal
from fairway.engine.kubelet.streaming.spdy_channels import SpdyChannels
from fairway.engine.kubelet.streaming.websocket_channels import WebSocketChannels
from fairway.engine.kubelet.streaming.wires import PlainWire, WebSocket, WebSocketWire, Wire
from fairway.kube.api.meta import ObjectKey
from fairway.toolkit import logs
from fairway.toolkit.hangup import hung_up
from fairway.toolkit.http_messages import Reply, Request, refusal
from fairway.toolkit.http_upgrade import upgrade
from fairway.toolkit.spdy import SpdyError

log = logs.get("kubelet")

_STREAM_SECONDS = 30.0
_NUMBERS = {"stdin": 0, "stdout": 1, "stderr": 2, "error": 3, "resize": 4}


class Place(msgspec.Struct, frozen=True):
    """A running container, or only its pod when `container` is empty."""

    uid: str
    sandbox: str
    container: str = ""
    tty: bool = False


FindPlace = Callable[[ObjectKey, str], Place]
"""Where a pod's container, or with an empty name the pod, is.  Raises Refusal."""
Begin = Callable[[], Awaitable[Session]]


class Options(msgspec.Struct, frozen=True):
    """What an exec or attach asks for."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool
    command: tuple[str, ...] = ()

    def channels(self, protocol: Protocol) -> tuple[str, ...]:
        """The names of the channels that client and server use."""
        given = (
            ("stdin", self.stdin),
            ("stdout", self.stdout),
            ("stderr", self.stderr),
            ("resize", self._resizes(protocol)),
        )
        return ("error", *(name for name, wanted in given if wanted))

    def _resizes(self, protocol: Protocol) -> bool:
        return self.tty and (protocol.websocket or protocol.name.startswith(("v3.", "v4.")))


class _Visit(msgspec.Struct, frozen=True):
    """One exec or attach; `where` is namespace/pod/container, for the log."""

    verb: str
    where: str
    begin: Begin
    options: Options
    protocol: Protocol


class Streaming:
    """Answers requests for streams."""

    def __init__(self, runtime: Runtime, find: FindPlace) -> None:
        self._runtime = runtime
        self._find = find

    def answer(self, request: Request, parts: list[str]) -> Reply | None:
        """None when the path, in `parts`, is not one of these."""
        try:
            match parts:
                case ["exec", namespace, pod, container]:
                    return self._exec(request, self._find(ObjectKey(namespace, pod), container))
                case ["attach", namespace, pod, container]:
                    return self._attach(request, self._find(ObjectKey(namespace, pod), container))
                case ["portforward", namespace, pod]:
                    return self._forward(request, pod, self._find(ObjectKey(namespace, pod), ""))
        except Refusal as error:
            return refusal(error.status, error.message)
        return None

    def _exec(self, request: Request, place: Place) -> Reply:
        options, protocol = _options(request), protocols.for_command(request)
        if not options.command:
            raise Refusal(400, "you must specify at least 1 command for the container")
        env = {"TERM": "xterm"} if options.tty else {}
        begin = partial(
            self._runtime.open_command, place.container, options.command, env, tty=options.tty, stdin=options.stdin
        )
        visit = _Visit("exec", _where(request), begin, options, protocol)
        return upgrade(partial(_serve_command, visit), protocol.headers)

    def _attach(self, request: Request, place: Place) -> Reply:
        asked, protocol = _options(request), protocols.for_command(request)
        options = msgspec.structs.replace(asked, tty=place.tty, stderr=asked.stderr and not place.tty)
        begin = partial(
            self._runtime.attach,
            place.container,
            stdin=options.stdin,
            stdout=options.stdout,
            stderr=options.stderr,
        )
        visit = _Visit("attach", _where(request), begin, options, protocol)
        return upgrade(partial(_serve_command, visit), protocol.headers)

    def _forward(self, request: Request, name: str, place: Place) -> Reply:
        protocol = protocols.for_forwarding(request)
        pod = Pod(name, place.uid, place.sandbox, partial(self._runtime.pod_socket, place.sandbox))
        if protocol.websocket and not protocol.tunnelled:
            return upgrade(partial(_serve_ports, pod, _ports(request), protocol), protocol.headers)
        return upgrade(partial(_serve_forwarding, pod, protocol), protocol.headers)


# --- exec and attach


async def _serve_command(visit: _Visit, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    wanted, protocol = visit.options.channels(visit.protocol), visit.protocol
    if protocol.websocket:
        socket = WebSocket(reader, writer)
        connection = WebSocketChannels(socket, [_NUMBERS[name] for name in wanted], base64=protocol.base64)
        named = {name: connection.channels[_NUMBERS[name]] for name in wanted}
        await _while_connected(writer, connection.run(), _command(visit, named, connection.end))
    else:
        streams = SpdyChannels(PlainWire(reader, writer))
        await _while_connected(writer, streams.run(), _command_over_spdy(visit, wanted, streams))


async def _command_over_spdy(visit: _Visit, wanted: tuple[str, ...], streams: SpdyChannels) -> None:
    """The client opens one stream for each channel first."""
    found: dict[str, Channel] = {}
    try:
        async with asyncio.timeout(_STREAM_SECONDS):
            while found.keys() < frozenset(wanted):
                stream = await streams.accepted.get()
                if stream.headers.get("streamtype", "") in wanted:
                    found[stream.headers["streamtype"]] = stream
    except TimeoutError:
        log.warning("streams missing", missing=",".join(sorted(frozenset(wanted) - found.keys())))
        return
    await _command(visit, found, streams.end)


async def _command(visit: _Visit, channels: Mapping[str, Channel], end: Callable[[], Awaitable[None]]) -> None:
    """Run it, then tell how it ended."""
    outcome = await _outcome(visit, channels)
    if outcome:
        await channels["error"].write(outcome)
    for name in ("stdout", "stderr", "error"):
        if name in channels:
            await channels[name].end()
    await end()


async def _outcome(visit: _Visit, channels: Mapping[str, Channel]) -> bytes:
    structured = visit.protocol.structured_status
    try:
        session = await visit.begin()
    except (ExecFailed, RuntimeUnavailable, ContainerUnknown) as error:
        message = f"error executing command in container: failed to exec in container: {error}"
        return outcomes.failed(message) if structured else message.encode()
    code: int | None = None
    try:
        code = await converse(session, channels)
    except RuntimeUnavailable as error:
        return outcomes.failed(str(error)) if structured else str(error).encode()
    finally:
        session.close()
        log.info(visit.verb, container=visit.where, code=code)  # never the command, which may hold secrets
    return outcomes.ended(code) if structured else outcomes.ended_in_words(code)


def _where(request: Request) -> str:
    return unquote(request.path).strip("/").partition("/")[2]


# --- port-forward


async def _serve_forwarding(
    pod: Pod, protocol: Protocol, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    wire: Wire = WebSocketWire(WebSocket(reader, writer)) if protocol.tunnelled else PlainWire(reader, writer)
    streams = SpdyChannels(wire)
    await _while_connected(writer, streams.run(), SpdyForwarder(pod, streams).run())


async def _serve_ports(
    pod: Pod, ports: list[int], protocol: Protocol, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    socket = WebSocket(reader, writer)
    connection = WebSocketChannels(socket, range(2 * len(ports)), base64=protocol.base64)

    async def work() -> None:
        await forward_ports(pod, ports, dict(connection.channels))
        await connection.end()

    await _while_connected(writer, connection.run(), work())


# --- parts


async def _while_connected(writer: asyncio.StreamWriter, reading: Awaitable[None], working: Awaitable[None]) -> None:
    """Work until it is done or the client is gone, whichever is first; then nothing of either is left."""
    watching = hung_up(writer.get_extra_info("socket").fileno())
    tasks = [asyncio.ensure_future(each) for each in (reading, working, watching)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for problem in results:
        if isinstance(problem, SpdyError):
            log.info("client broke the protocol", error=str(problem))
        elif isinstance(problem, Exception) and not _is_departure(problem):
            raise problem


def _is_departure(problem: Exception) -> bool:
    """Whether a problem only says that the client is gone."""
    if isinstance(problem, ExceptionGroup):
        return all(_is_departure(each) for each in problem.exceptions)
    return isinstance(problem, OSError)


def _options(request: Request) -> Options:
    pairs = parse_qsl(request.query, keep_blank_values=True)
    query = dict(pairs)
    tty = _flag(query, "tty", default=False)
    options = Options(
        stdin=_flag(query, "stdin", default=False),
        stdout=_flag(query, "stdout", default=True),
        stderr=_flag(query, "stderr", default=True) and not tty,
        tty=tty,
        command=tuple(value for name, value in pairs if name == "command"),
    )
    if not (options.stdin or options.stdout or options.stderr):
        raise Refusal(400, "you must specify at least 1 of stdin, stdout, stderr")
    return options


def _flag(query: Mapping[str, str], name: str, *, default: bool) -> bool:
    return query[name].lower() in ("true", "1", "") if name in query else default


def _ports(request: Request) -> list[int]:
    texts = [text for name, value in parse_qsl(request.query) if name == "ports" for text in value.split(",")]
    if not texts:
        raise Refusal(400, 'query parameter "port" is required')
    for text in texts:
        if not text.isdecimal() or not 0 < int(text) < 1 << 16:
            raise Refusal(400, f"unable to parse {text!r} as a port")
    return [int(text) for text in texts]
