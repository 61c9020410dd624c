"""From a bearer token to its user, as long as everything lives that the token is bound to."""

import base64
import binascii
import hmac
from collections.abc import Sequence
from datetime import datetime

import msgspec

from fairway.engine.apiserver.authentication.claims import Bound, Claims, LegacyClaims, Reference, verified
from fairway.engine.apiserver.authentication.keys import LazyKeys
from fairway.engine.apiserver.authentication.users import AUTHENTICATED, User, account_groups, account_name
from fairway.engine.apiserver.store import Entry, Key, Store
from fairway.toolkit.clock import Clock

_CACHE_MAX = 4096
_LEEWAY_SECONDS = 60
"""How far another clock may be behind (RFC 7519, 4.1.5); upstream grants the same."""
_TOKEN_TYPE = "kubernetes.io/service-account-token"

EXTRA_ID = "authentication.kubernetes.io/credential-id"
EXTRA_POD = "authentication.kubernetes.io/pod-name"
EXTRA_POD_UID = "authentication.kubernetes.io/pod-uid"
EXTRA_NODE = "authentication.kubernetes.io/node-name"
EXTRA_NODE_UID = "authentication.kubernetes.io/node-uid"


class InvalidToken(Exception):
    """Why a token proves nothing; for the server's own people, clients only learn `Unauthorized`."""


class Verified(msgspec.Struct, frozen=True):
    """A user, and for which of the wanted audiences the token is good."""

    user: User
    audiences: tuple[str, ...]


class _LegacySecret(msgspec.Struct, frozen=True):
    type: str = ""
    data: dict[str, str] | None = None


class Tokens:
    """Checks tokens. Signatures are remembered, everything else is looked at each time: it may have gone."""

    def __init__(self, store: Store, keys: LazyKeys, issuer: str, audiences: Sequence[str], clock: Clock) -> None:
        self.keys = keys
        self.issuer = issuer
        self.audiences = tuple(audiences)
        """Those of the API server itself."""
        self._store = store
        self._clock = clock
        self._known: dict[str, tuple[Claims | LegacyClaims, User]] = {}

    def user(self, token: str) -> User:
        """The user for this API server. Raises InvalidToken."""
        return self.check(token, self.audiences).user

    def check(self, token: str, audiences: Sequence[str]) -> Verified:
        """The user for any of these audiences. Raises InvalidToken."""
        known = self._known.get(token)
        claims, user = self._read(token) if known is None else known
        if isinstance(claims, LegacyClaims):
            self._check_legacy(claims, token)
            fitting = tuple(name for name in audiences if name in self.audiences)
        else:
            self._check_times(claims)
            self._check_bound(claims.bound)
            fitting = tuple(name for name in audiences if name in claims.aud)
        if not fitting:
            raise InvalidToken("token audiences is invalid for the target audiences")
        return Verified(user, fitting)

    def _read(self, token: str) -> tuple[Claims | LegacyClaims, User]:
        try:
            claims = verified(self.keys.get(), token)
        except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
            raise InvalidToken("invalid bearer token") from error
        if isinstance(claims, Claims) and claims.iss != self.issuer:
            raise InvalidToken("invalid bearer token")
        user = _user_of(claims)
        if claims.sub != user.name:
            raise InvalidToken("sub claim is invalid")
        if len(self._known) >= _CACHE_MAX:
            self._known.clear()
        self._known[token] = claims, user
        return claims, user

    def _check_times(self, claims: Claims) -> None:
        now = self._clock.now().timestamp()
        if now > claims.exp:
            raise InvalidToken("service account token has expired")
        if now + _LEEWAY_SECONDS < claims.nbf:
            raise InvalidToken("service account token is not valid yet")

    def _check_bound(self, bound: Bound) -> None:
        namespace = bound.namespace
        self._living(Key("serviceaccounts", namespace, bound.serviceaccount.name), bound.serviceaccount)
        if bound.pod is not None:
            self._living(Key("pods", namespace, bound.pod.name), bound.pod)
        elif bound.secret is not None:
            self._living(Key("secrets", namespace, bound.secret.name), bound.secret)
        elif bound.node is not None:
            self._living(Key("nodes", "", bound.node.name), bound.node)

    def _living(self, key: Key, reference: Reference) -> Entry:
        """Gone, made anew, or for a minute on its way out: the token is worth nothing any more."""
        entry = self._store.get(key)
        if entry is None or entry.uid != reference.uid:
            raise InvalidToken("service account token has been invalidated")
        if b'"deletionTimestamp"' in entry.data:
            deleted = entry.object()["metadata"].get("deletionTimestamp")
            if deleted and self._clock.now().timestamp() > _seconds(deleted) + _LEEWAY_SECONDS:
                raise InvalidToken("service account token has been invalidated")
        return entry

    def _check_legacy(self, claims: LegacyClaims, token: str) -> None:
        """A Secret's token lives as long as the Secret that holds it, and its account."""
        self._living(
            Key("serviceaccounts", claims.namespace, claims.account), Reference(claims.account, claims.account_uid)
        )
        entry = self._store.get(Key("secrets", claims.namespace, claims.secret))
        secret = msgspec.json.decode(entry.data, type=_LegacySecret) if entry is not None else _LegacySecret()
        try:
            held = base64.b64decode((secret.data or {}).get("token") or "")
        except binascii.Error:
            held = b""
        if secret.type != _TOKEN_TYPE or not hmac.compare_digest(held, token.encode()):
            raise InvalidToken("service account token has been invalidated")


def _user_of(claims: Claims | LegacyClaims) -> User:
    if isinstance(claims, LegacyClaims):
        name = account_name(claims.namespace, claims.account)
        return User(name, (*account_groups(claims.namespace), AUTHENTICATED), claims.account_uid)
    bound = claims.bound
    name = account_name(bound.namespace, bound.serviceaccount.name)
    groups = (*account_groups(bound.namespace), AUTHENTICATED)
    return User(name, groups, bound.serviceaccount.uid, _extra(claims))


def _extra(claims: Claims) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = {EXTRA_ID: f"JTI={claims.jti}" if claims.jti else ""}
    if claims.bound.node is not None:
        found |= {EXTRA_NODE: claims.bound.node.name, EXTRA_NODE_UID: claims.bound.node.uid}
    if claims.bound.pod is not None:
        found |= {EXTRA_POD: claims.bound.pod.name, EXTRA_POD_UID: claims.bound.pod.uid}
    return tuple((key, (value,)) for key, value in sorted(found.items()) if value)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
