"""Process 1 of a container, from the fork to the exec of its program."""

import _socket
import binascii
import json
import os
import socket

from fairway.engine.kubelet.runtime import cgroups, privileges, program, rootfs, sandbox, terminal
from fairway.engine.kubelet.runtime.wire import Spec
from fairway.toolkit import linux

_PREFIX = "failed to create shim task: OCI runtime create failed: unable to start container process: "


def identity(spec: Spec) -> program.Identity:
    """Capabilities and filter of a container. Raises UnknownCapability."""
    kept = privileges.kept(spec.capabilities_add, spec.capabilities_drop)
    own = binascii.a2b_base64(spec.seccomp_program) if spec.seccomp == "custom" else None
    code = privileges.filter_program(spec.seccomp, kept) if own is None else own
    return program.Identity(kept, code, no_new_privileges=spec.no_new_privileges)


def become(
    spec: Spec,
    joined: sandbox.Handles,
    entrances: tuple[int, ...],
    who: program.Identity,
    stdio: program.Stdio,
    console: _socket.socket,
    report: int,
) -> None:
    """Turn this freshly forked process 1 into the container; never returns.

    With a terminal `stdio` is made here, and its other end goes out through `console`.

    A failure is written to the pipe `report` as a JSON string; a program that runs closes it unwritten.
    """
    try:
        cgroups.enter(entrances)
        _volunteer(spec.oom_score_adj)
        joined.enter()
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWCGROUP)
        os.setsid()
        if spec.hostname:
            socket.sethostname(spec.hostname)
        folders = (spec.upper_dir, spec.work_dir, spec.merged_dir)
        rootfs.enter(
            spec.layers,
            folders,
            spec.volumes,
            joined.shm_path,
            read_only=spec.read_only_root,
            privileged=spec.privileged,
        )
        if spec.tty:
            stdio = terminal.open_for_program(console.fileno())
            rootfs.attach_console(stdio.stdout)
        account = privileges.Account(spec.uid, spec.gid, spec.groups)
        program.reset_process()
        program.run(spec.args, spec.env, spec.cwd, account, who, stdio, die_with_parent=True)
    except Exception as error:  # the border of this process: whatever happened must reach the shim
        os.write(report, json.dumps(f"{_PREFIX}{_words(error)}: unknown").encode())
    finally:
        os._exit(128)


def _volunteer(score: int | None) -> None:
    """Say how soon the kernel may kill this process when the machine has no memory left."""
    if score is None:
        return
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(score))
    except OSError:
        pass  # less than our own needs CAP_SYS_RESOURCE


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or repr(error)
    expected = isinstance(error, (rootfs.MountFailure, program.StartFailure))
    return str(error) if expected else f"{type(error).__name__}: {error}"
