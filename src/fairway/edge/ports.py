"""Whether a TCP port can be listened on, found out before HAProxy is asked: it takes a configuration whole or not."""

import errno
import os
import socket
from collections.abc import Callable

import msgspec

from fairway.edge.ir import Edge, Listener, Problem
from fairway.edge.render.extras import title
from fairway.edge.render.rendered import Rendered
from fairway.edge.translate.controller_config import TCP_SERVICES

RETRY_SECONDS = 5.0
WhyNot = Callable[[int], str]
"""What keeps a port from being listened on; "" is nothing."""


def why_not(port: int) -> str:
    """Try on all IPv4 addresses, with the options that HAProxy sets; nothing is listened on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"another program has it; `ss -ltnp 'sport = :{port}'` says which"
            return os.strerror(error.errno or 0).lower()
    return ""


def usable(edge: Edge, running: Rendered | None, why: WhyNot) -> tuple[Edge, tuple[Problem, ...]]:
    """The edge without the listeners that cannot be, and why not; those of `running` are not tried."""
    if not edge.listeners:
        return edge, ()
    doors = {section.title for section in running.sections} if running else set()
    reasons = {one: "" if title(one) in doors else why(one.port) for one in edge.listeners}
    refused = tuple(_problem(listener, reason) for listener, reason in reasons.items() if reason)
    if not refused:
        return edge, ()
    kept = tuple(listener for listener, reason in reasons.items() if not reason)
    return msgspec.structs.replace(edge, listeners=kept), refused


def _problem(listener: Listener, reason: str) -> Problem:
    message = f"tcp-services {listener.port}: the port cannot be opened: {reason}; it is tried again and again"
    return Problem(TCP_SERVICES, "PortNotAvailable", message)
