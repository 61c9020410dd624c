"""exec, attach and port-forward: who may and where to is decided here, the bytes go to the kubelet as they are."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.endpoints.calls import Call
from fairway.engine.apiserver.endpoints.pod_containers import container_of
from fairway.engine.apiserver.registry import Registry
from fairway.toolkit.http_messages import Headers, Reply, Request, Response
from fairway.toolkit.http_upgrade import Streams as Connection
from fairway.toolkit.http_upgrade import UpgradeFailed, ask, join, upgrade

STREAMS = frozenset({"exec", "attach", "portforward"})
"""The subresources of pods that are answered here."""

_CONNECT_SECONDS = 30.0
_BUFFER_BYTES = 64 * 1024
_REQUEST_HEADERS = (
    "upgrade", "sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol", "x-stream-protocol-version"
)  # fmt: skip
_ANSWER_HEADERS = frozenset({"upgrade", "sec-websocket-accept", "sec-websocket-protocol", "x-stream-protocol-version"})


class Streams:
    """Joins clients to the kubelet's own streaming server, which speaks SPDY and WebSocket."""

    def __init__(self, registry: Registry, kubelet_socket: Path) -> None:
        self._registry = registry
        self._kubelet_socket = kubelet_socket

    async def answer(self, call: Call) -> Reply:
        """Raises ApiError."""
        pod = self._registry.get(call.kind, call.namespace, call.target.name).object()
        target = _target(call, pod)
        if not (pod.get("spec") or {}).get("nodeName"):
            raise errors.bad_request(f"pod {call.target.name} does not have a host assigned")
        if not call.request.header("upgrade"):
            raise errors.bad_request("Upgrade request required")
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                return await self._switch(call.request, target)
        except (OSError, UpgradeFailed, TimeoutError) as error:
            node = pod["spec"]["nodeName"]
            raise errors.internal(f'error dialing backend: the kubelet of node "{node}": {error}') from error

    async def _switch(self, request: Request, target: str) -> Reply:
        connection = await asyncio.open_unix_connection(str(self._kubelet_socket), limit=_BUFFER_BYTES)
        try:
            answer = await ask(connection, request.method, target, _request_headers(request))
        except BaseException:
            connection[1].close()
            raise
        if isinstance(answer, Response):
            connection[1].close()
            return Response(answer.status, answer.body, (("Content-Type", "text/plain; charset=utf-8"),))
        return _joined(answer.headers, connection)


def _joined(headers: Headers, server: Connection) -> Reply:
    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await join((reader, writer), server)

    return upgrade(run, tuple(pair for pair in headers if pair[0].lower() in _ANSWER_HEADERS))


def _target(call: Call, pod: dict[str, Any]) -> str:
    """The kubelet's URL for this call."""
    place = [call.namespace, call.target.name]
    if call.target.subresource != "portforward":
        place.append(container_of(pod, call.query.get("container", "")))
    path = "/".join(quote(part, safe="") for part in (call.target.subresource, *place))
    return f"/{path}?{call.request.query}"


def _request_headers(request: Request) -> Headers:
    kept = [(name, request.header(name)) for name in _REQUEST_HEADERS if request.header(name)]
    return (("Host", "kubelet"), ("Connection", "Upgrade"), ("Content-Length", "0"), *kept)
