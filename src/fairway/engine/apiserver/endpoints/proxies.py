"""`/proxy` of nodes, pods and services: a request is passed on to what they serve, and the answer back.

Of a node only what monitors read is served, with GET: what its kubelet does for `exec` and the like stays behind the
pods' own subresources and their permissions. HTML stays as it is: links in it that begin with `/` lead
elsewhere.
"""

import asyncio
import ssl
from collections.abc import Awaitable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.endpoints import answers, encoding, forms
from fairway.engine.apiserver.endpoints.calls import Call
from fairway.engine.apiserver.endpoints.routes import Target, proxied
from fairway.engine.apiserver.registry import Registry, filters
from fairway.engine.apiserver.store.entries import Object
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_client import Connector, HttpClient, HttpError, Response, tcp_connector, unix_connector
from fairway.toolkit.http_messages import Headers, Reply, Request, Sink, Stream
from fairway.toolkit.http_messages import Response as Whole
from fairway.toolkit.http_upgrade import UpgradeFailed, ask, join, upgrade

_SECONDS = 60.0
_KUBELET_PORT = "10250"
_SCHEMES = ("", "http", "https")
_HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "content-length",
    }
)  # fmt: skip
_OURS = frozenset({"authorization", "host", "expect", "accept-encoding", "x-forwarded-uri", "x-forwarded-proto"})
"""What the client tells the API server only; a password for it must not reach a pod."""
_UPGRADED = frozenset({"upgrade", "sec-websocket-accept", "sec-websocket-protocol", "sec-websocket-extensions"})
_NODE_PATHS = frozenset({"metrics", "stats", "healthz", "containerLogs"})
_FINER = {"metrics": "metrics", "stats": "stats", "healthz": "healthz", "pods": "pods", "containerLogs": "log"}


def finer(target: Target, verb: str, path: str) -> str:
    """The subresource of nodes that is enough for a path, as the kubelet's own port has it; "" when there is none."""
    if target.plural != "nodes" or target.subresource != "proxy" or verb != "get":
        return ""
    return _FINER.get(proxied(path)[1].strip("/").partition("/")[0], "")


class Place(msgspec.Struct, frozen=True):
    """Where a request goes."""

    connector: Connector
    host: str


class Proxies:
    """Answers calls to the subresource `proxy`."""

    def __init__(self, registry: Registry, clock: Clock, kubelet_socket: Path) -> None:
        self._registry = registry
        self._clock = clock
        self._kubelet_socket = kubelet_socket

    def answer(self, call: Call) -> Awaitable[Reply] | None:
        """None when the call is about something else. Raises ApiError, as does the awaitable."""
        if call.target.subresource != "proxy":
            return None
        return self._answer(call)

    async def _answer(self, call: Call) -> Reply:
        path = proxied(call.request.path)[1] or "/"
        scheme, name, port = _parse(call)
        if call.kind.plural == "nodes":
            found = self._node(call, name, port, path)
            if isinstance(found, Whole):
                return found
            place = found
        else:
            host, number = (
                self._pod(call, name, port) if call.kind.plural == "pods" else self._service(call, name, port)
            )
            _check(host)
            place = Place(tcp_connector(host, number, _unverified() if scheme == "https" else None), f"{host}:{number}")
        target = f"{path}?{call.request.query}" if call.request.query else path
        try:
            if call.request.header("upgrade") and call.kind.plural != "nodes":
                return await _switch(call.request, place, target)
            return await _pass(call.request, place, target)
        except (HttpError, OSError, UpgradeFailed, TimeoutError, ValueError) as error:
            raise errors.unavailable(f"error trying to reach service: {error}") from error

    # --- where to

    def _node(self, call: Call, name: str, port: str, path: str) -> "Place | Whole":
        self._registry.get(call.kind, "", name)
        if port not in ("", _KUBELET_PORT):
            raise errors.bad_request(f'port {port} of node "{name}" is not served: leave it out for its kubelet')
        if call.verb != "get":
            raise errors.method_not_allowed()
        first = path.strip("/").partition("/")[0]
        if path.strip("/") == "pods":
            return self._pods_of(call, name)
        if first not in _NODE_PATHS or path.strip("/") == "stats" or ".." in path.split("/"):
            return Whole(404, b"404 page not found\n", (("Content-Type", "text/plain; charset=utf-8"),))
        return Place(unix_connector(self._kubelet_socket), "kubelet")

    def _pods_of(self, call: Call, node: str) -> Whole:
        pods = self._registry.kinds.find("", "v1", "pods")
        assert pods is not None
        entries = self._registry.select(pods, None, filters.parse(pods, "", f"spec.nodeName={node}"))
        form = forms.negotiate("application/json", "")
        return answers.json(encoding.many(pods, entries, form, encoding.ListMeta(""), self._clock.now()))

    def _pod(self, call: Call, name: str, port: str) -> tuple[str, int]:
        pod = self._registry.get(call.kind, call.namespace, name).object()
        address = (pod.get("status") or {}).get("podIP") or ""
        if not address:
            raise errors.bad_request(f'pod "{name}" has no address yet')
        ports = [each for one in pod["spec"]["containers"] for each in one.get("ports") or ()]
        if not port:
            return address, int(ports[0]["containerPort"]) if ports else 80
        return address, _number(port, call)

    def _service(self, call: Call, name: str, port: str) -> tuple[str, int]:
        service = self._registry.get(call.kind, call.namespace, name).object()
        wanted = _port_name(service, name, port)
        for host, number in self._endpoints(call.namespace, name, wanted):
            return host, number
        raise errors.unavailable(f'no endpoints available for service "{call.target.name}"')

    def _endpoints(self, namespace: str, service: str, port: str) -> list[tuple[str, int]]:
        """Ready ones of a port, by its name."""
        slices = self._registry.kinds.find("discovery.k8s.io", "v1", "endpointslices")
        assert slices is not None
        wanted = filters.parse(slices, f"kubernetes.io/service-name={service}", "")
        found = []
        for entry in self._registry.select(slices, namespace, wanted):
            each = entry.object()
            numbers = [known["port"] for known in each.get("ports") or () if (known.get("name") or "") == port]
            for endpoint in each.get("endpoints") or ():
                if numbers and (endpoint.get("conditions") or {}).get("ready") is not False:
                    found += [(address, int(numbers[0])) for address in endpoint["addresses"]]
        return found


def _parse(call: Call) -> tuple[str, str, str]:
    """`name`, `name:port` or `scheme:name:port`. Raises ApiError."""
    parts = call.target.name.split(":")
    scheme, name, port = (
        ("", parts[0], "") if len(parts) == 1 else ("", *parts) if len(parts) == 2 else (*parts, "")[:3]
    )
    if len(parts) > 3 or scheme not in _SCHEMES or not name:
        raise errors.bad_request(f'invalid {call.kind.kind.lower()} request "{call.target.name}"')
    return scheme, name, port


def _number(text: str, call: Call) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise errors.bad_request(f'invalid {call.kind.kind.lower()} request "{call.target.name}": "{text}" is no port')
    return int(text)


def _port_name(service: Object, name: str, port: str) -> str:
    """A port's name, by its name or number. Raises ApiError."""
    if not port.isdecimal():
        return port
    for each in service["spec"].get("ports") or ():
        if each["port"] == int(port):
            return str(each.get("name") or "")
    raise errors.unavailable(f'no service port {port} found for service "{name}"')


def _check(host: str) -> None:
    """Endpoints may be written by hand: nothing of the node itself is reached by them (upstream's IsProxyableIP)."""
    address = ip_address(host)
    if address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast:
        raise errors.bad_request("address not allowed")


def _unverified() -> ssl.SSLContext:
    """Certificates of pods are their own: upstream does not verify them here either."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# --- passing on


async def _pass(request: Request, place: Place, target: str) -> Reply:
    client = HttpClient(place.connector, host_header=place.host)
    body = request.body if request.body or request.method in ("POST", "PUT", "PATCH") else None
    try:
        response = await client.request(
            request.method, target, headers=_forwarded(request), body=body, timeout_seconds=_SECONDS, dedicated=True
        )
    except BaseException:
        await client.aclose()
        raise

    async def run(sink: Sink) -> None:
        try:
            async for piece in response.iter_bytes():
                sink.write(piece)
                await sink.drain()
        except HttpError:
            sink.abort()  # the client sees that the answer was cut off
        finally:
            await client.aclose()

    return Stream(response.status, run, _returned(request, response))


def _forwarded(request: Request) -> Headers:
    kept = [
        (name, value)
        for name, value in request.headers.items()
        if name not in _HOP_BY_HOP and name not in _OURS and not name.startswith(("impersonate-", "x-remote-"))
    ]
    return (*kept, ("accept-encoding", "identity"), ("x-forwarded-uri", request.path), ("x-forwarded-proto", "https"))


def _returned(request: Request, response: Response) -> Headers:
    """A redirect within what was asked stays behind the proxy."""
    found = []
    for name, value in response.headers.items():
        if name in _HOP_BY_HOP or name == "content-encoding":
            continue
        inside = name == "location" and value.startswith("/") and not value.startswith("//")
        found.append((name, f"{proxied(request.path)[0]}{value}" if inside else value))
    return tuple(found)


async def _switch(request: Request, place: Place, target: str) -> Reply:
    """A connection that stops speaking HTTP, such as a WebSocket."""
    async with asyncio.timeout(_SECONDS):
        connection = await place.connector()
        try:
            wanted: list[tuple[str, str]] = [("Host", place.host), ("Connection", "Upgrade")]
            wanted += [("Upgrade", request.header("upgrade")), ("Content-Length", "0"), *_forwarded(request)]
            answer: Any = await ask(connection, request.method, target, tuple(wanted))
        except BaseException:
            connection[1].close()
            raise
    if isinstance(answer, Whole):
        connection[1].close()
        return Whole(
            answer.status, answer.body, tuple(each for each in answer.headers if each[0].lower() == "content-type")
        )

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await join((reader, writer), connection)

    return upgrade(run, tuple(each for each in answer.headers if each[0].lower() in _UPGRADED))
