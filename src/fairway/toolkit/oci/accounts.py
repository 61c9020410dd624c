"""Users and groups by name, as an image's own files have them."""

from collections.abc import Sequence
from pathlib import Path

from fairway.toolkit.oci.stack import look

_BYTES_MAX = 1 << 20
PASSWD, GROUP = "etc/passwd", "etc/group"


class UnknownAccount(ValueError):
    """The image has no such user or group; the message names it and the file."""


def owner_of(layers: Sequence[str | Path], text: str) -> tuple[int, int]:
    """`user[:group]` as numbers; a name brings its own group, a number stands for both. Raises UnknownAccount."""
    user, colon, group = text.partition(":")
    uid, own_group = _user(layers, user or "0")
    return uid, _group(layers, group) if colon and group else own_group


def _user(layers: Sequence[str | Path], name: str) -> tuple[int, int]:
    if _is_number(name):
        return int(name), int(name)
    for fields in _lines(layers, PASSWD):
        if len(fields) > 3 and fields[0] == name and _is_number(fields[2]) and _is_number(fields[3]):
            return int(fields[2]), int(fields[3])
    if name == "root":
        return 0, 0
    raise UnknownAccount(f"the image has no {name!r} in /{PASSWD}; use a number")


def _group(layers: Sequence[str | Path], name: str) -> int:
    if _is_number(name):
        return int(name)
    for fields in _lines(layers, GROUP):
        if len(fields) > 2 and fields[0] == name and _is_number(fields[2]):
            return int(fields[2])
    if name == "root":
        return 0
    raise UnknownAccount(f"the image has no {name!r} in /{GROUP}; use a number")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) < 2**31


def _lines(layers: Sequence[str | Path], path: str) -> list[list[str]]:
    data = look(layers, path, read_bytes_max=_BYTES_MAX).data or b""
    return [line.split(":") for line in data.decode("utf-8", "replace").splitlines()]
