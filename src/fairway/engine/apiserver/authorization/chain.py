"""Who may: the chain of authorizers."""

from collections.abc import Callable, Sequence

from fairway.engine.apiserver.authentication import MASTERS
from fairway.engine.apiserver.authorization.attributes import Attributes

Authorizer = Callable[[Attributes], bool | None]
"""True, False, or None for no opinion."""

OPEN_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version", "/version/"})
"""What anybody may read, so that load balancers and clients can see whether this is a living API server."""


def open_paths(attributes: Attributes) -> bool | None:
    """Health and version."""
    path = attributes.path
    probed = path in OPEN_PATHS or path.startswith(("/healthz/", "/livez/", "/readyz/"))
    return True if attributes.verb == "get" and not attributes.resource and probed else None


def masters(attributes: Attributes) -> bool | None:
    """The group system:masters may everything."""
    return True if MASTERS in attributes.user.groups else None


AUTHORIZERS: tuple[Authorizer, ...] = (masters, open_paths)
"""RBAC and node restriction join this tuple."""


def authorize(attributes: Attributes, authorizers: Sequence[Authorizer] = AUTHORIZERS) -> bool:
    """Whether the request may go on."""
    for authorizer in authorizers:
        opinion = authorizer(attributes)
        if opinion is not None:
            return opinion
    return False


def refusal(attributes: Attributes) -> str:
    """Upstream's words for a no, behind `… is forbidden: ` (resource requests) or `forbidden: ` (the others)."""
    who = f'User "{attributes.user.name}" cannot'
    if not attributes.resource:
        return f'{who} {attributes.verb} path "{attributes.path}"'
    resource = f"{attributes.resource}/{attributes.subresource}" if attributes.subresource else attributes.resource
    scope = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    return f'{who} {attributes.verb} resource "{resource}" in API group "{attributes.group}" {scope}'
