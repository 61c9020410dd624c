"""Who makes a request."""

import msgspec

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"


class User(msgspec.Struct, frozen=True):
    """A name and the groups it belongs to."""

    name: str
    groups: tuple[str, ...] = ()


ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))
LOCAL = User("system:local", (MASTERS, AUTHENTICATED))
"""Whoever may open the Unix socket."""
