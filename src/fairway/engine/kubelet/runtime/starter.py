"""Makes one container, tells the kubelet and its shim about it, and ends.

A process of its own between the shim and the container, because what Python touches becomes its own memory: the shim,
which lives as long as the container, then never reads a spec.
"""

import json
import os
import select
import socket
import time

from fairway.engine.kubelet.runtime import cgroups, container, processes, records, sandbox, wire
from fairway.engine.kubelet.runtime.logs import LogFile, timestamp
from fairway.engine.kubelet.runtime.privileges import UnknownCapability
from fairway.toolkit import linux

_START_FAILED = 128  # the exit code that containerd gives a program that never ran


class _StartFailed(Exception):
    """The container could not be made or its program not executed."""


def run(channel: socket.socket, run_dir: str, stdio: tuple[int, int], handover: int) -> None:
    """Start the container that the request asks for as a child of this process's parent, the shim.

    The kubelet gets the state. The shim gets, over the pipe `handover`, what `handover_fields` reads; nothing when
    there is no container to look after.
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
        joined = sandbox.Handles(run_dir, spec.sandbox)
        group.create(spec.limits)
        pid = _start(spec, joined, group, stdio, handover)
    except (OSError, UnknownCapability, _StartFailed) as error:
        group.remove()
        answer = state.write(
            "failed", exit_code=_START_FAILED, reason="StartError", message=str(error), **_now("finished_at")
        )
    else:
        answer = state.write("running", pid=pid, pid_start_ticks=processes.start_ticks(pid), **_now("started_at"))
        os.write(handover, "\0".join((str(pid), spec.log_path, spec.state_path, spec.cgroup)).encode())
    try:
        wire.send(channel, {"state": answer})
    except OSError:
        return  # the engine was killed meanwhile; it will find the state on disk


def handover_fields(data: bytes) -> tuple[int, str, str, str]:
    """Process 1, log path, state path and cgroup of the container."""
    pid, *texts = data.decode().split("\0")
    log_path, state_path, group = texts
    return int(pid), log_path, state_path, group


def _now(field: str) -> dict[str, object]:
    return {field: timestamp(time.time_ns())}


def _start(
    spec: wire.Spec, joined: sandbox.Handles, group: cgroups.Group, stdio: tuple[int, int], handover: int
) -> int:
    """Fork process 1 of a new PID namespace and wait until its program runs."""
    who = container.identity(spec)
    entrances = group.entrances()
    report, write_report = os.pipe()
    linux.unshare(linux.CLONE_NEWPID)
    pid = linux.fork_sibling()
    if pid == 0:
        container.become(spec, joined, entrances, who, stdio, write_report)
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
