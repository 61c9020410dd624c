"""What a container process may do: its user, its capabilities and its system call filter."""

import errno
import os

from fairway.engine.kubelet.runtime import seccomp
from fairway.toolkit import linux

# By number; see capabilities(7).
CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip

# What container engines keep by default, without MKNOD: so no device cgroup is needed.
DEFAULT = frozenset((
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
    "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
))  # fmt: skip

_BYTES_OF_ACCOUNTS = 1 << 20  # more than any real /etc/passwd


class UnknownCapability(ValueError):
    """A capability name that Linux does not have."""


def kept(add: tuple[str, ...], drop: tuple[str, ...]) -> frozenset[str]:
    """The default set after `add` and `drop`; ALL is every capability, CAP_ in front is optional.

    As in containerd: first ALL of either list, then single names are added, then single names are dropped.
    Raises UnknownCapability.
    """
    added, dropped = _names(add), _names(drop)
    base = frozenset(CAPABILITIES) if "ALL" in added else DEFAULT
    if "ALL" in dropped:
        base = frozenset()
    return (base | added) - dropped - {"ALL"}


def _names(names: tuple[str, ...]) -> frozenset[str]:
    plain = frozenset(name.upper().removeprefix("CAP_") for name in names)
    for name in sorted(plain - {"ALL"} - set(CAPABILITIES)):
        raise UnknownCapability(f"unknown capability {name!r}")
    return plain


class Account:
    """A user of the container as its own /etc/passwd and /etc/group describe it. Read inside the container's root."""

    def __init__(self, uid: int | None, gid: int | None, groups: tuple[int, ...]) -> None:
        self.uid = uid or 0
        name, primary, self.home = _passwd(self.uid)
        self.gid = primary if gid is None else gid
        self.groups = tuple(sorted({self.gid, *groups, *_memberships(name)}))


def _passwd(uid: int) -> tuple[bytes, int, str]:
    for fields in _accounts("/etc/passwd", 7):
        if fields[2] == b"%d" % uid and fields[3].isdigit():
            return fields[0], int(fields[3]), os.fsdecode(fields[5]) or "/"
    return b"", 0, "/root" if uid == 0 else "/"


def _memberships(name: bytes) -> set[int]:
    groups = _accounts("/etc/group", 4)
    return {int(group[2]) for group in groups if name and group[2].isdigit() and name in group[3].split(b",")}


def _accounts(path: str, fields: int) -> list[list[bytes]]:
    """The well-formed lines of an account file; none when it is no regular file, as images may bring anything."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return []
    try:
        # A device or a pipe would block or never end.
        regular = os.fstat(fd).st_mode & 0o170000 == 0o100000
        data = os.read(fd, _BYTES_OF_ACCOUNTS) if regular else b""
    finally:
        os.close(fd)
    lines = (line.split(b":") for line in data.split(b"\n"))
    return [line for line in lines if len(line) == fields]


def mask(names: frozenset[str]) -> int:
    """Capability names as the bit mask that the kernel takes."""
    return sum(1 << CAPABILITIES.index(name) for name in names)


def filter_program(profile: str, capabilities: frozenset[str]) -> bytes:
    """The seccomp program of a profile name, empty for `unconfined`."""
    return b"" if profile == "unconfined" else seccomp.program(capabilities)


def give_up(account: Account, capabilities: frozenset[str], *, no_new_privileges: bool, filter_code: bytes) -> None:
    """Become the container's user for good: bounding set, ids, capabilities, no_new_privs, seccomp, in this order.

    Without no_new_privs a filter can only be installed while CAP_SYS_ADMIN is still there, so it then goes first.
    """
    if is_the_only_one(account):
        _rename(account)
    if filter_code and not no_new_privileges:
        linux.install_seccomp(filter_code)
    linux.prctl(linux.PR_CAP_AMBIENT, linux.PR_CAP_AMBIENT_CLEAR_ALL)
    bits = mask(_bound(capabilities))
    linux.prctl(linux.PR_SET_KEEPCAPS, 1)
    _become(account)
    linux.prctl(linux.PR_SET_KEEPCAPS, 0)
    linux.capset(bits, bits, 0)
    if no_new_privileges:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        if filter_code:
            linux.install_seccomp(filter_code)


def _become(account: Account) -> None:
    """Take the ids. Raises OSError naming the one that this machine's user namespace does not have."""
    try:
        os.setgroups(account.groups)
    except PermissionError:
        pass  # the kernel denies it for good where root is the only user; there are no other groups either
    except OSError as error:
        raise unmapped("groups", account.groups, error) from error
    try:
        os.setresgid(account.gid, account.gid, account.gid)
    except OSError as error:
        raise unmapped("group", account.gid, error) from error
    try:
        os.setresuid(account.uid, account.uid, account.uid)
    except OSError as error:
        raise unmapped("user", account.uid, error) from error


def is_the_only_one(account: Account) -> bool:
    """Whether the account is not root where root is all there is: then root goes by the account's numbers."""
    try:
        return (account.uid, account.gid) != (0, 0) and linux.ids_mapped() == 1
    except FileNotFoundError:
        return False  # no /proc here: not a container, and it takes a user that there is


def _rename(account: Account) -> None:
    """Enter a user namespace in which this user has the account's numbers: its program is no root and has no rights.

    A child writes them: a process that may not be looked into cannot open its own map. Raises OSError.
    """
    ready, write_ready = os.pipe2(os.O_CLOEXEC)
    process = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            os.close(write_ready)
            for name, number in (("gid_map", account.gid), ("uid_map", account.uid)) if os.read(ready, 1) else ():
                _write(f"/proc/{process}/{name}", b"%d 0 1" % number)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(ready)
    try:
        linux.unshare(linux.CLONE_NEWUSER)
        os.write(write_ready, b"1")
    except OSError as error:
        raise unmapped("user", account.uid, OSError(errno.EINVAL, error.strerror)) from error
    finally:
        os.close(write_ready)
        _, status = os.waitpid(child, 0)
    if status:
        raise unmapped("user", account.uid, OSError(errno.EINVAL, "its map cannot be written"))


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def unmapped(kind: str, ids: object, error: OSError) -> OSError:
    """The error of a change to ids, in words when a user namespace does not have them."""
    if error.errno != errno.EINVAL:
        return error
    return OSError(errno.EINVAL, f"{kind} {ids} is not mapped here: give the node's user a range in /etc/subuid")


def available(capabilities: frozenset[str]) -> frozenset[str]:
    """Those that this process may give."""
    return frozenset(name for name in capabilities if _is_available(CAPABILITIES.index(name)))


def _is_available(number: int) -> bool:
    try:
        return bool(linux.prctl(linux.PR_CAPBSET_READ, number))
    except OSError:
        return False  # newer than this kernel


def _bound(capabilities: frozenset[str]) -> frozenset[str]:
    """Drop all but `capabilities` from the bounding set; the ones that this machine can give are returned."""
    given: set[str] = set()
    for number in range(64):
        try:
            there = linux.prctl(linux.PR_CAPBSET_READ, number)
        except OSError:
            break  # past the last capability of this kernel
        if number < len(CAPABILITIES) and CAPABILITIES[number] in capabilities:
            given.update((CAPABILITIES[number],) if there else ())
        elif there:
            linux.prctl(linux.PR_CAPBSET_DROP, number)
    return frozenset(given)
