"""Who may: the chain of authorizers."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from fairway.engine.apiserver.authentication import MASTERS, User
from fairway.engine.apiserver.authorization.attributes import Attributes
from fairway.engine.apiserver.authorization.nodes import NodeAuthorizer
from fairway.engine.apiserver.authorization.rbac import Rbac
from fairway.engine.apiserver.authorization.rules import EVERYTHING, Rule
from fairway.engine.apiserver.store import Store

OPEN_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version", "/version/"})
"""What anybody may read, so that load balancers and clients can see whether this is a living API server."""


class Decision(msgspec.Struct, frozen=True):
    """`allowed` None is no opinion, which in the end is a no."""

    allowed: bool | None = None
    reason: str = ""


class Authority(Protocol):
    """What the rest of the server asks."""

    def allows(self, attributes: Attributes) -> bool:
        """The quick answer."""
        ...

    def decide(self, attributes: Attributes) -> Decision:
        """The same answer with its reason."""
        ...

    def rules(self, user: User, namespace: str) -> Sequence[Rule]:
        """Everything that a user may in a namespace."""
        ...


class Authorization:
    """Masters, open paths, nodes, then RBAC."""

    def __init__(self, store: Store) -> None:
        self.rbac = Rbac()
        self.rbac.follow(store)
        self._nodes = NodeAuthorizer(store)

    def allows(self, attributes: Attributes) -> bool:
        user = attributes.user
        if MASTERS in user.groups:
            return True
        permissions = self.rbac.permissions(user, attributes.namespace)
        if not attributes.resource:
            allowed = permissions.allows_url(attributes.verb, attributes.path) or is_open(attributes)
        else:
            allowed = permissions.allows(
                attributes.verb, attributes.group, attributes.resource, attributes.subresource, attributes.name
            )
        return allowed or self._nodes.allows(attributes)

    def decide(self, attributes: Attributes) -> Decision:
        user = attributes.user
        if MASTERS in user.groups or is_open(attributes):
            return Decision(True)
        permissions = self.rbac.permissions(user, attributes.namespace)
        reason = permissions.reason(attributes)
        if reason or self._nodes.allows(attributes):
            return Decision(True, reason)
        return Decision(None, self._nodes.objection(attributes) or _complaint(permissions.missing))

    def rules(self, user: User, namespace: str) -> Sequence[Rule]:
        own = tuple(self.rbac.permissions(user, namespace).rules())
        if MASTERS not in user.groups:
            return own
        return (*EVERYTHING, *(rule for rule in own if rule not in EVERYTHING))


def is_open(attributes: Attributes) -> bool:
    """Health and version."""
    if attributes.resource or attributes.verb != "get":
        return False
    path = attributes.path
    return path in OPEN_PATHS or path.startswith(("/healthz/", "/livez/", "/readyz/"))


def refusal(attributes: Attributes, reason: str = "") -> str:
    """Upstream's words for a no, behind `… is forbidden: ` (resource requests) or `forbidden: ` (the others)."""
    return _refusal(attributes) + (f": {reason}" if reason else "")


def _refusal(attributes: Attributes) -> str:
    who = f'User "{attributes.user.name}" cannot'
    if not attributes.resource:
        return f'{who} {attributes.verb} path "{attributes.path}"'
    resource = f"{attributes.resource}/{attributes.subresource}" if attributes.subresource else attributes.resource
    scope = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    return f'{who} {attributes.verb} resource "{resource}" in API group "{attributes.group}" {scope}'


def _complaint(missing: Sequence[str]) -> str:
    if not missing:
        return ""
    return f"RBAC: {missing[0]}" if len(missing) == 1 else f"RBAC: [{', '.join(missing)}]"
