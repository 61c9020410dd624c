"""Who asks, and may they: the cluster's own tokens and rules decide (TokenReview, SubjectAccessReview)."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from fairway.delivery.git.errors import printable
from fairway.delivery.kinds.resources import GROUP
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.resource import SERVICE_ACCOUNTS, Resource
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.toolkit.clock import Clock

TOKEN_REVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False)
ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False)

FETCH, PUSH = "get", "update"
USER_ANNOTATION = "fairway.dev/user"
"""On the ServiceAccounts that our command line makes for pushes: whose it is, as the API said."""
_PUSHER = "fairway-pusher-"

_KEPT_SECONDS = 5.0
_KEPT_MAX = 1000
_TOKEN_BYTES_MAX = 16384
_PERSON_CHARS_MAX = 200


class Caller(msgspec.Struct, frozen=True):
    """A user whose token the API knows."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, Any] = {}


class Doorkeeper:
    """Asks the API. Only what was allowed is kept, for five seconds, so that one push does not ask six times."""

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._allowed: dict[tuple[bytes, ObjectKey, str], tuple[float, Caller]] = {}

    async def caller(self, token: str) -> Caller | None:
        """Whose token it is. Raises ApiError, Unreachable."""
        if not token or len(token) > _TOKEN_BYTES_MAX:
            return None
        answer = await self._client.create(TOKEN_REVIEWS, _review(TOKEN_REVIEWS, {"token": token}))
        status = answer.get("status") or {}
        if not status.get("authenticated"):
            return None
        user = status.get("user") or {}
        groups = tuple(user.get("groups") or ())
        return Caller(user.get("username", ""), user.get("uid", ""), groups, user.get("extra") or {})

    async def person(self, caller: Caller, key: ObjectKey) -> str:
        """Who stands behind a token: of an account for pushes in the App's own namespace the user that it is for.

        Raises ApiError but for NotFound, Unreachable.
        """
        prefix = f"system:serviceaccount:{key.namespace}:"
        account = caller.username.removeprefix(prefix)
        if account == caller.username or not account.startswith(_PUSHER):
            return caller.username
        try:
            found = await self._client.get(SERVICE_ACCOUNTS, account, key.namespace)
        except NotFound:
            return caller.username
        whose = (found["metadata"].get("annotations") or {}).get(USER_ANNOTATION, "")
        return printable(str(whose))[:_PERSON_CHARS_MAX] or caller.username

    async def may(self, caller: Caller, key: ObjectKey, verb: str) -> bool:
        """Whether the user has the verb on `apps/git` of that App. Raises ApiError, Unreachable."""
        attributes = {"group": GROUP, "resource": "apps", "subresource": "git", "verb": verb}
        spec = {
            "user": caller.username,
            "uid": caller.uid,
            "groups": list(caller.groups),
            "extra": dict(caller.extra),
            "resourceAttributes": {**attributes, "namespace": key.namespace, "name": key.name},
        }
        answer = await self._client.create(ACCESS_REVIEWS, _review(ACCESS_REVIEWS, spec))
        return bool((answer.get("status") or {}).get("allowed"))

    def remembered(self, token: str, key: ObjectKey, verb: str) -> Caller | None:
        """Who was allowed just now."""
        until, caller = self._allowed.get(_kept_as(token, key, verb), (0.0, None))
        return caller if self._clock.monotonic() < until else None

    def remember(self, token: str, key: ObjectKey, verb: str, caller: Caller) -> None:
        """Keep it for a moment; tokens themselves are never kept."""
        now = self._clock.monotonic()
        if len(self._allowed) >= _KEPT_MAX:
            self._allowed = {kept: entry for kept, entry in self._allowed.items() if entry[0] > now}
        if len(self._allowed) < _KEPT_MAX:
            self._allowed[_kept_as(token, key, verb)] = (now + _KEPT_SECONDS, caller)


def _kept_as(token: str, key: ObjectKey, verb: str) -> tuple[bytes, ObjectKey, str]:
    return hashlib.sha256(token.encode()).digest(), key, verb


def _review(resource: Resource, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": resource.api_version, "kind": resource.kind, "spec": spec}


def token_of(header: str) -> str:
    """The token in an Authorization header: a bearer's, or the password of Basic; empty when there is none."""
    scheme, _, value = header.strip().partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
