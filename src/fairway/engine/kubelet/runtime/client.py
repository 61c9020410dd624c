"""The engine's side of the container runtime.

All state is on disk and in the kernel: an engine that was killed and started again sees the same containers.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from fairway.engine.kubelet.runtime import attachment, cgroups, oci, processes, records, sandbox, sessions, wire
from fairway.engine.kubelet.runtime.errors import (
    ContainerExists,
    ContainerUnknown,
    ExecFailed,
    ExecTimedOut,
    LimitRefused,
    RuntimeRefused,
    RuntimeUnavailable,
)
from fairway.engine.kubelet.runtime.logs import timestamp
from fairway.engine.kubelet.runtime.model import ContainerSpec, ContainerState, ExecResult, Limits, SandboxState
from fairway.toolkit import files

_END_SECONDS = 10.0
_END_ATTEMPTS = 50
_LOST = "The container could not be located: its shim was killed before it could record the end"


class _Record(msgspec.Struct, frozen=True):
    """The record of a container, see `records`."""

    shim_pid: int
    shim_start_ticks: int
    spec: ContainerSpec


class _Process(msgspec.Struct, frozen=True):
    """Process 1 of a container; both are None until it runs."""

    pid: int | None = None
    pid_start_ticks: int | None = None


class Runtime:
    """Starts, watches and removes containers and their sandboxes through the zygote."""

    def __init__(self, run_dir: Path, zygote_socket: Path, *, oci_runtime: str = "") -> None:
        """`oci_runtime` is the path of crun or runc; without it our own code makes the containers."""
        self._run_dir = run_dir
        self._socket = zygote_socket
        self.oci_runtime = oci_runtime
        self._subscribers: list[Callable[[str], None]] = []
        self._shims: dict[str, int] = {}

    @property
    def limits_enforced(self) -> tuple[str, ...]:
        """Which of memory, cpu and pids this machine lets us limit."""
        return cgroups.Layout().enforced

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call back with the id of a container that ended; only those started or listed by this object are known."""
        self._subscribers.append(callback)

    # sandboxes

    async def create_sandbox(
        self,
        id: str,
        hostname: str,
        *,
        host_network: bool = False,
        share_processes: bool = False,
        sysctls: tuple[tuple[str, str], ...] = (),
    ) -> SandboxState:
        """Make the namespaces that the containers of a pod share; one that is there stays as it is.

        With `host_network` they use the node's own network; with `share_processes` they see each other's processes.
        `sysctls` are settings of their network and of their shared memory.
        """
        options = {"host_network": host_network, "share_processes": share_processes}
        await self._ask(wire.SANDBOX, {"id": id, "hostname": hostname, **options, "sysctls": sysctls})
        return self._sandbox(id)

    async def remove_sandbox(self, id: str) -> None:
        """Let go of the namespaces; they end with their last process. May be repeated."""
        await asyncio.to_thread(sandbox.remove, str(self._run_dir), id)

    async def list_sandboxes(self) -> tuple[SandboxState, ...]:
        """All sandboxes whose namespaces exist."""
        return tuple(self._sandbox(name) for name in sandbox.names(str(self._run_dir)))

    def _sandbox(self, id: str) -> SandboxState:
        home = Path(sandbox.folder(str(self._run_dir), id))
        try:
            ip = (home / "ip").read_text()
        except FileNotFoundError:
            ip = ""
        return SandboxState(id=id, ip=ip, netns_path=str(home / "net"))

    # containers

    async def start(self, spec: ContainerSpec) -> ContainerState:
        """Start a container; returns when its program runs (`running`) or could not be run (`failed`).

        Raises ContainerExists, RuntimeUnavailable, and RuntimeRefused when not even a state could be recorded.
        """
        for path in (spec.log_path, spec.state_path):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        spec = msgspec.structs.replace(spec, oci_runtime=self.oci_runtime)
        answer = await self._ask(wire.START, msgspec.to_builtins(spec))
        state = msgspec.convert(answer["state"], ContainerState)
        if state.status == "running" and not self._watch(spec.id, self._record(spec.id)):
            asyncio.get_running_loop().call_soon(self._ended, spec.id)  # it ended before we could watch it
        return state

    async def signal(self, id: str, signal_number: int) -> None:
        """Send a signal to process 1 of a container; one that has ended is left alone. Raises ContainerUnknown."""
        self._kill(self._known(id), signal_number)

    async def resize(self, id: str, own: Limits, shared: Limits) -> None:
        """Change the limits of a running container and those of its pod.

        Raises ContainerUnknown, LimitRefused when the kernel did not take one.
        """
        record = self._known(id)
        if self._state(record).status != "running":
            return
        group = cgroups.Group(cgroups.Layout(), record.spec.cgroup)
        refused = group.change(_limits(own), _limits(shared))
        if refused:
            raise LimitRefused(f"the kernel did not take {', '.join(refused)}")

    async def list(self) -> tuple[ContainerState, ...]:
        """All containers that were not removed, also those that have ended; starts watching those that run."""
        states = []
        for name in self._ids():
            record = self._record(name)
            if record is None:
                continue
            state = self._state(record)
            if state.status in ("created", "running") and not self._watch(name, record):
                state = self._settle(record)
            states.append(state)
        return tuple(states)

    async def remove(self, id: str) -> None:
        """Kill a container if it runs, then delete its files except the log. May be repeated."""
        record = self._record(id)
        if record is None:
            return
        await self._end(record)
        self._forget(id)
        await asyncio.to_thread(self._delete, record)

    async def exec(
        self,
        id: str,
        args: Sequence[str],
        env: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> ExecResult:
        """Run a command in a container as its user; `env` is added to the container's own.

        Raises ExecFailed, and ExecTimedOut after killing the command and its children. At most 4 MiB of each output
        stream are kept.
        """
        request = {"id": id, "args": list(args), "env": list((env or {}).items())}
        try:
            answer = await self._ask(wire.EXEC, {**request, "timeout_seconds": timeout_seconds})
        except RuntimeRefused as error:
            raise ExecFailed(str(error)) from error
        if not answer["in_time"]:
            raise ExecTimedOut(f"command timed out: {' '.join(args)!r} timed out after {timeout_seconds:g}s")
        stdout, stderr = answer["stdout"].encode("latin-1"), answer["stderr"].encode("latin-1")
        return ExecResult(exit_code=answer["exit_code"], stdout=stdout, stderr=stderr)

    async def open_command(
        self, id: str, args: Sequence[str], env: Mapping[str, str] | None = None, *, tty: bool, stdin: bool
    ) -> sessions.Session:
        """Start a command with streams for somebody. Raises ExecFailed, RuntimeUnavailable."""
        request = {"id": id, "args": list(args), "env": list((env or {}).items()), "tty": tty, "stdin": stdin}
        return await sessions.start_command(self._socket, request, tty=tty)

    async def attach(self, id: str, *, stdin: bool, stdout: bool, stderr: bool) -> sessions.Session:
        """Join the streams of a running container. Raises ContainerUnknown when it does not run."""
        try:
            return await sessions.attach(self._run_dir, id, stdin=stdin, stdout=stdout, stderr=stderr)
        except OSError as error:
            raise ContainerUnknown(id) from error

    async def pod_socket(self, sandbox_id: str, family: int) -> socket.socket:
        """An unconnected TCP socket in the network of a sandbox. Raises OSError."""
        return await sessions.pod_socket(self._sandbox(sandbox_id).netns_path, family)

    # the zygote

    async def _ask(self, kind: bytes, request: dict[str, Any]) -> dict[str, Any]:
        body = msgspec.json.encode(request)
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._socket))
        except OSError as error:
            raise RuntimeUnavailable(f"the zygote does not listen on {self._socket}: {error}") from error
        try:
            writer.write(kind + wire.LENGTH.pack(len(body)) + body)
            await writer.drain()
            (length,) = wire.LENGTH.unpack(await reader.readexactly(wire.LENGTH.size))
            answer: dict[str, Any] = msgspec.json.decode(await reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise RuntimeUnavailable("the zygote closed the connection without an answer") from error
        finally:
            writer.close()
        if answer.get("exists"):
            raise ContainerExists(answer["error"])
        if "error" in answer:
            raise RuntimeRefused(answer["error"])
        return answer

    # what is on disk

    def _ids(self) -> tuple[str, ...]:
        folder = self._run_dir / "containers"
        return tuple(sorted(path.stem for path in folder.glob("*.json")))

    def _record(self, id: str) -> _Record | None:
        try:
            return msgspec.json.decode(Path(records.path(str(self._run_dir), id)).read_bytes(), type=_Record)
        except FileNotFoundError:
            return None

    def _known(self, id: str) -> _Record:
        record = self._record(id)
        if record is None:
            raise ContainerUnknown(id)
        return record

    @staticmethod
    def _state(record: _Record) -> ContainerState:
        try:
            return msgspec.json.decode(Path(record.spec.state_path).read_bytes(), type=ContainerState)
        except FileNotFoundError:
            return ContainerState(id=record.spec.id, status="created")

    @staticmethod
    def _process(record: _Record) -> int | None:
        """A handle of process 1 of a container, None when there is none (any more)."""
        try:
            process = msgspec.json.decode(Path(record.spec.state_path).read_bytes(), type=_Process)
        except FileNotFoundError:
            return None
        if process.pid is None or process.pid_start_ticks is None:
            return None
        return processes.open_pidfd(process.pid, process.pid_start_ticks)

    def _kill(self, record: _Record, signal_number: int) -> None:
        if self._state(record).status != "running":
            return
        handle = self._process(record)
        if handle is None:
            return
        try:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal_number)
        finally:
            os.close(handle)

    def _settle(self, record: _Record) -> ContainerState:
        """The state of a container without a shim: what it wrote last, or lost, which is then recorded."""
        state = self._state(record)
        if state.status not in ("created", "running"):
            return state  # it ended between two looks
        self._kill(record, signal.SIGKILL)
        lost = msgspec.structs.replace(
            state,
            status="exited",
            exit_code=137,
            reason="ContainerStatusUnknown",
            message=_LOST,
            finished_at=timestamp(time.time_ns()),
        )
        files.replace(Path(record.spec.state_path), msgspec.json.encode(lost), mode=0o600)
        cgroups.Group(cgroups.Layout(), record.spec.cgroup).remove()
        return lost

    # the end of containers

    def _watch(self, id: str, record: _Record | None) -> bool:
        """Be told when the shim of a container ends, which it does right after recording the end; False: it has."""
        if id in self._shims:
            return True
        handle = processes.open_pidfd(record.shim_pid, record.shim_start_ticks) if record else None
        if handle is None:
            return False
        self._shims[id] = handle
        asyncio.get_running_loop().add_reader(handle, self._ended, id)
        return True

    def _ended(self, id: str) -> None:
        self._forget(id)
        record = self._record(id)
        if record:
            self._settle(record)
        for callback in self._subscribers:
            callback(id)

    def _forget(self, id: str) -> None:
        handle = self._shims.pop(id, None)
        if handle is not None:
            asyncio.get_running_loop().remove_reader(handle)
            os.close(handle)

    async def _end(self, record: _Record) -> None:
        """Kill a container and wait until its shim has recorded that; a stuck shim is killed too."""
        handle = processes.open_pidfd(record.shim_pid, record.shim_start_ticks)
        if handle is None:
            self._kill(record, signal.SIGKILL)
            return
        try:
            for _ in range(_END_ATTEMPTS):
                self._kill(record, signal.SIGKILL)  # again, as one that is still being made has nothing to kill
                if await _ends(handle, _END_SECONDS / _END_ATTEMPTS):
                    return
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            await _ends(handle, _END_SECONDS)
        finally:
            os.close(handle)

    def _delete(self, record: _Record) -> None:
        spec = record.spec
        for folder in (spec.upper_dir, spec.work_dir, spec.merged_dir):
            shutil.rmtree(folder, ignore_errors=True)
        cgroups.Group(cgroups.Layout(), spec.cgroup).remove()
        if spec.oci_runtime:
            oci.clean(str(self._run_dir), spec.id, spec.cgroup)
        Path(spec.state_path).unlink(missing_ok=True)
        Path(attachment.path(str(self._run_dir), spec.id)).unlink(missing_ok=True)
        Path(records.path(str(self._run_dir), spec.id)).unlink(missing_ok=True)


def _limits(wanted: Limits) -> cgroups.Limits:
    return cgroups.Limits(wanted.memory_bytes, wanted.cpu_quota_us, wanted.cpu_shares, None)


async def _ends(handle: int, seconds: float) -> bool:
    """Wait for the process behind a pidfd to end."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        async with asyncio.timeout(seconds):
            await ended.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(handle)
    return True
