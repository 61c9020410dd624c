"""Who makes a request."""

import msgspec

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
SERVICE_ACCOUNTS = "system:serviceaccounts"
_ACCOUNT_PREFIX = "system:serviceaccount:"

Extra = tuple[tuple[str, tuple[str, ...]], ...]
"""Further facts about a user, by key."""


class User(msgspec.Struct, frozen=True):
    """A name, the groups it belongs to, and what else whoever vouches for it knows."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Extra = ()

    def info(self) -> dict[str, object]:
        """As authentication/v1 UserInfo."""
        shown: dict[str, object] = {"username": self.name}
        if self.uid:
            shown["uid"] = self.uid
        if self.groups:
            shown["groups"] = list(self.groups)
        if self.extra:
            shown["extra"] = {key: list(values) for key, values in self.extra}
        return shown

    def extra_value(self, key: str) -> str:
        """The first value of a fact, or an empty string."""
        return next((values[0] for name, values in self.extra if name == key and values), "")


ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))
LOCAL = User("system:local", (MASTERS, AUTHENTICATED))
"""Whoever may open the Unix socket."""


def account_name(namespace: str, name: str) -> str:
    """The user name of a ServiceAccount."""
    return f"{_ACCOUNT_PREFIX}{namespace}:{name}"


def account_of(user_name: str) -> tuple[str, str] | None:
    """(namespace, name) of the ServiceAccount that a user name stands for."""
    if not user_name.startswith(_ACCOUNT_PREFIX):
        return None
    namespace, separator, name = user_name.removeprefix(_ACCOUNT_PREFIX).partition(":")
    return (namespace, name) if separator and namespace and name and ":" not in name else None


def account_groups(namespace: str) -> tuple[str, str]:
    """The groups that every ServiceAccount of a namespace belongs to."""
    return SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}"
