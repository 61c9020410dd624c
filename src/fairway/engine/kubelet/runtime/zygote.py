"""The zygote: a small process that forks a child for each request; a child that starts a container becomes its shim.

    python -m fairway.engine.kubelet.runtime.zygote --socket PATH [--run-dir DIR]

It has everything imported before the first request and can import nothing afterwards: a process that has entered a
container's root would otherwise run that image's `warnings.py` as root. It holds no state, so it may be killed and
started again at any time; containers go on. SIGTERM ends it cleanly.
"""

import _signal  # type: ignore[import-not-found]  # not the enumerations of `signal`: they would cost every shim memory
import _socket
import codecs
import gc
import json
import os
import signal
import socket
import struct
import sys

from fairway.engine.kubelet.runtime import execute, sandbox, session, shim, wire
from fairway.toolkit import linux

_BACKLOG = 512
_UCRED = struct.Struct("3i")
_PACKAGE = "fairway.engine.kubelet"
# The second life of the process, see `_write_protect`. The room's own __init__ is replaced by an empty package, as it
# would import the whole kubelet.
_SECOND_LIFE = f"""
import sys, types
root, name = sys.argv.pop(1), "{_PACKAGE}"
sys.path.append(root)
import fairway.engine
sys.modules[name] = types.ModuleType(name)
sys.modules[name].__path__ = [root + "/" + name.replace(".", "/")]
from fairway.engine.kubelet.runtime import zygote
zygote.run(*sys.argv[1:])
"""


def main() -> None:
    """Read the command line, then start over as the small, write-protected process."""
    options = _options(sys.argv[1:])
    if "--socket" not in options:
        sys.exit("usage: zygote --socket PATH [--run-dir DIR]   (default DIR: the socket's folder)")
    address = os.path.abspath(options["--socket"])
    run_dir = os.path.abspath(options.get("--run-dir", os.path.dirname(address)))
    root = os.path.abspath(__file__).removesuffix("/" + _PACKAGE.replace(".", "/") + "/runtime/zygote.py")
    _write_protect([sys.executable, "-I", "-S", "-c", _SECOND_LIFE, root, address, run_dir])


def _options(words: list[str]) -> dict[str, str]:
    """`--name value` pairs; argparse would cost this process a megabyte."""
    pairs = [pair for word in words for pair in word.split("=", 1)]
    return dict(zip(pairs[::2], pairs[1::2], strict=False))


def _write_protect(arguments: list[str]) -> None:
    """Execute Python again from a read-only view of its file.

    A container may reach the program of a process that is about to become part of it as /proc/self/exe, and could
    overwrite it when root is root on both sides (CVE-2019-5736). Through this view it cannot be opened for writing.
    """
    view = linux.open_tree(os.path.realpath(sys.executable), recursive=False)
    linux.mount_setattr(view, set_flags=linux.MOUNT_ATTR_RDONLY)
    os.execve(view, arguments, {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"})


def run(address: str, run_dir: str) -> None:
    """Listen and fork until SIGTERM."""
    _be_alone()
    os.makedirs(run_dir, mode=0o700, exist_ok=True)
    listener = _listen(address)
    seal_imports()
    shim.rehearse()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    gc.disable()
    own = os.getpid()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0) if os.getpid() == own else None)  # children have it too
    try:
        _fork_for_each(listener, run_dir)
    finally:
        if os.getpid() == own:
            os.unlink(address)


def _fork_for_each(listener: _socket.socket, run_dir: str) -> None:
    """Bare calls only: each page that is written here, for want of a word about it, is copied into every shim."""
    while True:
        channel, _ = listener._accept()  # type: ignore[attr-defined]  # unknown to the stubs
        try:
            pid = os.fork()
        except OSError as error:  # without a free process slot: the asking side sees a closed connection
            pid = -1
            sys.stderr.write(f"level=error room=zygote did=fork error={error.strerror!r}\n")
        if pid == 0:
            _child(listener, channel, run_dir)
        os.close(channel)


def seal_imports() -> None:
    """From here on no module can be imported in this process and its children."""
    for encoding in ("ascii", "latin-1", "utf-8"):
        codecs.lookup(encoding)  # imported by Python when first used, so use them now
    sys.path[:] = []
    sys.meta_path[:] = []
    sys.path_hooks[:] = []
    sys.path_importer_cache.clear()


def _be_alone() -> None:
    """Own session, no inherited descriptors, no signals from a terminal, children reaped by the kernel."""
    linux.close_range(3)
    if os.getpid() != os.getsid(0):
        os.setsid()
    linux.set_process_name("zygote")
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _listen(address: str) -> _socket.socket:
    """Whoever sees the address can connect to it: it gets its name only once it is listened on."""
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    unfinished = f"{address}.new"
    try:
        os.unlink(unfinished)  # left by a zygote that was killed
    except FileNotFoundError:
        pass
    os.umask(0o177)
    listener.bind(unfinished)
    os.umask(0o022)
    listener.listen(_BACKLOG)
    os.rename(unfinished, address)
    return listener


def _child(listener: _socket.socket, descriptor: int, run_dir: str) -> None:
    """The life of a child: one request. Never returns."""
    try:
        listener.close()
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        os.setsid()
        _answer(_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor), run_dir)
    except Exception as error:  # the border of this process
        sys.stderr.write(f"level=error room=zygote did=answer error={error!r}\n")
    finally:
        os._exit(0)


def _answer(bare: _socket.socket, run_dir: str) -> None:
    _, uid, _ = _UCRED.unpack(bare.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _UCRED.size))
    if uid != os.geteuid():
        return
    kind = bare.recv(1)
    if kind == wire.START:
        shim.serve(bare, run_dir)
        return
    channel = socket.socket(fileno=bare.detach())
    request = json.loads(wire.receive(channel))
    try:
        if kind == wire.EXEC:
            execute.serve(channel, run_dir, request)
        elif kind == wire.SESSION:
            session.serve(channel, run_dir, request)
        else:
            names = ("host_network", "share_processes")
            options = {name: bool(request.get(name)) for name in names}
            sysctls = tuple((str(name), str(value)) for name, value in request["sysctls"])
            sandbox.create(run_dir, request["id"], request["hostname"], sysctls=sysctls, **options)
            wire.send(channel, {})
    except (OSError, ValueError, KeyError) as error:
        wire.send(channel, {"error": str(error)})


if __name__ == "__main__":
    main()
