"""The bytes of one client's connection, plain or inside WebSocket messages."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from fairway.toolkit import websocket
from fairway.toolkit.websocket import BINARY, CLOSE, PING, TEXT, Piece, WebSocketError

PIECE_BYTES = 64 * 1024


class Wire(Protocol):
    """A byte stream in both directions."""

    async def read(self) -> bytes:
        """The next bytes, empty at the end. Raises OSError."""
        ...

    def write(self, data: bytes) -> None:
        """Queue bytes."""
        ...

    async def drain(self) -> None:
        """Wait until the peer has taken enough. Raises OSError when it is gone."""
        ...

    async def end(self) -> None:
        """Say good-bye after everything that was written."""
        ...


class PlainWire:
    """The connection as it is."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        return await self._reader.read(PIECE_BYTES)

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def drain(self) -> None:
        await drain(self._writer)

    async def end(self) -> None:
        await drain(self._writer)


class WebSocket:
    """The messages of one WebSocket connection; control frames are answered here."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = websocket.Decoder()
        self._closed = False

    async def pieces(self) -> AsyncIterator[Piece]:
        """Parts of TEXT and BINARY messages until the client closes or breaks the protocol. Raises OSError."""
        while data := await self._reader.read(PIECE_BYTES):
            try:
                found = self._decoder.feed(data)
            except WebSocketError as error:
                self.close(error.code, str(error))
                return
            for piece in found:
                if piece.opcode in (TEXT, BINARY):
                    yield piece
                elif piece.opcode == PING:
                    self._writer.write(websocket.encode(websocket.PONG, piece.data))
                elif piece.opcode == CLOSE:
                    self.close(websocket.NORMAL)
                    return

    def send(self, data: bytes, opcode: int = BINARY) -> None:
        """Queue one message."""
        if not self._closed:
            self._writer.write(websocket.encode(opcode, data))

    async def drain(self) -> None:
        """See Wire."""
        await drain(self._writer)

    def close(self, code: int, reason: str = "") -> None:
        """Queue the close frame, once."""
        if not self._closed:
            self._closed = True
            self._writer.write(websocket.encode_close(code, reason))


class WebSocketWire:
    """A byte stream whose pieces are binary messages."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._pieces = socket.pieces()

    async def read(self) -> bytes:
        async for piece in self._pieces:
            if piece.data:
                return piece.data
        return b""

    def write(self, data: bytes) -> None:
        self._socket.send(data)

    async def drain(self) -> None:
        await self._socket.drain()

    async def end(self) -> None:
        self._socket.close(websocket.NORMAL)
        await self._socket.drain()


async def drain(writer: asyncio.StreamWriter) -> None:
    """Wait until the write buffer is small. Raises ConnectionError when the peer is gone."""
    try:
        await writer.drain()
    except RuntimeError as error:  # what uvloop says about a transport that has closed
        raise ConnectionResetError("the connection is closed") from error
