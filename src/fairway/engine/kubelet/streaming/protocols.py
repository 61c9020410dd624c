"""Which of the protocols that a client offers is spoken (pure)."""

from collections.abc import Iterable

import msgspec

from fairway.toolkit.http_messages import Headers, Request
from fairway.toolkit.websocket import accept_key

_SPDY = "SPDY/3.1"
_COMMAND_WEBSOCKETS = (
    "v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io", ""
)  # fmt: skip
_COMMAND_SPDY = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io", "")
_TUNNEL = "SPDY/3.1+portforward.k8s.io"
_FORWARD_WEBSOCKETS = (_TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "")
_FORWARD_SPDY = ("portforward.k8s.io", "")


class Refusal(Exception):
    """The request cannot be upgraded; status and message are the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Protocol(msgspec.Struct, frozen=True):
    """What both sides speak from now on; `headers` are those of the 101."""

    name: str
    websocket: bool
    headers: Headers

    @property
    def base64(self) -> bool:
        return "base64" in self.name

    @property
    def tunnelled(self) -> bool:
        """SPDY inside WebSocket messages."""
        return self.name == _TUNNEL

    @property
    def structured_status(self) -> bool:
        """Whether the error channel carries a Status instead of plain words."""
        return self.name.startswith(("v4.", "v5."))


def for_command(request: Request) -> Protocol:
    """exec and attach. Raises Refusal."""
    return _choose(request, _COMMAND_WEBSOCKETS, _COMMAND_SPDY)


def for_forwarding(request: Request) -> Protocol:
    """port-forward. Raises Refusal."""
    return _choose(request, _FORWARD_WEBSOCKETS, _FORWARD_SPDY)


def _choose(request: Request, websockets: Iterable[str], spdy: Iterable[str]) -> Protocol:
    wanted = request.header("upgrade").lower()
    if wanted == "websocket":
        return _websocket(request, websockets)
    if wanted == _SPDY.lower():
        return _spdy(request, spdy)
    raise Refusal(400, "Upgrade request required")


def _websocket(request: Request, served: Iterable[str]) -> Protocol:
    key, offered = request.header("sec-websocket-key"), _offered(request, "sec-websocket-protocol")
    if request.header("sec-websocket-version") != "13" or not key or request.method != "GET":
        raise Refusal(400, "not a WebSocket handshake of version 13")
    name = _first_common(offered, served)
    chosen = (("Sec-WebSocket-Protocol", name),) if name else ()
    return Protocol(name, True, (("Upgrade", "websocket"), ("Sec-WebSocket-Accept", accept_key(key)), *chosen))


def _spdy(request: Request, served: Iterable[str]) -> Protocol:
    name = _first_common(_offered(request, "x-stream-protocol-version"), served)
    chosen = (("X-Stream-Protocol-Version", name),) if name else ()
    return Protocol(name, False, (("Upgrade", _SPDY), *chosen))


def _offered(request: Request, header: str) -> list[str]:
    return [word.strip() for word in request.header(header).split(",") if word.strip()] or [""]


def _first_common(offered: list[str], served: Iterable[str]) -> str:
    """The client's first choice that is served. Raises Refusal."""
    known = frozenset(served)
    for name in offered:
        if name in known:
            return name
    shown = ", ".join(name for name in sorted(known) if name)
    raise Refusal(403, f"unable to upgrade: unable to negotiate protocol: client supports {offered}, server: {shown}")
