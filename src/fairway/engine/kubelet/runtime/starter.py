"""Makes one container, tells the kubelet and its shim about it, and ends.

A process of its own between the shim and the container, because what Python touches becomes its own memory: the shim,
which lives as long as the container, then never reads a spec.
"""

import _socket
import json
import os
import select
import time

from fairway.engine.kubelet.runtime import (
    attachment,
    cgroups,
    container,
    joined,
    oci,
    processes,
    records,
    rootfs,
    sandbox,
    wire,
)
from fairway.engine.kubelet.runtime.logs import LogFile, timestamp
from fairway.engine.kubelet.runtime.privileges import UnknownCapability
from fairway.engine.kubelet.runtime.program import Stdio
from fairway.toolkit import linux

_OCI_PREFIX = "failed to create shim task: OCI runtime create failed: "
_START_FAILED = 128  # the exit code that containerd gives a program that never ran


class _StartFailed(Exception):
    """The container could not be made or its program not executed."""


class Handover:
    """What the shim needs to know about its container."""

    def __init__(self, data: bytes) -> None:
        pid, flags, self.log_path, self.state_path, self.cgroup, self.socket_path, self.bundle = data.decode().split(
            "\0"
        )
        self.pid = int(pid)
        self.terminal = "t" in flags
        self.stdin = "i" in flags
        self.stdin_once = "o" in flags
        self.shared = "s" in flags


def run(
    channel: _socket.socket,
    run_dir: str,
    stdio: Stdio,
    console: _socket.socket,
    listener: _socket.socket,
    handover: int,
) -> None:
    """Start the container that the request asks for as a child of this process's parent, the shim.

    The kubelet gets the state. The shim gets, over the pipe `handover`, a `Handover`, nothing when there is no
    container to look after; `listener` is made the socket to which others attach; `console` takes a terminal's master.
    """
    encoded = wire.receive(channel).decode()
    spec = wire.Spec(encoded)
    try:
        records.create(run_dir, spec.id, encoded, os.getppid())
    except FileExistsError:
        wire.send(channel, {"error": f"container {spec.id} exists", "exists": True})
        return
    state = records.StateFile(spec.state_path, spec.id)
    state.write("created")
    group = cgroups.Group(cgroups.Layout(), spec.cgroup)
    try:
        LogFile(spec.log_path)
        namespaces = sandbox.Handles(run_dir, spec.sandbox)
        group.create(spec.limits, spec.pod_limits)
        attachment.listen(run_dir, spec.id, listener)
        given = stdio if spec.stdin else Stdio(None, stdio.stdout, stdio.stderr)
        if spec.oci_runtime:
            pid = oci.start(run_dir, spec, namespaces, group, given, console.fileno())
        else:
            pid = _start(run_dir, spec, namespaces, group, given, console)
    except (oci.OciFailure, rootfs.MountFailure) as error:
        group.remove()
        oci.clean(run_dir, spec.id, spec.cgroup)
        message = f"{_OCI_PREFIX}{error}: unknown"
        answer = state.write(
            "failed", exit_code=_START_FAILED, reason="StartError", message=message, **_now("finished_at")
        )
    except (OSError, UnknownCapability, joined.ExecFailure, _StartFailed) as error:
        group.remove()
        answer = state.write(
            "failed", exit_code=_START_FAILED, reason="StartError", message=str(error), **_now("finished_at")
        )
    else:
        answer = state.write("running", pid=pid, pid_start_ticks=processes.start_ticks(pid), **_now("started_at"))
        shared = namespaces.processes is not None
        os.write(handover, _handover(pid, spec, attachment.path(run_dir, spec.id), shared=shared))
    try:
        wire.send(channel, {"state": answer})
    except OSError:
        return  # the engine was killed meanwhile; it will find the state on disk


def _handover(pid: int, spec: wire.Spec, socket_path: str, *, shared: bool) -> bytes:
    known = (("t", spec.tty), ("i", spec.stdin), ("o", spec.stdin_once), ("s", shared))
    flags = "".join(flag for flag, given in known if given)
    runtime = spec.oci_runtime and spec.id
    return "\0".join((str(pid), flags, spec.log_path, spec.state_path, spec.cgroup, socket_path, runtime)).encode()


def _now(field: str) -> dict[str, object]:
    return {field: timestamp(time.time_ns())}


def _start(
    run_dir: str,
    spec: wire.Spec,
    namespaces: sandbox.Handles,
    group: cgroups.Group,
    stdio: Stdio,
    console: _socket.socket,
) -> int:
    """Fork process 1 of a new PID namespace, or a process of the target's, and wait until its program runs."""
    who = container.identity(spec)
    entrances = group.entrances()
    report, write_report = os.pipe()
    if spec.pid_target:
        linux.setns(joined.find_by_id(run_dir, spec.pid_target), linux.CLONE_NEWPID)
    elif namespaces.processes is not None:
        linux.setns(namespaces.processes, linux.CLONE_NEWPID)
    else:
        linux.unshare(linux.CLONE_NEWPID)
    pid = linux.fork_sibling()
    if pid == 0:
        container.become(spec, namespaces, entrances, who, stdio, console, write_report)
    os.close(write_report)
    with os.fdopen(report, "rb") as file:
        problem = file.read()
    if problem:
        _wait_for_end(pid)
        raise _StartFailed(json.loads(problem))
    return pid


def _wait_for_end(pid: int) -> None:
    """Wait for a process that is not a child of this one."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.poll()
    os.close(handle)
