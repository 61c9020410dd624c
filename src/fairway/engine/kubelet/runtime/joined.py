"""A process in a running container: forked, moved into the container's namespaces, then executed."""

import json
import os
import socket

from fairway.engine.kubelet.runtime import cgroups, container, processes, program, records, terminal, wire
from fairway.engine.kubelet.runtime.privileges import Account
from fairway.toolkit import linux

_ALL_BUT_PID = linux.CLONE_NEWNS | linux.CLONE_NEWNET | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWCGROUP
_PREFIX = "OCI runtime exec failed: exec failed: unable to start container process: "


class ExecFailure(Exception):
    """The command could not be run."""


def start(
    run_dir: str, request: dict[str, object], stdio: program.Stdio | None, console: socket.socket | None = None
) -> int:
    """Run `args` with `env` added to the container's own; the pid of the new child of this process.

    Without `stdio` it gets a terminal, whose master is sent over `console`. Raises ExecFailure, OSError.
    """
    args, env = request["args"], request["env"]
    assert isinstance(args, list) and isinstance(env, list)
    spec = _spec(run_dir, str(request["id"]))
    target = find(spec)
    report, write_report = os.pipe()
    entrances = cgroups.Group(cgroups.Layout(), spec.cgroup).entrances()
    identity = container.identity(spec)
    # Otherwise the container could look through /proc into this process, which still has the node open.
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    linux.setns(target, linux.CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        try:
            cgroups.enter(entrances)
            os.setsid()
            linux.setns(target, _ALL_BUT_PID)
            account = Account(spec.uid, spec.gid, spec.groups)
            program.reset_process()
            if stdio is None:
                assert console is not None
                stdio = terminal.open_for_program(console.detach())
            environment = {**spec.env, **dict(env)}
            program.run(tuple(args), environment, spec.cwd, account, identity, stdio, die_with_parent=True)
        except Exception as error:  # the border of this process: whatever happened must reach the parent
            os.write(write_report, json.dumps(f"{_PREFIX}{error}: unknown").encode())
        finally:
            os._exit(128)
    for fd in (write_report, target, *entrances):
        os.close(fd)
    with os.fdopen(report, "rb") as file:
        problem = file.read()
    if problem:
        os.waitpid(pid, 0)
        raise ExecFailure(json.loads(problem))
    return pid


def find(spec: wire.Spec) -> int:
    """A handle of process 1 of the container. Raises ExecFailure when it does not run."""
    with open(spec.state_path, encoding="utf-8") as file:
        state = json.load(file)
    running = state["status"] == "running"
    handle = processes.open_pidfd(state["pid"], state["pid_start_ticks"]) if running else None
    if handle is None:
        raise ExecFailure(f"container {spec.id} is not running")
    return handle


def pid_of(run_dir: str, id: str) -> int:
    """Process 1 of a running container. Raises ExecFailure, OSError."""
    spec = _spec(run_dir, id)
    os.close(find(spec))
    with open(spec.state_path, encoding="utf-8") as file:
        return int(json.load(file)["pid"])


def find_by_id(run_dir: str, id: str) -> int:
    """A handle of process 1 of the container with this id. Raises ExecFailure, OSError."""
    return find(_spec(run_dir, id))


def _spec(run_dir: str, id: str) -> wire.Spec:
    with open(records.path(run_dir, id), encoding="utf-8") as file:
        return wire.Spec(json.dumps(json.load(file)["spec"]))
