"""Ask one URL at a given address, as `curl --resolve` does."""

import http.client
import socket
import ssl
from pathlib import Path

from fairway.processes.instance import Address

_TIMEOUT_SECONDS = 5.0


def problem(scheme: str, address: Address, host: str, path: str, ca: Path | None) -> str:
    """What is wrong with the answer, or nothing when it is 200. Blocks for at most a few seconds."""
    try:
        status, reason, body = _ask(scheme, address, host, path, ca, _TIMEOUT_SECONDS)
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error}"
    return "" if status == 200 else f"{status} {reason}: {body[:200].decode('utf-8', 'replace')}"


def page(address: Address, host: str, path: str, ca: Path, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> str:
    """The body of a good answer over TLS; "" when there is none. Blocks for not much longer than the timeout."""
    try:
        status, _, body = _ask("https", address, host, path, ca, timeout_seconds)
    except (OSError, http.client.HTTPException):
        return ""
    return body.decode("utf-8", "replace") if status == 200 else ""


def _ask(
    scheme: str, address: Address, host: str, path: str, ca: Path | None, timeout_seconds: float
) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection(host, address.port, timeout=timeout_seconds)
    try:
        sock = socket.create_connection((address.reachable_host, address.port), timeout_seconds)
        connection.sock = _secured(sock, host, ca) if scheme == "https" else sock
        connection.request("GET", path or "/")
        answer = connection.getresponse()
        return answer.status, answer.reason, answer.read()
    finally:
        connection.close()


def _secured(sock: socket.socket, host: str, ca: Path | None) -> ssl.SSLSocket:
    try:
        return ssl.create_default_context(cafile=ca).wrap_socket(sock, server_hostname=host)
    except OSError:
        sock.close()
        raise
