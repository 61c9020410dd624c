"""The streams of a SPDY/3.1 connection as channels."""

import asyncio
from collections.abc import Mapping

from fairway.engine.kubelet.streaming.channels import Inbox
from fairway.engine.kubelet.streaming.wires import Wire
from fairway.toolkit import spdy

_MOST_STREAMS = 2048
_PIECE_BYTES = 32 * 1024


class SpdyChannel:
    """One stream that the client opened; `headers` have names in lower case."""

    def __init__(self, id: int, headers: Mapping[str, str], connection: "SpdyChannels") -> None:
        self.inbox = Inbox()
        self.headers = headers
        self.reset = asyncio.Event()
        self.id = id
        self.ended = False
        self._connection = connection

    async def write(self, data: bytes) -> None:
        """See Channel. Raises BrokenPipeError after a reset."""
        for start in range(0, len(data), _PIECE_BYTES):
            await self._connection.send(self, data[start : start + _PIECE_BYTES])

    async def end(self) -> None:
        """See Channel; may be repeated."""
        if not self.ended and not self.reset.is_set():
            await self._connection.send(self, b"", fin=True)
            self.ended = True

    def cancel(self, status: int) -> None:
        """Reset the stream."""
        self._connection.cancel(self, status)


class SpdyChannels:
    """One connection."""

    def __init__(self, wire: Wire) -> None:
        self.accepted: asyncio.Queue[SpdyChannel] = asyncio.Queue()
        """Streams as the client opens them."""
        self._wire = wire
        self._decoder = spdy.Decoder()
        self._encoder = spdy.Encoder()
        self._streams: dict[int, SpdyChannel] = {}
        self._last_stream = 0

    async def run(self) -> None:
        """Take in what the client sends until it goes. Raises OSError, SpdyError."""
        while data := await self._wire.read():
            for event in self._decoder.feed(data):
                await self._take(event)

    async def _take(self, event: spdy.Event) -> None:
        match event:
            case spdy.Opened():
                await self._open(event)
            case spdy.Data(stream=id, data=data, fin=fin):
                stream = self._streams.get(id)
                if stream is None:
                    return  # reset by us while the client was still sending
                await stream.inbox.put(data)
                if fin:
                    await stream.inbox.end()
            case spdy.Reset(stream=id):
                stream = self._streams.pop(id, None)
                if stream is not None:
                    stream.reset.set()
                    await stream.inbox.end()
            case spdy.Pinged(id=id):
                if id & 1:
                    self._wire.write(self._encoder.ping(id))

    async def _open(self, event: spdy.Opened) -> None:
        if event.stream <= self._last_stream or not event.stream & 1:
            raise spdy.SpdyError(f"stream {event.stream} is opened out of order")
        self._last_stream = event.stream
        if len(self._streams) >= _MOST_STREAMS:
            self._wire.write(self._encoder.reset(event.stream, spdy.REFUSED_STREAM))
            return
        stream = self._streams[event.stream] = SpdyChannel(event.stream, event.headers, self)
        self._wire.write(self._encoder.reply(event.stream))
        if event.fin:
            await stream.inbox.end()
        self.accepted.put_nowait(stream)

    async def send(self, stream: SpdyChannel, data: bytes, *, fin: bool = False) -> None:
        """One data frame. Raises OSError."""
        if stream.reset.is_set() or stream.ended:
            raise BrokenPipeError("the stream is closed")
        self._wire.write(self._encoder.data(stream.id, data, fin=fin))
        await self._wire.drain()

    def cancel(self, stream: SpdyChannel, status: int) -> None:
        """Reset a stream that the client has not reset itself."""
        self.forget(stream)
        if not stream.reset.is_set():
            stream.reset.set()
            self._wire.write(self._encoder.reset(stream.id, status))

    def forget(self, stream: SpdyChannel) -> None:
        """Drop what may still come on a stream that has done its work."""
        self._streams.pop(stream.id, None)

    async def end(self) -> None:
        """Say good-bye. Raises OSError."""
        self._wire.write(self._encoder.go_away(self._last_stream))
        await self._wire.end()
