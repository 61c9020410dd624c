"""The HAProxy that serves the TCP sockets of the host.

`applied.json` says what the running HAProxy does; it is away while that changes, and then the next start reloads.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from fairway.engine.loadbalancer import render
from fairway.engine.loadbalancer.config import Config
from fairway.engine.loadbalancer.ir import Place, Route, Target
from fairway.engine.loadbalancer.plan import NoChange, Plan, Reload, SetTargets
from fairway.engine.loadbalancer.sockets import Sockets
from fairway.toolkit import files
from fairway.toolkit.haproxy import Process, find

_NOBODY = 65534


class _Entry(msgspec.Struct, frozen=True):
    place: Place
    route: Route


class Haproxy:
    """A HAProxy on files in `run_dir`; `sockets` are those that it may be given."""

    def __init__(self, config: Config, sockets: Sockets) -> None:
        self._config = config
        self._folder = config.run_dir
        self._sockets = sockets
        self._process: Process | None = None
        self.running: Mapping[Place, Route] | None = {}
        (self._folder / "root").mkdir(parents=True, exist_ok=True, mode=0o700)

    async def adopt(self) -> None:
        """Find the process of an earlier life."""
        process = self._new_process(())
        if await process.adopt():
            self._process = process
            self.running = self._read_applied()

    async def apply(self, plan: Plan, wanted: Mapping[Place, Route]) -> None:
        """Bring HAProxy there; all sockets of `wanted` are open. Raises HaproxyError, OSError."""
        match plan:
            case NoChange():
                return
            case SetTargets(targets=targets):
                await self._set_targets(targets, wanted)
            case Reload():
                await self._reload(wanted)

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.alive

    async def ended(self) -> None:
        """Wait until the process is gone; returns at once when there is none."""
        if self._process is not None:
            await self._process.ended()

    def forget(self) -> None:
        """The process is gone: what it did has to be done anew."""
        self.running = {}

    async def _set_targets(self, targets: Mapping[Place, Target], wanted: Mapping[Place, Route]) -> None:
        assert self._process is not None
        self._forget_applied()
        await self._process.socket.set_servers(
            (render.name(place), render.SERVER, target.address, target.port) for place, target in targets.items()
        )
        self._write(wanted)

    async def _reload(self, wanted: Mapping[Place, Route]) -> None:
        if not wanted:
            self._finish()
            return
        descriptors = {place: self._sockets[place].fileno() for place in wanted}
        self._forget_applied()
        text = render.render(wanted, descriptors, unprivileged())
        files.replace(self._folder / "haproxy.cfg", text.encode(), mode=0o600)
        # `start` hands these over; the process object is new because its sockets are.
        process = self._new_process(tuple(descriptors.values()))
        await process.adopt()
        await process.start()
        if self._process is not None:
            self._process.release()
        self._process = process
        self._write(wanted)

    def _finish(self) -> None:
        """HAProxy refuses to run without a listener."""
        self._forget_applied()
        if self._process is not None:
            self._process.finish()
            self._process = None
        self.running = {}

    def _new_process(self, listeners: tuple[int, ...]) -> Process:
        return Process(find(self._config.binary), self._folder, listeners=listeners)

    def _write(self, wanted: Mapping[Place, Route]) -> None:
        entries = [_Entry(place, route) for place, route in wanted.items()]
        files.replace(self._applied_file, msgspec.json.encode(entries), mode=0o600)
        self.running = dict(wanted)

    def _forget_applied(self) -> None:
        self.running = None
        self._applied_file.unlink(missing_ok=True)

    def _read_applied(self) -> Mapping[Place, Route] | None:
        try:
            entries = msgspec.json.decode(self._applied_file.read_bytes(), type=list[_Entry])
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        return {entry.place: entry.route for entry in entries}

    @property
    def _applied_file(self) -> Path:
        return self._folder / "applied.json"


def unprivileged() -> tuple[int, int] | None:
    """Nobody, where this process may become nobody."""
    if os.geteuid() != 0:
        return None
    maps = (Path("/proc/self/uid_map"), Path("/proc/self/gid_map"))
    return (_NOBODY, _NOBODY) if all(_mapped(path.read_text(), _NOBODY) for path in maps) else None


def _mapped(text: str, number: int) -> bool:
    ranges = [[int(word) for word in line.split()] for line in text.splitlines()]
    return any(first <= number < first + count for first, _, count in ranges)
