"""One request through the edge, as a browser would send it."""

import http.client
import socket
import ssl

import msgspec
from cluster import Cluster

from fairway.processes import pki


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
    connection = http.client.HTTPConnection("127.0.0.1", cluster.http, timeout=20)
    if secure:
        context = ssl.create_default_context(cafile=pki.paths(cluster.state_dir).ca)
        plain = socket.create_connection(("127.0.0.1", cluster.https), 20)
        connection.sock = context.wrap_socket(plain, server_hostname=host)
    connection.request(method, path, headers={"Host": host})
    answer = connection.getresponse()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    page = Page(answer.status, answer.read().decode("utf-8", "replace"), headers)
    connection.close()
    return page


def until(cluster: Cluster, host: str, path: str = "/", *, status: int, secure: bool = False) -> Page:
    """Ask again until the status is the one expected."""
    page = get(cluster, host, path, secure=secure)
    for _ in range(200):
        if page.status == status:
            return page
        page = get(cluster, host, path, secure=secure)
    raise AssertionError(f"{host}{path} answers {page.status}, not {status}: {page.body[:300]}")
