"""Fork straight into new namespaces, without moving the parent."""

import ctypes
import os
import signal

from fairway.toolkit.linux import MACHINE

_CLONE = {"x86_64": 56, "aarch64": 220}.get(MACHINE, -1)
# PyDLL keeps the interpreter lock during the call: the child must find it held by its only thread.
_python = ctypes.PyDLL(None, use_errno=True)
_python.syscall.restype = ctypes.c_long


def fork_into(namespaces: int) -> int:
    """Like os.fork, but the child is in new namespaces (CLONE_NEW* flags); returns 0 in the child.

    Call it while the process has one thread. Raises OSError, for example EPERM without the right to make namespaces.
    """
    _python.PyOS_BeforeFork()
    pid = int(_python.syscall(ctypes.c_long(_CLONE), ctypes.c_long(namespaces | signal.SIGCHLD), 0, 0, 0, 0))
    if pid == 0:
        _python.PyOS_AfterFork_Child()
        return 0
    number = ctypes.get_errno()
    _python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(number, f"clone: {os.strerror(number)}")
    return pid
