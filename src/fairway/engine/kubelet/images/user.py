"""Who a container runs as: the image's or the Pod's user against the image's own /etc/passwd and /etc/group."""

from collections.abc import Iterator, Sequence

import msgspec

from fairway.toolkit.oci.stack import look

_FILE_BYTES_MAX = 1 << 20
_ID_MAX = 2**31 - 1


class UnknownUser(Exception):
    """A user or group that the image does not know; the message names it."""


class User(msgspec.Struct, frozen=True):
    """Numbers for the kernel. `groups` are the supplementary ones from /etc/group, `home` is for $HOME."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


class _Account(msgspec.Struct, frozen=True):
    name: str
    uid: int
    gid: int
    home: str


class _Group(msgspec.Struct, frozen=True):
    name: str
    gid: int
    members: tuple[str, ...]


def is_numeric(user: str) -> bool:
    """Whether the user part is a number (runAsNonRoot can only be checked then)."""
    return user.partition(":")[0].isdecimal()


def resolve_user(user: str, layers: Sequence[str]) -> User:
    """Resolve `USER` as container runtimes do: "", "name", "uid", each with an optional ":group" or ":gid".

    An empty user is root. A number needs no entry in the image; a name does. Supplementary groups count only when no
    group is given. Raises UnknownUser, OSError.
    """
    name, _, group = user.partition(":")
    accounts = tuple(_accounts(_read(layers, "etc/passwd")))
    groups = tuple(_groups(_read(layers, "etc/group")))
    account = _find_account(name or "0", accounts)
    if group:
        return User(account.uid, _find_group(group, groups), (), account.home)
    more = {entry.gid for entry in groups if account.name and account.name in entry.members} - {account.gid}
    return User(account.uid, account.gid, tuple(sorted(more)), account.home)


def _find_account(name: str, accounts: tuple[_Account, ...]) -> _Account:
    by_name = next((account for account in accounts if account.name == name), None)
    if by_name is not None:
        return by_name
    if not name.isdecimal() or int(name) > _ID_MAX:
        raise UnknownUser(f"unable to find user {name}: no matching entries in passwd file")
    fallback = _Account("", int(name), 0, "/root" if name == "0" else "/")
    return next((account for account in accounts if account.uid == int(name)), fallback)


def _find_group(name: str, groups: tuple[_Group, ...]) -> int:
    for group in groups:
        if group.name == name:
            return group.gid
    if not name.isdecimal() or int(name) > _ID_MAX:
        raise UnknownUser(f"unable to find group {name}: no matching entries in group file")
    return int(name)


def _read(layers: Sequence[str], path: str) -> list[list[str]]:
    data = look(layers, path, read_bytes_max=_FILE_BYTES_MAX).data or b""
    return [line.split(":") for line in data.decode("utf-8", "replace").splitlines()]


def _accounts(rows: list[list[str]]) -> Iterator[_Account]:
    for row in rows:
        if len(row) >= 6 and row[2].isdecimal() and row[3].isdecimal():
            yield _Account(row[0], int(row[2]), int(row[3]), row[5] or "/")


def _groups(rows: list[list[str]]) -> Iterator[_Group]:
    for row in rows:
        if len(row) >= 4 and row[2].isdecimal():
            yield _Group(row[0], int(row[2]), tuple(filter(None, row[3].split(","))))
