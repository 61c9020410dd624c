"""The default system call filter as a BPF program, made without libseccomp.

Follows the default profile of container engines: system calls that no ordinary program needs give EPERM, those newer
than this table ENOSYS, so that libraries fall back. A capability that was added opens the calls that belong to it.
"""

import errno
import struct
from collections.abc import Iterator

from fairway.toolkit import linux

# name -> numbers on x86_64 and aarch64 (-1: not there), by the capability that opens them ("" for none)
_DENIED: dict[str, dict[str, tuple[int, int]]] = {
    "": {
        "create_module": (174, -1),
        "get_kernel_syms": (177, -1),
        "query_module": (178, -1),
        "pivot_root": (155, 41),
        "kexec_load": (246, 104),
        "kexec_file_load": (320, 294),
        "swapon": (167, 224),
        "swapoff": (168, 225),
        "add_key": (248, 217),
        "request_key": (249, 218),
        "keyctl": (250, 219),
        "migrate_pages": (256, 238),
        "move_pages": (279, 239),
        "userfaultfd": (323, 282),
        "io_uring_setup": (425, 425),
        "io_uring_enter": (426, 426),
        "io_uring_register": (427, 427),
        "nfsservctl": (180, 42),
        "uselib": (134, -1),
        "ustat": (136, -1),
        "sysfs": (139, -1),
        "_sysctl": (156, -1),
    },
    "SYS_ADMIN": {
        "bpf": (321, 280),
        "fanotify_init": (300, 262),
        "fsconfig": (431, 431),
        "fsmount": (432, 432),
        "fsopen": (430, 430),
        "fspick": (433, 433),
        "lookup_dcookie": (212, 18),
        "mount": (165, 40),
        "mount_setattr": (442, 442),
        "move_mount": (429, 429),
        "open_tree": (428, 428),
        "perf_event_open": (298, 241),
        "quotactl": (179, 60),
        "quotactl_fd": (443, 443),
        "setdomainname": (171, 162),
        "sethostname": (170, 161),
        "setns": (308, 268),
        "syslog": (103, 116),
        "umount2": (166, 39),
        "unshare": (272, 97),
    },
    "SYS_MODULE": {"delete_module": (176, 106), "finit_module": (313, 273), "init_module": (175, 105)},
    "SYS_NICE": {
        "get_mempolicy": (239, 236),
        "mbind": (237, 235),
        "set_mempolicy": (238, 237),
        "set_mempolicy_home_node": (450, 450),
    },
    "SYS_PTRACE": {"kcmp": (312, 272), "pidfd_getfd": (438, 438), "process_madvise": (440, 440)},
    "SYS_RAWIO": {"iopl": (172, -1), "ioperm": (173, -1)},
    "SYS_TIME": {"settimeofday": (164, 170), "clock_settime": (227, 112)},
    "SYS_BOOT": {"reboot": (169, 142)},
    "SYS_PACCT": {"acct": (163, 89)},
    "SYS_CHROOT": {"chroot": (161, 51)},
    "SYS_TTY_CONFIG": {"vhangup": (153, 58)},
    "DAC_READ_SEARCH": {"open_by_handle_at": (304, 265)},
}
# These belong to two capabilities; either opens them.
_ALSO_OPENED = {"BPF": ("bpf",), "PERFMON": ("perf_event_open",), "SYSLOG": ("syslog",)}

_CLONE = (56, 220)
_SOCKET = (41, 198)
_PERSONALITY = (135, 92)
_CLONE3 = 435
_NEWEST = 456  # futex_requeue: what is newer was not judged when this table was made
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000

_AF_ALG, _AF_VSOCK = 38, 40
_PERSONALITIES = (0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_NAMESPACE_FLAGS = (
    linux.CLONE_NEWNS
    | linux.CLONE_NEWCGROUP
    | linux.CLONE_NEWUTS
    | linux.CLONE_NEWIPC
    | linux.CLONE_NEWUSER
    | linux.CLONE_NEWPID
    | linux.CLONE_NEWNET
)

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGUMENT0 = 0, 4, 16
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000

Instruction = tuple[int, int, int, int]


def program(capabilities: frozenset[str], machine: str = linux.MACHINE) -> bytes:
    """The filter for a container that keeps `capabilities` (names without CAP_), 8 bytes per instruction.

    Raises KeyError on a machine without a table here; the container must then not start.
    """
    arch = _AUDIT_ARCH[machine]
    return b"".join(struct.pack("HBBI", *each) for each in _instructions(capabilities, arch, machine == "aarch64"))


def profile(capabilities: frozenset[str]) -> dict[str, object]:
    """The same filter in the words of the OCI runtime specification, for runtimes that compile it themselves.

    Their language cannot say everything: personality stays open, calls newer than this table are up to the runtime.
    """
    opened = {name for capability in capabilities for name in _ALSO_OPENED.get(capability, ())}
    names = sorted({name for key, calls in _DENIED.items() if key not in capabilities for name in calls} - opened)
    rules: list[dict[str, object]] = [_rule(*names)]
    if "SYS_ADMIN" not in capabilities:
        rules.append({**_rule("clone3"), "errnoRet": errno.ENOSYS})
        flags = [1 << bit for bit in range(32) if _NAMESPACE_FLAGS & 1 << bit]
        rules += [_rule("clone", value=flag, valueTwo=flag, op="SCMP_CMP_MASKED_EQ") for flag in flags]
    rules += [_rule("socket", value=family, op="SCMP_CMP_EQ") for family in (_AF_ALG, _AF_VSOCK)]
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}


def _rule(*names: str, **argument: object) -> dict[str, object]:
    rule: dict[str, object] = {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM}
    return {**rule, "args": [{"index": 0, **argument}]} if argument else rule


def _instructions(capabilities: frozenset[str], arch: int, column: bool) -> Iterator[Instruction]:
    yield from ((_LOAD, 0, 0, _OFFSET_ARCH), (_JUMP_EQUAL, 1, 0, arch), _fail(errno.ENOSYS))
    yield (_LOAD, 0, 0, _OFFSET_NUMBER)
    yield from ((_JUMP_GREATER_EQUAL, 0, 1, _X32_BIT), _fail(errno.ENOSYS))
    yield from ((_JUMP_GREATER_EQUAL, 0, 1, _NEWEST + 1), _fail(errno.ENOSYS))
    for number in sorted(_denied_numbers(capabilities, column)):
        yield from ((_JUMP_EQUAL, 0, 1, number), _fail(errno.EPERM))
    if "SYS_ADMIN" not in capabilities:
        # The flags of clone3 are behind a pointer, which a filter cannot read: C libraries fall back to clone.
        yield from ((_JUMP_EQUAL, 0, 1, _CLONE3), _fail(errno.ENOSYS))
        yield from _argument(_CLONE[column], ((_JUMP_SET, 0, 1, _NAMESPACE_FLAGS), _fail(errno.EPERM)))
    yield from _argument(_SOCKET[column], _fail_on((_AF_ALG, _AF_VSOCK)))
    allowed = tuple((_JUMP_EQUAL, len(_PERSONALITIES) - at, 0, value) for at, value in enumerate(_PERSONALITIES))
    yield from _argument(_PERSONALITY[column], (*allowed, _fail(errno.EPERM)))
    yield (_RETURN, 0, 0, _ALLOW)


def _denied_numbers(capabilities: frozenset[str], column: bool) -> set[int]:
    opened = {name for capability in capabilities for name in _ALSO_OPENED.get(capability, ())}
    closed = (calls for capability, calls in _DENIED.items() if capability not in capabilities)
    return {numbers[column] for calls in closed for name, numbers in calls.items() if name not in opened} - {-1}


def _fail(number: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)


def _fail_on(values: tuple[int, ...]) -> tuple[Instruction, ...]:
    return tuple(each for value in values for each in ((_JUMP_EQUAL, 0, 1, value), _fail(errno.EPERM)))


def _argument(number: int, checks: tuple[Instruction, ...]) -> Iterator[Instruction]:
    """Checks on the low half of the first argument of one call; passing them allows it."""
    block = ((_LOAD, 0, 0, _OFFSET_ARGUMENT0), *checks, (_RETURN, 0, 0, _ALLOW))
    yield (_JUMP_EQUAL, 0, len(block), number)
    yield from block
