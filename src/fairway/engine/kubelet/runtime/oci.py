"""Containers by an OCI runtime, crun or runc, instead of by our own code.

The runtime makes the container and goes; what stays beside it is our shim, as always. Images, overlay, limits, logs,
terminals and commands in the container are ours in both ways.
"""

import json
import os
import socket

from fairway.engine.kubelet.runtime import cgroups, joined, oci_config, privileges, rootfs, sandbox, terminal
from fairway.engine.kubelet.runtime.program import Stdio, reset_process
from fairway.engine.kubelet.runtime.wire import Spec
from fairway.toolkit import fds, linux

_CGROUPS = "/sys/fs/cgroup"
_CONSOLE = "console.sock"
_FD_BYTES = 64


class OciFailure(Exception):
    """The runtime refused; the message is the one that it gave."""


def start(
    run_dir: str,
    spec: Spec,
    namespaces: sandbox.Handles,
    group: cgroups.Group,
    stdio: Stdio,
    console: int,
) -> int:
    """Make and start a container; its process 1, which becomes a child of the nearest subreaper, the shim.

    Moves this process into a mount namespace of its own, where the container's root is mounted: so it ends with the
    container. Raises OciFailure, rootfs.MountFailure, OSError.
    """
    bundle = folder(run_dir, spec.id)
    os.makedirs(bundle, mode=0o700, exist_ok=True)
    entrances = group.entrances()
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_SLAVE)
    rootfs.overlay(spec.layers, spec.upper_dir, spec.work_dir, spec.merged_dir)
    rootfs.refuse_links(spec.merged_dir)
    account = _account(spec)
    target = _pid_namespace(run_dir, spec, namespaces)
    limited = bool(group.layout.enforced)
    home = oci_config.home_of(run_dir, spec)
    body = oci_config.config(spec, account, spec.merged_dir, home, target, limited=limited)
    _write(f"{bundle}/config.json", json.dumps(body))
    os.chdir(bundle)
    base = _command(spec.oci_runtime, run_dir)
    listener = _listen() if spec.tty else None
    create = [*base, "create", "--bundle", ".", "--pid-file", "pid"]
    create += ["--console-socket", _CONSOLE] if spec.tty else []
    _run([*create, spec.id], entrances if _is_crun(spec.oci_runtime) else (), stdio)
    if listener is not None:
        _pass_on(listener, console)
    with open("pid", encoding="ascii") as file:
        pid = int(file.read())
    try:
        if not spec.privileged:
            _refuse_devices(pid)
        _run([*base, "start", spec.id], (), stdio)
    except (OciFailure, OSError):
        os.kill(pid, 9)
        raise
    return pid


def folder(run_dir: str, container: str) -> str:
    """The bundle of a container."""
    return f"{run_dir}/oci/bundles/{container}"


def clean(run_dir: str, container: str, group: str) -> None:
    """Forget an ended container: its bundle, the runtime's own notes, and the control groups that runc made."""
    for place in (folder(run_dir, container), f"{run_dir}/oci/state/{container}"):
        _remove(place)
    if not os.path.isdir(f"{run_dir}/oci"):
        return
    unified = os.path.exists(f"{_CGROUPS}/cgroup.controllers")
    for top in [_CGROUPS] if unified else [f"{_CGROUPS}/{name}" for name in _names(_CGROUPS)]:
        path = f"{top}/{group or f'fairway-{container}'}"
        while path != top:
            try:
                os.rmdir(path)
            except FileNotFoundError:
                pass
            except OSError:
                break
            path = os.path.dirname(path)


def _command(runtime: str, run_dir: str) -> list[str]:
    found = [runtime, "--root", f"{run_dir}/oci/state", "--log", "log", "--log-format", "json"]
    if not _is_crun(runtime):
        return found
    # crun wants no mixture of both kinds of control groups. Ours are made by us, so it need not see any.
    if not os.path.exists(f"{_CGROUPS}/cgroup.controllers"):
        linux.mount("none", _CGROUPS, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    return [*found, "--cgroup-manager", "disabled"]


def _is_crun(runtime: str) -> bool:
    return os.path.basename(runtime) == "crun"


def _pid_namespace(run_dir: str, spec: Spec, namespaces: sandbox.Handles) -> str:
    if spec.pid_target:
        return f"/proc/{joined.pid_of(run_dir, spec.pid_target)}/ns/pid"
    return f"{oci_config.home_of(run_dir, spec)}/pid" if namespaces.processes is not None else ""


def _account(spec: Spec) -> privileges.Account:
    """The user by the image's own files, read by a process that has nothing but the image in sight."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.chroot(spec.merged_dir)
            os.chdir("/")
            os.makedirs(spec.cwd, 0o755, exist_ok=True)
            account = privileges.Account(spec.uid, spec.gid, spec.groups)
            os.write(writing, json.dumps([account.gid, account.groups, account.home]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        answer = file.read()
    os.waitpid(pid, 0)
    if not answer:
        raise OciFailure(f"the image's accounts or its folder {spec.cwd} cannot be used")
    gid, groups, home = json.loads(answer)
    account = privileges.Account(65534, 65534, ())
    account.uid, account.gid, account.groups, account.home = spec.uid or 0, gid, tuple(groups), home
    return account


def _run(arguments: list[str], entrances: tuple[int, ...], stdio: Stdio) -> None:
    """Run the runtime to its end, in the container's control group where `entrances` lead there."""
    _write("log", "")
    pid = os.fork()
    if pid == 0:
        try:
            cgroups.enter(entrances)
            given = os.open("/dev/null", os.O_RDONLY) if stdio.stdin is None else stdio.stdin
            for fd, target in ((given, 0), (stdio.stdout, 1), (stdio.stderr, 2)):
                os.dup2(fd, target)
            linux.close_range(3)
            reset_process()
            os.execve(arguments[0], arguments, {"PATH": os.environ.get("PATH", os.defpath)})
        finally:
            os._exit(127)
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise OciFailure(_said() or f"{os.path.basename(arguments[0])} ended with wait status {status}")


def _said() -> str:
    """The runtime's last error."""
    with open("log", encoding="utf-8", errors="replace") as file:
        lines = [json.loads(line) for line in file if line.startswith("{")]
    errors = [line["msg"] for line in lines if line.get("level") == "error"]
    return str(errors[-1]) if errors else ""


def _listen() -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(_CONSOLE)  # in the bundle, where this process is: full paths may be too long
    listener.listen(1)
    return listener


def _pass_on(listener: socket.socket, console: int) -> None:
    """Give the master of the container's terminal to the shim, at the other end of the socket `console`."""
    channel, _ = listener.accept()
    _, given, _, _ = socket.recv_fds(channel, _FD_BYTES, 1)
    with socket.socket(fileno=os.dup(console)) as shim:
        fds.send(shim, terminal.MASTER, (given[0],))
    for fd in given:
        os.close(fd)
    channel.close()
    listener.close()


def _refuse_devices(container: int) -> None:
    """In a child, as it has to move into the container's mount namespace. Raises OciFailure."""
    target = os.pidfd_open(container)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            rootfs.refuse_devices(target)
            code = 0
        finally:
            os._exit(code)
    os.close(target)
    _, status = os.waitpid(pid, 0)
    if status:
        raise OciFailure("device files of the container's root cannot be switched off")


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _remove(path: str) -> None:
    for name in _names(path):
        os.unlink(f"{path}/{name}")
    try:
        os.rmdir(path)
    except OSError:
        pass
