"""The order of admission."""

from collections.abc import Callable, Sequence

from fairway.engine.apiserver.admission import (
    certificates,
    claim_sizes,
    ingress_classes,
    limit_ranges,
    namespaces,
    nodes,
    priorities,
    resource_quotas,
    roles,
    service_accounts,
    storage_classes,
    token_secrets,
)
from fairway.engine.apiserver.admission.review import Review
from fairway.engine.apiserver.authentication import Tokens
from fairway.engine.apiserver.authorization import Authorization
from fairway.toolkit.clock import Clock

Plugin = Callable[[Review], None]
"""Changes the object in place, or raises ApiError to refuse it. Webhooks would need an awaitable twin of `admit`."""

PLUGINS: tuple[Plugin, ...] = (
    namespaces.admit,
    limit_ranges.admit,
    priorities.admit,
    ingress_classes.admit,
    storage_classes.admit,
    claim_sizes.admit,
    resource_quotas.admit,
)
"""Those that need nothing but the store."""


def plugins(
    authorization: Authorization,
    tokens: Tokens,
    authority: bytes,
    clock: Clock,
    *,
    service_account_admission: bool = True,
) -> tuple[Plugin, ...]:
    """All plugins in order; those that change objects come first. `authority` is the cluster's CA (PEM)."""
    accounts = (service_accounts.admit,) if service_account_admission else ()
    return (
        *PLUGINS,
        *accounts,
        token_secrets.plugin(tokens, authority),
        nodes.admit,
        roles.plugin(authorization),
        certificates.plugin(authorization, clock),
    )


def admit(review: Review, plugins: Sequence[Plugin] = PLUGINS) -> None:
    """Ask every plugin. Raises ApiError."""
    for plugin in plugins:
        plugin(review)
