"""Acting as somebody else: the Impersonate-* headers, and whether the user may.

Follows the documentation "User impersonation".
"""

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.authentication import ANONYMOUS, User
from fairway.engine.apiserver.authentication.users import (
    AUTHENTICATED,
    UNAUTHENTICATED,
    account_groups,
    account_of,
)
from fairway.engine.apiserver.authorization import Attributes, Authority, refusal

_USER, _GROUP, _UID, _EXTRA = "impersonate-user", "impersonate-group", "impersonate-uid", "impersonate-extra-"
_GROUP_API = "authentication.k8s.io"


def wanted(headers: Mapping[str, str]) -> bool:
    """Whether a request wants to be somebody else's."""
    return _USER in headers or _GROUP in headers or _UID in headers


def impersonated(headers: Mapping[str, str], user: User, authority: Authority) -> User:
    """Who the request acts as. Raises ApiError 403 when `user` may not, 500 (as upstream) when no user is named.

    Groups and values are separated by commas, as repeated headers are joined: they cannot hold any.
    """
    name = headers.get(_USER, "")
    if not name:
        raise errors.internal("requested groups, a UID or extra values without impersonating a user")
    groups, extra = _values(headers.get(_GROUP, "")), _extra(headers)
    for attributes in _needed(user, name, headers.get(_UID, ""), groups, extra):
        if not authority.allows(attributes):
            subject = errors.Subject(attributes.group, attributes.resource, attributes.name)
            raise errors.forbidden(subject, refusal(attributes, authority.decide(attributes).reason))
    account = account_of(name)
    if account is not None and not groups:
        groups = account_groups(account[0])
    return User(name, _complete(name, groups), headers.get(_UID, ""), tuple(sorted(extra.items())))


def _needed(
    user: User, name: str, uid: str, groups: tuple[str, ...], extra: Mapping[str, tuple[str, ...]]
) -> Iterator[Attributes]:
    """Every permission that is asked for, in upstream's order."""

    def ask(group: str, resource: str, name: str, namespace: str = "", subresource: str = "") -> Attributes:
        return Attributes(user, "impersonate", "", group, "v1", resource, subresource, namespace, name)

    account = account_of(name)
    if account is not None:
        yield ask("", "serviceaccounts", account[1], namespace=account[0])
    else:
        yield ask("", "users", name)
    for group in groups:
        yield ask("", "groups", group)
    for key, values in extra.items():
        for value in values:
            yield ask(_GROUP_API, "userextras", value, subresource=key)
    if uid:
        yield ask(_GROUP_API, "uids", uid)


def _complete(name: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    """Everybody is either authenticated or not."""
    if AUTHENTICATED in groups or UNAUTHENTICATED in groups:
        return groups
    return (*groups, UNAUTHENTICATED if name == ANONYMOUS.name else AUTHENTICATED)


def _extra(headers: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    found = {key: value for key, value in headers.items() if key.startswith(_EXTRA)}
    return {unquote(key.removeprefix(_EXTRA)): _values(value) for key, value in found.items()}


def _values(text: str) -> tuple[str, ...]:
    return tuple(value for part in text.split(",") if (value := part.strip()))
