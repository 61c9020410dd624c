"""A small WebSocket client, as the Python clients of Kubernetes use one: channels in the first byte of each message."""

import base64
import json
import os
import re
import socket
import ssl
import tempfile
from pathlib import Path
from typing import Any

import yaml

from fairway.toolkit import websocket
from fairway.toolkit.websocket import BINARY, CLOSE, PING, TEXT


class Client:
    """One connection; `subprotocol` is what the server chose."""

    def __init__(self, kubeconfig: Path, path: str, *subprotocols: str, method: str = "GET") -> None:
        self.sock, host = connect(kubeconfig)
        key = base64.b64encode(os.urandom(16)).decode()
        offered = f"Sec-WebSocket-Protocol: {', '.join(subprotocols)}\r\n" if subprotocols else ""
        self.sock.sendall(
            f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{offered}\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            part = self.sock.recv(1)
            assert part, head
            head += part
        self.head = head.decode()
        self.status = int(self.head.split()[1])
        chosen = re.search(r"(?im)^sec-websocket-protocol: (.*?)\r$", self.head)
        self.subprotocol = chosen[1] if chosen else ""
        self._decoder = websocket.Decoder(masked=False)

    def send(self, data: bytes, opcode: int = BINARY) -> None:
        self.sock.sendall(websocket.encode(opcode, data, mask=os.urandom(4)))

    def messages(self) -> list[tuple[int, bytes]]:
        """Everything until the server closes: (opcode, data)."""
        found, rest = [], b""
        while data := self._read():
            for piece in self._decoder.feed(data):
                if piece.opcode == CLOSE:
                    self.sock.close()
                    return found
                if piece.opcode not in (TEXT, BINARY):
                    found.append((piece.opcode, piece.data))
                    continue
                rest = piece.data if piece.first else rest + piece.data
                if piece.last:
                    found.append((piece.opcode, rest))
        self.sock.close()
        return found

    def _read(self) -> bytes:
        try:
            return self.sock.recv(65536)
        except (ConnectionError, ssl.SSLError):
            return b""

    def channels(self) -> dict[int, bytes]:
        """Everything until the server closes, by channel; pongs are under -1."""
        found: dict[int, bytes] = {}
        for opcode, data in self.messages():
            if opcode not in (TEXT, BINARY):
                found[-1] = found.get(-1, b"") + data
            elif "base64" in self.subprotocol:
                number = data[0] - ord("0")
                found[number] = found.get(number, b"") + base64.b64decode(data[1:])
            else:
                found[data[0]] = found.get(data[0], b"") + data[1:]
        return found

    def ping(self, data: bytes) -> None:
        self.send(data, PING)


def status(channels: dict[int, bytes]) -> Any:
    """The Status on the error channel."""
    return json.loads(channels[3])


def connect(kubeconfig: Path) -> tuple[ssl.SSLSocket, str]:
    """A TLS connection to the API server with the kubeconfig's certificate."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    host, _, port = cluster["server"].removeprefix("https://").rpartition(":")
    context = ssl.create_default_context(cadata=_decoded(cluster["certificate-authority-data"]))
    with tempfile.NamedTemporaryFile() as file:
        file.write((_decoded(user["client-certificate-data"]) + _decoded(user["client-key-data"])).encode())
        file.flush()
        context.load_cert_chain(file.name)
    raw = socket.create_connection((host, int(port)), timeout=120)
    return context.wrap_socket(raw, server_hostname=host), f"{host}:{port}"


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()
