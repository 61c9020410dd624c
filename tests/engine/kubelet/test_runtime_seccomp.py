"""The filter program, run by a small interpreter of classic BPF."""

import errno
import struct

import pytest

from fairway.engine.kubelet.runtime import privileges, seccomp

X86, ARM = 0xC000003E, 0xC00000B7
ALLOW = 0x7FFF0000
DENY, UNKNOWN = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS


def decide(program: bytes, number: int, argument: int = 0, arch: int = X86) -> int:
    data = struct.pack("=iIQ6Q", number if number < 1 << 31 else number - (1 << 32), arch, 0, argument, 0, 0, 0, 0, 0)
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, value = struct.unpack_from("HBBI", program, at * 8)
        at += 1
        if code == 0x20:
            accumulator = struct.unpack_from("I", data, value)[0]
        elif code == 0x06:
            return value
        else:
            met = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            at += if_true if met else if_false


@pytest.mark.parametrize(
    ("name", "number", "argument", "decision"),
    [
        ("read", 0, 0, ALLOW),
        ("execve", 59, 0, ALLOW),
        ("mount", 165, 0, DENY),
        ("bpf", 321, 0, DENY),
        ("keyctl", 250, 0, DENY),
        ("io_uring_setup", 425, 0, DENY),
        ("chroot is a default capability", 161, 0, ALLOW),
        ("clone for a thread", 56, 0x3D0F00, ALLOW),
        ("clone with a user namespace", 56, 0x10000000 | 17, DENY),
        ("clone3 falls back to clone", 435, 0, UNKNOWN),
        ("socket inet", 41, 2, ALLOW),
        ("socket vsock", 41, 40, DENY),
        ("socket alg", 41, 38, DENY),
        ("personality of this machine", 135, 0xFFFFFFFF, ALLOW),
        ("personality linux", 135, 0, ALLOW),
        ("personality without address randomisation", 135, 0x40000, DENY),
        ("newer than the table", 500, 0, UNKNOWN),
        ("x32 read", 0x40000000, 0, UNKNOWN),
        ("negative", 0xFFFFFFFF, 0, UNKNOWN),
    ],
)
def test_default_filter(name, number, argument, decision):
    program = privileges.filter_program("default", privileges.DEFAULT)
    assert decide(program, number, argument) == decision


def test_other_architectures():
    program = seccomp.program(privileges.DEFAULT, "x86_64")
    assert decide(program, 0, arch=0x40000003) == UNKNOWN
    program = seccomp.program(privileges.DEFAULT, "aarch64")
    assert decide(program, 63, arch=ARM) == ALLOW
    assert decide(program, 40, arch=ARM) == DENY
    assert decide(program, 220, 0x10000000, arch=ARM) == DENY
    with pytest.raises(KeyError):
        seccomp.program(privileges.DEFAULT, "riscv64")


@pytest.mark.parametrize(
    ("capability", "number", "argument"),
    [
        ("SYS_ADMIN", 165, 0),
        ("SYS_ADMIN", 435, 0),
        ("SYS_ADMIN", 56, 0x10000000),
        ("BPF", 321, 0),
        ("SYS_TIME", 227, 0),
    ],
)
def test_capabilities_open_their_calls(capability, number, argument):
    assert decide(seccomp.program(privileges.DEFAULT | {capability}, "x86_64"), number, argument) == ALLOW
    assert decide(seccomp.program(privileges.DEFAULT, "x86_64"), number, argument) != ALLOW


def test_unconfined_is_no_program():
    assert privileges.filter_program("unconfined", privileges.DEFAULT) == b""


@pytest.mark.parametrize(
    ("add", "drop", "kept"),
    [
        ((), (), privileges.DEFAULT),
        (("NET_ADMIN",), (), privileges.DEFAULT | {"NET_ADMIN"}),
        ((), ("CAP_CHOWN",), privileges.DEFAULT - {"CHOWN"}),
        (("NET_BIND_SERVICE",), ("ALL",), {"NET_BIND_SERVICE"}),
        (("ALL",), ("SYS_ADMIN",), set(privileges.CAPABILITIES) - {"SYS_ADMIN"}),
        (("kill",), ("KILL",), privileges.DEFAULT - {"KILL"}),
    ],
)
def test_kept_capabilities(add, drop, kept):
    assert privileges.kept(add, drop) == kept


def test_unknown_capability():
    with pytest.raises(privileges.UnknownCapability, match="unknown capability 'NO'"):
        privileges.kept((), ("NO",))


def test_mask():
    assert privileges.mask(frozenset({"CHOWN", "CHECKPOINT_RESTORE"})) == 1 | 1 << 40
