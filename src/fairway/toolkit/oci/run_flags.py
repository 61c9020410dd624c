"""The flags of RUN: what is mounted, and whether there is a network."""

import posixpath
from collections.abc import Mapping

import msgspec

from fairway.toolkit.oci import dockerfile
from fairway.toolkit.oci.dockerfile import DockerfileError, Instruction

_KINDS = ("bind", "cache", "tmpfs", "secret")
_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "bind": ("target", "source", "from", "rw"),
    "cache": ("id", "target", "sharing", "uid", "gid", "mode", "ro"),
    "tmpfs": ("target", "size"),
    "secret": ("id", "target", "required", "env", "uid", "gid", "mode"),
}
_SAME = {
    "dst": "target",
    "destination": "target",
    "src": "source",
    "readonly": "ro",
    "readwrite": "rw",
    "type": "type",
}
_SHARING = ("", "shared", "private", "locked")
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "kb": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "g": 1 << 30, "gb": 1 << 30}
SECRETS = "/run/secrets"


class RunMount(msgspec.Struct, frozen=True, omit_defaults=True):
    """One `--mount`. `target` may be relative to the working directory; `source_of` is the stage or image of a bind."""

    kind: str
    target: str = ""
    id: str = ""
    source: str = ""
    source_of: str = ""
    read_only: bool = False
    required: bool = False
    env: str = ""
    """The variable that a secret becomes, instead of or beside a file."""
    mode: int = 0
    owner: tuple[int, int] = (0, 0)
    size_bytes: int = 0


def mounts(one: Instruction, variables: Mapping[str, str]) -> tuple[RunMount, ...]:
    """The mounts of a RUN. Raises DockerfileError."""
    return tuple(_mount(one, dockerfile.expand(one, text, variables)) for text in one.flags.get("mount", ()))


def source_of(text: str) -> str:
    """The stage or image that a mount takes its files from, before anything else is read of it."""
    found = (part.partition("=") for part in text.split(","))
    return next((value for name, _, value in found if name.strip().lower() == "from"), "")


def has_network(one: Instruction) -> bool:
    """Whether a RUN may reach anything. Raises DockerfileError for flags that cannot be honoured."""
    for flag in one.flags:
        if flag not in ("mount", "network", "security"):
            raise DockerfileError(one.line, f"RUN --{flag} is not known here")
    if one.flag("security") not in ("", "sandbox"):
        raise DockerfileError(
            one.line, f"RUN --security={one.flag('security')}: builds have no privileges here; leave the flag out"
        )
    network = one.flag("network")
    if network not in ("", "default", "none"):
        raise DockerfileError(
            one.line, f"RUN --network={network}: builds never see the node's network; use default or none"
        )
    return network != "none"


def _mount(one: Instruction, text: str) -> RunMount:
    options = _options(one, text)
    kind = options.pop("type", "bind")
    if kind == "ssh":
        raise DockerfileError(
            one.line,
            "--mount=type=ssh: there is no SSH agent in a build; put a token into a Secret, name it in "
            "spec.build.variables and use --mount=type=secret with an https address",
        )
    if kind not in _KINDS:
        raise DockerfileError(one.line, f"--mount=type={kind[:40]} is not known; use {', '.join(_KINDS)}")
    for name in options:
        if name not in _OPTIONS[kind]:
            raise DockerfileError(one.line, f"--mount=type={kind}: {name[:40]} is not supported here")
    return _checked(one, kind, options)


def _options(one: Instruction, text: str) -> dict[str, str]:
    found = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        name = _SAME.get(name.strip().lower(), name.strip().lower())
        found[name] = value if equals else "true"
    return found


def _checked(one: Instruction, kind: str, options: Mapping[str, str]) -> RunMount:
    target, key = options.get("target", ""), options.get("id", "")
    if kind == "secret":
        key = key or posixpath.basename(target)
        target = target or ("" if options.get("env") else f"{SECRETS}/{key}")
        if not key:
            raise DockerfileError(one.line, "--mount=type=secret needs id=NAME")
    elif not target:
        raise DockerfileError(one.line, f"--mount=type={kind} needs target=PATH")
    if posixpath.normpath(f"/{target.lstrip('/')}") == "/" and kind != "secret":
        raise DockerfileError(one.line, f"--mount=type={kind}: target={target} is the root folder; name one inside it")
    if options.get("sharing", "") not in _SHARING:
        raise DockerfileError(one.line, f"sharing={options['sharing'][:40]} must be shared, private or locked")
    return RunMount(
        kind,
        target,
        id=key or (target if kind == "cache" else ""),
        source=options.get("source", ""),
        source_of=options.get("from", ""),
        read_only=_flag(one, options, "ro") if kind == "cache" else not _flag(one, options, "rw"),
        required=_flag(one, options, "required"),
        env=options.get("env", ""),
        mode=_number(one, options, "mode", 8),
        owner=(_number(one, options, "uid"), _number(one, options, "gid")),
        size_bytes=_size(one, options.get("size", "")),
    )


def _flag(one: Instruction, options: Mapping[str, str], name: str) -> bool:
    value = options.get(name, "false").lower()
    if value not in ("true", "1", "false", "0", ""):
        raise DockerfileError(one.line, f"--mount: {name}={value[:40]} must be true or false")
    return value in ("true", "1", "")


def _number(one: Instruction, options: Mapping[str, str], name: str, base: int = 10) -> int:
    try:
        return int(options.get(name, "0"), base) & 0xFFFFFFFF
    except ValueError:
        raise DockerfileError(one.line, f"--mount: {name}={options[name][:40]} is no number") from None


def _size(one: Instruction, text: str) -> int:
    digits = text.rstrip("bBkKmMgG")
    unit = _UNITS.get(text[len(digits) :].lower())
    if text and (not digits.isdecimal() or unit is None):
        raise DockerfileError(one.line, f"--mount: size={text[:40]} is no size such as 64m")
    return int(digits) * (unit or 1) if text else 0
