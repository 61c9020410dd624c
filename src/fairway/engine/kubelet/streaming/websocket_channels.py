"""Numbered channels in WebSocket messages: the first byte of a message is the channel.

In the base64 forms it is a digit, and the rest is base64 in text. `v5.channel.k8s.io` adds channel 255: the client has
ended the channel that the next byte names. Source: KEP-4006, `k8s.io/apimachinery/pkg/util/remotecommand`.
"""

import base64
import binascii
from collections.abc import Iterable

from fairway.engine.kubelet.streaming.channels import Inbox
from fairway.engine.kubelet.streaming.wires import WebSocket
from fairway.toolkit.websocket import BAD_DATA, NORMAL, TEXT, Piece

_CLOSE_CHANNEL = 255
_PIECE_BYTES = 32 * 1024


class WebSocketChannel:
    """One of the channels."""

    def __init__(self, number: int, connection: "WebSocketChannels") -> None:
        self.inbox = Inbox()
        self._number = number
        self._connection = connection

    async def write(self, data: bytes) -> None:
        """See Channel."""
        for start in range(0, len(data), _PIECE_BYTES):
            await self._connection.send(self._number, data[start : start + _PIECE_BYTES])

    async def end(self) -> None:
        """The protocol has no word for it, so that a client cannot answer it by ending its side: both are over."""
        await self.inbox.end()


class WebSocketChannels:
    """The channels of one connection; data for other numbers is dropped."""

    def __init__(self, socket: WebSocket, numbers: Iterable[int], *, base64: bool = False) -> None:
        self.channels = {number: WebSocketChannel(number, self) for number in numbers}
        self._socket = socket
        self._base64 = base64
        self._number = -1
        self._rest = b""

    async def run(self) -> None:
        """Take in what the client sends until it goes. Raises OSError."""
        async for piece in self._socket.pieces():
            try:
                await self._take(piece)
            except binascii.Error:
                self._socket.close(BAD_DATA, "not base64")
                return

    async def _take(self, piece: Piece) -> None:
        data = piece.data
        if piece.first:
            if not data:
                return
            self._number, data, self._rest = self._channel_of(data[0]), data[1:], b""
        if self._number == _CLOSE_CHANNEL:
            if data and data[0] in self.channels:
                await self.channels[data[0]].inbox.end()
            return
        if self._base64:
            data = self._decoded(data, last=piece.last)
        if self._number in self.channels:
            await self.channels[self._number].inbox.put(data)

    def _channel_of(self, first: int) -> int:
        return first - ord("0") if self._base64 else first

    def _decoded(self, data: bytes, *, last: bool) -> bytes:
        """Base64 in pieces: what does not fill a group of four waits for the next piece."""
        data = self._rest + data
        whole = len(data) if last else len(data) // 4 * 4
        self._rest = data[whole:]
        return base64.b64decode(data[:whole], validate=True)

    async def send(self, number: int, data: bytes) -> None:
        """One message. Raises OSError when the client is gone."""
        if self._base64:
            self._socket.send(b"%d" % number + base64.b64encode(data), TEXT)
        else:
            self._socket.send(bytes((number,)) + data)
        await self._socket.drain()

    async def end(self) -> None:
        """Close the connection after everything that was sent. Raises OSError."""
        self._socket.close(NORMAL)
        await self._socket.drain()
