"""The process that relays UDP: started when a first port needs it, found again by the next engine.

HAProxy knows no UDP, and nftables ends at the cluster's border: so these bytes do pass through a Python process, one
that does nothing else and goes on while the engine restarts.
"""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from fairway.engine.loadbalancer.ir import Place, Route, Target
from fairway.engine.loadbalancer.sockets import Sockets
from fairway.toolkit import command, datagram_relay, fds

_MODULE = "fairway.toolkit.datagram_relay"
_ANSWER_BYTES = 1 << 18
_START_SECONDS = 20.0


class RelayFailed(Exception):
    """The relay does not start or does not answer; the message says why."""


class _Entry(msgspec.Struct, frozen=True):
    name: str
    target: tuple[str, int]
    sources: tuple[str, ...] = ()


class _Answer(msgspec.Struct, frozen=True):
    routes: tuple[_Entry, ...] = ()


class Relay:
    """A relay on files in `folder`; `run_as` is the user and group that it becomes."""

    def __init__(self, folder: Path, sockets: Sockets, run_as: tuple[int, int] | None) -> None:
        self.running: Mapping[Place, Route] = {}
        self._folder = folder
        self._sockets = sockets
        self._run_as = run_as
        self._channel: socket.socket | None = None
        self._lifeline: socket.socket | None = None  # nothing comes here but the end
        self._found = asyncio.Event()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def adopt(self) -> None:
        """Find the process of an earlier life."""
        try:
            await self._connect()
            await self._ask({})
        except (OSError, RelayFailed):
            self._forget()

    async def apply(self, wanted: Mapping[Place, Route]) -> bool:
        """Bring the relay there; whether anything changed. All places of `wanted` are open. Raises RelayFailed."""
        changed = [place for place, route in wanted.items() if self.running.get(place) != route]
        gone = [place for place in self.running if place not in wanted]
        if not changed and not gone:
            return False
        if self._channel is None:
            await self._start()
        for start in range(0, len(gone), datagram_relay.MOST_SOCKETS):
            await self._ask({"drop": [_name(place) for place in gone[start : start + datagram_relay.MOST_SOCKETS]]})
        for start in range(0, len(changed), datagram_relay.MOST_SOCKETS):
            await self._set({place: wanted[place] for place in changed[start : start + datagram_relay.MOST_SOCKETS]})
        return True

    async def ended(self) -> None:
        """Wait until there is a process and that is gone: what it did has to be done anew."""
        await self._found.wait()
        assert self._lifeline is not None
        # A copy, so that nobody closes what is waited for.
        with self._lifeline.dup() as lifeline, contextlib.suppress(OSError):
            await asyncio.get_running_loop().sock_recv(lifeline, 1)
        if self._lifeline is not None and _is_over(self._lifeline):
            self._forget()

    def _forget(self) -> None:
        if self._lifeline is not None:
            with contextlib.suppress(OSError):
                self._lifeline.shutdown(socket.SHUT_RDWR)  # `ended` notices
        for channel in (self._channel, self._lifeline):
            if channel is not None:
                channel.close()
        self._channel = self._lifeline = None
        self._found.clear()
        self.running = {}

    async def _set(self, routes: Mapping[Place, Route]) -> None:
        entries = [
            {"name": _name(place), "target": route.target, "sources": route.sources} for place, route in routes.items()
        ]
        new = tuple(self._sockets[place].fileno() for place in routes if place not in self.running)
        await self._ask({"set": entries}, new)

    async def _start(self) -> None:
        user = tuple(str(number) for number in self._run_as or ())
        arguments = [sys.executable, "-I", "-m", _MODULE, str(self._folder), *user]
        try:
            done = await command.run(arguments, new_session=True, timeout_seconds=_START_SECONDS)
            if done.returncode:
                raise RelayFailed(f"the relay for UDP does not start: {done.stderr.decode(errors='replace').strip()}")
            await self._connect()
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RelayFailed(f"the relay for UDP does not start: {error}") from error

    async def _connect(self) -> None:
        """Raises OSError."""
        self._channel = _connected(self._folder)
        self._lifeline = _connected(self._folder)
        self._found.set()

    async def _ask(self, message: Mapping[str, object], given: tuple[int, ...] = ()) -> None:
        """Raises RelayFailed; it is forgotten then."""
        assert self._channel is not None
        try:
            fds.send(self._channel, json.dumps(message).encode(), given)
            async with asyncio.timeout(_START_SECONDS):
                answer = await asyncio.get_running_loop().sock_recv(self._channel, _ANSWER_BYTES)
            routes = msgspec.json.decode(answer, type=_Answer).routes
        except (OSError, TimeoutError, msgspec.DecodeError) as error:
            self._forget()
            raise RelayFailed(f"the relay for UDP does not answer: {error}") from error
        self.running = {_place(each.name): Route(Target(*each.target), each.sources) for each in routes}


def _is_over(lifeline: socket.socket) -> bool:
    try:
        return not lifeline.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _connected(folder: Path) -> socket.socket:
    """Raises OSError."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel.setblocking(False)
    try:
        channel.connect(str(folder / "relay.sock"))
    except OSError:
        channel.close()
        raise
    return channel


def _name(place: Place) -> str:
    return f"{place.host}#{place.port}"


def _place(name: str) -> Place:
    host, _, port = name.rpartition("#")
    return Place(host, int(port), "UDP")
