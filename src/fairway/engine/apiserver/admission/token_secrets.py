"""Secrets of the type service-account-token get a token that lives as long as they do (the older way, without an end).

Upstream leaves that to a controller; here they have it from the start.
"""

import base64
from collections.abc import Callable
from typing import Any

from fairway.engine.apiserver.admission.review import DELETE, Review
from fairway.engine.apiserver.authentication import Tokens
from fairway.engine.apiserver.authentication.claims import LegacyClaims, signed
from fairway.engine.apiserver.authentication.users import account_name
from fairway.engine.apiserver.store import Key

TYPE = "kubernetes.io/service-account-token"
_NAME, _UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"


def plugin(tokens: Tokens, authority: bytes) -> Callable[[Review], None]:
    """The plugin; `authority` is the cluster's CA (PEM), empty when there is none."""

    def admit(review: Review) -> None:
        if review.key.resource != "secrets" or review.operation == DELETE or review.obj is None:
            return
        if review.obj.get("type") == TYPE:
            _fill(review, review.obj, tokens, authority)

    return admit


def _fill(review: Review, secret: dict[str, Any], tokens: Tokens, authority: bytes) -> None:
    """What is there already stays; without its account, or for an earlier one of that name, there is no token."""
    annotations = secret["metadata"].get("annotations") or {}
    namespace, name = review.key.namespace, str(annotations.get(_NAME) or "")
    account = review.store.latest(Key("serviceaccounts", namespace, name))
    if account is None or annotations.get(_UID, account.uid) != account.uid:
        return
    secret["metadata"]["annotations"] = {**annotations, _UID: account.uid}
    data = secret["data"] = {**(secret.get("data") or {})}
    claims = LegacyClaims(
        namespace=namespace,
        secret=review.key.name,
        account=name,
        account_uid=account.uid,
        sub=account_name(namespace, name),
    )
    if not data.get("token"):
        data["token"] = _encoded(signed(tokens.keys.get(), claims).encode())
    data["namespace"] = _encoded(namespace.encode())
    if authority:
        data["ca.crt"] = _encoded(authority)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
