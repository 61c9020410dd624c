"""Seccomp profiles of the node's owner: JSON of the OCI kind -> a BPF program, by the libseccomp of the system.

Only profiles of type Localhost come this way; the default filter is made in `seccomp`, without any library.
"""

import base64
import ctypes
import errno
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_LIBRARY = "libseccomp.so.2"
_ACTIONS = {
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_ERRNO": 0x00050000,
}
_OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_UNKNOWN_CALL = -1


class BadProfile(Exception):
    """The profile cannot be used; the message says why."""


class _Compare(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def compile_profile(text: str, capabilities: frozenset[str]) -> str:
    """The program in base64, for a container that keeps `capabilities` (without CAP_).  Raises BadProfile."""
    try:
        profile = msgspec.json.decode(text)
        default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
        library = ctypes.CDLL(_LIBRARY, use_errno=True)
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise BadProfile(f"is not a seccomp profile: {error}") from error
    except OSError as error:
        raise BadProfile(f"needs {_LIBRARY}, which this machine does not have: install libseccomp2") from error
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    try:
        for rule in profile.get("syscalls") or ():
            if _applies(rule, capabilities):
                _add(library, context, rule, default)
        return base64.b64encode(_export(library, context)).decode()
    finally:
        library.seccomp_release(context)


def applied(text: str, capabilities: frozenset[str]) -> str:
    """The profile for OCI runtimes: without the rules that are for other capabilities or machines.  JSON."""
    profile = msgspec.json.decode(text)
    plain = [
        {key: value for key, value in rule.items() if key in ("names", "action", "errnoRet", "args") and value}
        for rule in profile.get("syscalls") or ()
        if _applies(rule, capabilities)
    ]
    kept = {key: profile[key] for key in ("defaultAction", "defaultErrnoRet") if key in profile}
    return msgspec.json.encode({**kept, "syscalls": plain}).decode()


def _action(name: str, number: int | None) -> int:
    if name not in _ACTIONS:
        raise BadProfile(f"asks for the action {name}: use one of {', '.join(sorted(_ACTIONS))}")
    return _ACTIONS[name] | (errno.EPERM if number is None else number) * (name == "SCMP_ACT_ERRNO")


def _applies(rule: Mapping[str, Any], capabilities: frozenset[str]) -> bool:
    """Container engines' profiles make rules depend on capabilities and on the architecture."""
    wanted, unwanted = rule.get("includes") or {}, rule.get("excludes") or {}
    machine = _MACHINES.get(platform.machine(), platform.machine())
    kept = {f"CAP_{name}" for name in capabilities}
    if not set(wanted.get("caps") or ()) <= kept or kept & set(unwanted.get("caps") or ()):
        return False
    arches = wanted.get("arches")
    return (not arches or machine in arches) and machine not in (unwanted.get("arches") or ())


def _add(library: ctypes.CDLL, context: ctypes.c_void_p, rule: Mapping[str, Any], default: int) -> None:
    action = _action(rule["action"], rule.get("errnoRet"))
    if action == default:
        return  # libseccomp refuses rules that change nothing
    for name in rule.get("names") or ([rule["name"]] if "name" in rule else ()):
        number = library.seccomp_syscall_resolve_name(str(name).encode())
        if number == _UNKNOWN_CALL:
            continue  # a call of another architecture or a newer kernel
        for compares in _groups(rule.get("args") or ()):
            array = (_Compare * len(compares))(*compares)
            code = library.seccomp_rule_add_array(context, ctypes.c_uint32(action), number, len(compares), array)
            if code not in (0, -errno.EEXIST):
                raise BadProfile(f"has a rule for {name} that libseccomp refuses: {os.strerror(-code)}")


def _groups(arguments: Sequence[Mapping[str, Any]]) -> list[list[_Compare]]:
    """All comparisons together; where two are about one argument each counts by itself, as in runc."""
    made = [
        _Compare(each["index"], _OPERATORS[each["op"]], each.get("value", 0), each.get("valueTwo", 0))
        for each in arguments
    ]
    repeats = len({compare.arg for compare in made}) < len(made)
    return [[each] for each in made] if repeats else [made]


def _export(library: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    memory = os.memfd_create("seccomp")
    try:
        if code := library.seccomp_export_bpf(context, memory):
            raise BadProfile(f"cannot be compiled: {os.strerror(-code)}")
        os.lseek(memory, 0, os.SEEK_SET)
        with os.fdopen(os.dup(memory), "rb") as file:
            return file.read()
    finally:
        os.close(memory)
