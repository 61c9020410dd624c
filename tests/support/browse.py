"""One request through the edge, as a browser would send it."""

import http.client
import socket
import ssl
import time

import msgspec
from cluster import Cluster

from fairway.processes import pki

_PATIENCE_SECONDS = 60.0


class Page(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    body: str
    headers: dict[str, str]

    @property
    def location(self) -> str:
        return self.headers.get("location", "")


def get(cluster: Cluster, host: str, path: str = "/", *, secure: bool = False, method: str = "GET") -> Page:
    """Ask for a path of a host; `secure` over TLS with SNI, trusting the cluster's own authority alone."""
    connection = http.client.HTTPConnection("127.0.0.1", cluster.http, timeout=_PATIENCE_SECONDS)
    try:
        if secure:
            connection.sock = _secured(cluster, host)
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Page(answer.status, answer.read().decode("utf-8", "replace"), headers)
    finally:
        connection.close()


def _secured(cluster: Cluster, host: str) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=pki.paths(cluster.state_dir).ca)
    with socket.create_connection(("127.0.0.1", cluster.https), _PATIENCE_SECONDS) as plain:
        return context.wrap_socket(plain, server_hostname=host)


def until(cluster: Cluster, host: str, path: str = "/", *, status: int, secure: bool = False) -> Page:
    """Ask again until the status is the one expected: what was applied takes a moment to be live."""
    last: Page | Exception | None = None
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            last = get(cluster, host, path, secure=secure)
        except (OSError, http.client.HTTPException) as error:  # also: the certificate is not there yet
            last = error
        else:
            if last.status == status:
                return last
        time.sleep(0.02)
    raise AssertionError(f"{host}{path} answers {last!r:.500}, not {status}\n{cluster.log()}")
