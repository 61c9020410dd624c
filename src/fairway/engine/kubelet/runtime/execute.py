"""A command inside a running container, for probes and hooks: forked by the zygote, joined to the container."""

import json
import os
import select
import socket
import time

from fairway.engine.kubelet.runtime import cgroups, container, processes, program, records, wire
from fairway.engine.kubelet.runtime.privileges import Account
from fairway.toolkit import linux

_MOST_OUTPUT_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_MOST_LAST_CHUNKS = 64  # more than a pipe holds: a process left in the background may go on writing
_ALL_BUT_PID = linux.CLONE_NEWNS | linux.CLONE_NEWNET | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWCGROUP


class ExecFailure(Exception):
    """The command could not be run."""


def serve(channel: socket.socket, run_dir: str, request: dict[str, object]) -> None:
    """Run one command and answer with its output; when the asking side goes away the command is killed."""
    try:
        with open(records.path(run_dir, str(request["id"])), encoding="utf-8") as file:
            spec = wire.Spec(json.dumps(json.load(file)["spec"]))
        command = _Command(spec, request)
    except (OSError, ExecFailure) as error:
        wire.send(channel, {"error": str(error)})
        return
    timeout = request["timeout_seconds"]
    deadline = time.monotonic() + float(str(timeout)) if timeout is not None else None
    wire.send(channel, command.wait(channel, deadline))


class _Command:
    """A started command and what it has written so far."""

    def __init__(self, spec: wire.Spec, request: dict[str, object]) -> None:
        args, env = request["args"], request["env"]
        assert isinstance(args, list) and isinstance(env, list)
        container_pidfd = _find(spec)
        stdout, self._write_stdout = os.pipe()
        stderr, self._write_stderr = os.pipe()
        report, self._write_report = os.pipe()
        self._spec = spec
        self._output = {stdout: bytearray(), stderr: bytearray()}
        self._order = (stdout, stderr)
        self._entrances = cgroups.Group(cgroups.Layout(), spec.cgroup).entrances()
        self._identity = container.identity(spec)
        # Otherwise the container could look through /proc into this process, which still has the node open.
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
        linux.setns(container_pidfd, linux.CLONE_NEWPID)
        self._pid = os.fork()
        if self._pid == 0:
            self._become(container_pidfd, tuple(args), {**spec.env, **dict(env)})
        for fd in (self._write_stdout, self._write_stderr, self._write_report):
            os.close(fd)
        with os.fdopen(report, "rb") as file:
            problem = file.read()
        if problem:
            os.waitpid(self._pid, 0)
            raise ExecFailure(json.loads(problem))

    def _become(self, container_pidfd: int, args: tuple[str, ...], env: dict[str, str]) -> None:
        try:
            cgroups.enter(self._entrances)
            os.setsid()
            linux.setns(container_pidfd, _ALL_BUT_PID)
            spec, stdio = self._spec, (self._write_stdout, self._write_stderr)
            account = Account(spec.uid, spec.gid, spec.groups)
            program.reset_process()
            program.run(args, env, spec.cwd, account, self._identity, stdio, die_with_parent=True)
        except Exception as error:  # the border of this process: whatever happened must reach the parent
            os.write(self._write_report, json.dumps(f"failed to exec in container: {error}").encode())
        finally:
            os._exit(128)

    def wait(self, channel: socket.socket, deadline: float | None) -> dict[str, object]:
        """Collect output until the command ends, the deadline passes or the asking side is gone."""
        ended = os.pidfd_open(self._pid)
        poll = select.poll()
        for fd in (ended, *self._output):
            poll.register(fd, select.POLLIN)
        poll.register(channel, select.POLLRDHUP)
        for fd in self._output:
            os.set_blocking(fd, False)
        in_time = self._collect(poll, ended, channel.fileno(), deadline)
        if not in_time:
            processes.kill_tree(self._pid)
        _, status = os.waitpid(self._pid, 0)
        for fd in self._output:
            for _ in range(_MOST_LAST_CHUNKS):
                if not self._read(fd):
                    break
        return self._answer(status, in_time)

    def _collect(self, poll: select.poll, ended: int, channel: int, deadline: float | None) -> bool:
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            ready = [fd for fd, _ in poll.poll(None if left is None else left * 1000 + 1)]
            for fd in ready:
                if fd in self._output and not self._read(fd):
                    poll.unregister(fd)
            if ended in ready:
                return True
            if channel in ready:
                return False

    def _read(self, fd: int) -> bool:
        try:
            data = os.read(fd, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        room = _MOST_OUTPUT_BYTES - len(self._output[fd])
        self._output[fd] += data[: max(room, 0)]
        return bool(data)

    def _answer(self, status: int, in_time: bool) -> dict[str, object]:
        code = os.waitstatus_to_exitcode(status)
        # JSON has no bytes; latin-1 gives every byte one character.
        stdout, stderr = (self._output[fd].decode("latin-1") for fd in self._order)
        return {"exit_code": code if code >= 0 else 128 - code, "stdout": stdout, "stderr": stderr, "in_time": in_time}


def _find(spec: wire.Spec) -> int:
    """A handle of process 1 of the container."""
    with open(spec.state_path, encoding="utf-8") as file:
        state = json.load(file)
    running = state["status"] == "running"
    handle = processes.open_pidfd(state["pid"], state["pid_start_ticks"]) if running else None
    if handle is None:
        raise ExecFailure(f"container {spec.id} is not running")
    return handle
