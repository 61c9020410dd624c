"""Linux system calls that Python 3.11 has no function for, each raising OSError with what was tried.

Only ctypes calls and no imports inside functions: they are used after a process has entered a foreign root, where an
import would search that root. Man page names and argument order are kept; see section 2 of the manual.
"""

import ctypes
import os
import signal
import struct

# For unshare and setns: the namespaces.
CLONE_NEWTIME = 0x00000080
CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# For mount and umount.
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

# For the calls that handle mounts as file descriptors.
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
MOUNT_ATTR_NODEV = 4
MOUNT_ATTR_NOEXEC = 8

# For openat2: how a path may be resolved.
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

# For prctl.
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_SET_SECCOMP = 22
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECCOMP_MODE_FILTER = 2

CLOSE_RANGE_CLOEXEC = 4
NSFS_MAGIC = 0x6E736673
DEVPTS_SUPER_MAGIC = 0x1CD1
LAST_FD = 0xFFFFFFFF

MACHINE = os.uname().machine
# Calls above 423 have one number on every architecture; the older ones are looked up here.
_NUMBERS = {"x86_64": (155, 126, 250, 56), "aarch64": (41, 91, 219, 220)}
_PIVOT_ROOT, _CAPSET, _KEYCTL, _CLONE = _NUMBERS.get(MACHINE, (-1, -1, -1, -1))
_RT_SIGACTION = {"x86_64": 13, "aarch64": 134}.get(MACHINE, -1)
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_CLOSE_RANGE, _OPENAT2, _MOUNT_SETATTR = 436, 437, 442
_FSCONFIG_SET_FLAG, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 0, 1, 6
_MOVE_MOUNT_EMPTY_PATHS = 0x04 | 0x40
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_KEYCTL_JOIN_SESSION_KEYRING = 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _syscall(what: str, number: int, *arguments: int | bytes | None) -> int:
    """One raw call; integers go as 64 bits, bytes as a pointer."""
    converted = [
        ctypes.c_long(argument) if isinstance(argument, int) else ctypes.c_char_p(argument) for argument in arguments
    ]
    return _check(_libc.syscall(ctypes.c_long(number), *converted), what)


def _path(path: str | None) -> bytes | None:
    return None if path is None else os.fsencode(path)


def unshare(flags: int) -> None:
    """Move this process into new namespaces (for CLONE_NEWPID: its next child)."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, flags: int = 0) -> None:
    """Join the namespace behind `fd`, or with a pidfd all namespaces of that process named in `flags`."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(flags)), "setns")


def fork_sibling() -> int:
    """Like os.fork, but the new process is a child of this process's parent. Only for a process with one thread."""
    return _syscall("clone", _CLONE, CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)


def mount(source: str | None, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    """Classic mount(2)."""
    result = _libc.mount(_path(source), _path(target), _path(kind), ctypes.c_ulong(flags), _path(data))
    _check(result, f"mount {source or kind} on {target}")


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(_path(target), ctypes.c_int(flags)), f"umount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root of this mount namespace."""
    _syscall("pivot_root", _PIVOT_ROOT, _path(new_root), _path(put_old))


def open_tree(path: str, *, recursive: bool = True) -> int:
    """A detached copy of the mount at `path`, as a file descriptor for `move_mount`."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return _syscall(f"open_tree {path}", _OPEN_TREE, AT_FDCWD, _path(path), flags)


def clone_mount(fd: int, *, recursive: bool = False) -> int:
    """A detached copy of the mount behind the open file `fd`, and with `recursive` of what is mounted below it."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    return _syscall("open_tree", _OPEN_TREE, fd, b"", flags)


def new_filesystem(kind: str, options: tuple[tuple[str, str | None], ...] = (), attributes: int = 0) -> int:
    """A detached mount of a fresh file system (fsopen, fsconfig, fsmount), for `move_mount`; options are key, value."""
    context = _syscall(f"fsopen {kind}", _FSOPEN, _path(kind), 1)
    try:
        for key, value in options:
            command = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
            _syscall(f"fsconfig {kind} {key}", _FSCONFIG, context, command, _path(key), _path(value), 0)
        _syscall(f"fsconfig {kind}", _FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _syscall(f"fsmount {kind}", _FSMOUNT, context, 1, attributes)
    finally:
        os.close(context)


def move_mount(mount_fd: int, target_fd: int) -> None:
    """Attach a detached mount on the file or folder behind `target_fd`; no path is looked up."""
    _syscall("move_mount", _MOVE_MOUNT, mount_fd, b"", target_fd, b"", _MOVE_MOUNT_EMPTY_PATHS)


def mount_setattr(fd: int, *, set_flags: int = 0, propagation: int = 0, recursive: bool = False) -> None:
    """Change attributes (MOUNT_ATTR_*) and propagation (MS_*) of the mount behind `fd`."""
    attributes = struct.pack("QQQQ", set_flags, 0, propagation, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    _syscall("mount_setattr", _MOUNT_SETATTR, fd, b"", flags, attributes, len(attributes))


def openat2(folder_fd: int, path: str, flags: int, resolve: int, mode: int = 0) -> int:
    """Open `path` below `folder_fd` with limits (RESOLVE_*) on how it may be resolved."""
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, mode, resolve)
    return _syscall(f"open {path}", _OPENAT2, folder_fd, _path(path), how, len(how))


def close_range(first: int, last: int = LAST_FD, flags: int = 0) -> None:
    """Close, or with CLOSE_RANGE_CLOEXEC mark, all descriptors of a range."""
    _syscall("close_range", _CLOSE_RANGE, first, last, flags)


def prctl(option: int, *arguments: int) -> int:
    """prctl(2) with integer arguments."""
    padded = (*arguments, 0, 0, 0, 0)[:4]
    return _check(_libc.prctl(ctypes.c_int(option), *(ctypes.c_ulong(each) for each in padded)), f"prctl {option}")


def set_process_name(name: str) -> None:
    """What `ps` and `top` show, cut to 15 bytes."""
    buffer = ctypes.create_string_buffer(os.fsencode(name)[:15])
    _check(_libc.prctl(PR_SET_NAME, buffer, 0, 0, 0), "prctl name")


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set this thread's capability sets, given as bit masks."""
    header = struct.pack("Ii", _LINUX_CAPABILITY_VERSION_3, 0)
    sets = (effective, permitted, inheritable)
    data = struct.pack("6I", *(each & 0xFFFFFFFF for each in sets), *(each >> 32 for each in sets))
    _syscall("capset", _CAPSET, header, data)


def install_seccomp(program: bytes) -> None:
    """Install a classic BPF filter: 8 bytes per instruction, host byte order."""
    code = ctypes.create_string_buffer(program, len(program))
    filter_program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code)))
    _check(_libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_program, 0, 0), "seccomp")


def default_signal(number: int) -> None:
    """Give a signal its default action; also those two (32, 33) that the C library keeps to itself."""
    _syscall("rt_sigaction", _RT_SIGACTION, number, bytes(32), 0, 8)


def join_session_keyring() -> None:
    """Start with a fresh kernel keyring instead of the caller's."""
    _syscall("keyctl", _KEYCTL, _KEYCTL_JOIN_SESSION_KEYRING, None)


def ids_mapped() -> int:
    """How many user ids this process's user namespace has: 2^32 - 1 in the first one, 1 when there is only root."""
    with open("/proc/self/uid_map", encoding="utf-8") as file:
        return sum(int(line.split()[2]) for line in file)


def in_user_namespace() -> bool:
    """Whether this process's user namespace is another than the machine's first one."""
    return ids_mapped() < 0xFFFFFFFF


def filesystem_type(path: str) -> int:
    """The magic number (statfs f_type) of the file system that holds `path`, such as NSFS_MAGIC."""
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.statfs(_path(path), buffer), f"statfs {path}")
    return int(struct.unpack_from("l", buffer)[0])


def filesystem_type_of(fd: int) -> int:
    """The magic number of the file system that holds an open file."""
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.fstatfs(ctypes.c_int(fd), buffer), "fstatfs")
    return int(struct.unpack_from("l", buffer)[0])
