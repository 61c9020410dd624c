"""Who makes a request and whether they may: the front half of every request's chain."""

from pathlib import Path

import msgspec

from fairway.engine.apiserver import errors, impersonation
from fairway.engine.apiserver.authentication import (
    ANONYMOUS,
    AUTHENTICATORS,
    Authenticator,
    Tokens,
    User,
    authenticate,
    by_token,
)
from fairway.engine.apiserver.authentication.keys import LazyKeys
from fairway.engine.apiserver.authorization import Authorization
from fairway.engine.apiserver.store import Store
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_messages import Request

ISSUER = "https://kubernetes.default.svc.cluster.local"
"""Who issues tokens, and the audience of this API server: upstream's default for the domain `cluster.local`."""
_KEY_FILE = "service-account.key"


class Security(msgspec.Struct, frozen=True):
    """`user` says who, `authority` whether they may."""

    authenticators: tuple[Authenticator, ...]
    authority: Authorization
    tokens: Tokens

    def sender(self, request: Request) -> User:
        """The one who really sends it. Raises ApiError 401."""
        return authenticate(request, self.authenticators)

    def user(self, request: Request) -> User:
        """The one whom a request acts as. Raises ApiError."""
        user = authenticate(request, self.authenticators)
        if impersonation.wanted(request.headers):
            if user == ANONYMOUS:
                raise errors.unauthorized()
            return impersonation.impersonated(request.headers, user, self.authority)
        return user


def security(store: Store, state_dir: Path | None, clock: Clock) -> Security:
    """Everything, over what is stored."""
    keys = LazyKeys(state_dir / _KEY_FILE if state_dir is not None else None)
    tokens = Tokens(store, keys, ISSUER, (ISSUER,), clock)
    return Security((*AUTHENTICATORS, by_token(tokens)), Authorization(store), tokens)
