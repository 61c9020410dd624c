"""What goes between a shim and those who attach to its container, over a Unix socket beside the container's record.

Both ways: kind (1 byte), length (4 bytes), payload. From the shim STDOUT and STDERR; from the client HELLO first (a
byte for each wanted stream: `i`, `o`, `e`), then STDIN, END of the input, and RESIZE (columns, rows, two bytes each).
"""

import _socket
import os
import struct

HELLO, STDIN, STDOUT, STDERR, END, RESIZE = b"h", b"i", b"o", b"e", b"x", b"r"
HEAD = struct.Struct(">cI")
SIZE = struct.Struct(">HH")
MOST_BYTES = 64 * 1024
"""The longest payload."""

_BACKLOG = 16


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    """One message."""
    return HEAD.pack(kind, len(payload)) + payload


def path(run_dir: str, container: str) -> str:
    """Where one attaches to a container."""
    return f"{run_dir}/containers/{container}.sock"


class Address:
    """The path of a socket, shortened: the kernel takes no more than 107 bytes."""

    def __init__(self, location: str) -> None:
        folder, _, name = location.rpartition("/")
        self._folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.short = f"/proc/self/fd/{self._folder}/{name}"

    def close(self) -> None:
        os.close(self._folder)


def listen(run_dir: str, container: str, listener: _socket.socket) -> None:
    """Give a socket its place and make it listen. Raises OSError."""
    address = Address(path(run_dir, container))
    old = os.umask(0o177)
    try:
        listener.bind(address.short)
    finally:
        os.umask(old)
        address.close()
    listener.listen(_BACKLOG)
