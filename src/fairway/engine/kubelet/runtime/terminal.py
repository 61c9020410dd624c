"""Pseudo-terminals of a container: made inside it, from its own devpts, so that `tty` there names a file that exists.

`open_for_program` runs inside the container's root: nothing may be imported, nothing of the image may be trusted.
"""

import fcntl
import os
import socket
import struct
import termios

from fairway.engine.kubelet.runtime.program import Stdio
from fairway.toolkit import fds, linux

_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441
_FLAGS = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
MASTER = b"m"
"""The message that brings the master over a socket."""


class NoTerminal(OSError):
    """The container has no devpts of its own where one belongs."""


def open_for_program(console: int) -> Stdio:
    """Make a terminal and give the program its end of it; the master goes to the socket `console`, which is closed.

    Raises OSError.
    """
    master = os.open("/dev/pts/ptmx", _FLAGS | os.O_NOFOLLOW | os.O_NONBLOCK)
    if linux.filesystem_type_of(master) != linux.DEVPTS_SUPER_MAGIC:
        raise NoTerminal("/dev/pts is not a devpts")
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, _FLAGS)
    with socket.socket(fileno=console) as channel:
        fds.send(channel, MASTER, (master,))
    os.close(master)
    return Stdio(slave, slave, slave, terminal=True)


def resize(master: int, columns: int, rows: int) -> None:
    """Change the size of a terminal; the program gets SIGWINCH. Raises OSError when the terminal is gone."""
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
