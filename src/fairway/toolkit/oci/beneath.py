"""System calls that resolve paths inside a folder whatever symbolic links it contains (openat2, Linux 5.6)."""

import ctypes
import os
import platform

_NUMBER_OPENAT2 = 437  # the same on every architecture since it was added
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_RESOLVE_IN_ROOT = 0x10

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long

if platform.system() != "Linux":
    raise ImportError("container images need Linux")


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_in_root(root: int, path: str, flags: int) -> int:
    """Open `path` as a process whose root is `root` would see it; links that point out end inside. Raises OSError."""
    return _openat2(root, path, flags, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)


def open_without_links(root: int, path: str, flags: int) -> int:
    """Open `path` beneath `root` if no component is a symbolic link (ELOOP if one is). Raises OSError."""
    return _openat2(root, path, flags, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)


def _openat2(root: int, path: str, flags: int, resolve: int) -> int:
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    name = os.fsencode(path or ".")
    if b"\0" in name:
        raise ValueError("a path contains a null byte")
    handle: int = _LIBC.syscall(_NUMBER_OPENAT2, root, name, ctypes.byref(how), ctypes.sizeof(how))
    if handle < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    return handle
